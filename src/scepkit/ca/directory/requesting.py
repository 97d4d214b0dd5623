"""A CA that is to be certified by another one: its key and its PKCS#10, until the answer comes.

    request/    ca-key.pem · request.pem: made at once, so either both are there or neither

The directory needs no CA yet: a server that is to begin below a root begins with this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.ca.directory import paths, replacing
from scepkit.ca.directory.material import check_passphrase, key_of
from scepkit.ca.extensions import key_usage
from scepkit.errors import Hint, SettingsError
from scepkit.keys.files import read_file, refusals, write_file
from scepkit.keys.pem import CERTIFICATE_MODE, generate, signature_hash, write_key

if TYPE_CHECKING:
    from pathlib import Path

    from scepkit.keys.passphrase import Passphrase
    from scepkit.keys.pem import PrivateKey


@dataclass(frozen=True, slots=True)
class CARequest:
    """A request for a CA certificate that waits for its answer.

    Attributes:
        csr: the PKCS#10.
        key: its private key.
    """

    csr: x509.CertificateSigningRequest
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """Return the PKCS#10 as PEM."""
        return self.csr.public_bytes(Encoding.PEM)

    @property
    def spki(self) -> bytes:
        """Return the SubjectPublicKeyInfo, DER."""
        return self.csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make(
    directory: Path,
    *,
    subject: x509.Name,
    key: str,
    path_length: int | None = 0,
    passphrase: Passphrase | None = None,
) -> CARequest:
    """Make the key of a CA and a PKCS#10 for it, or return those that wait already.

    Args:
        directory: the CA's; it is made if need be.
        subject: the name of the CA.
        key: its kind, as `generate` takes it.
        path_length: of CAs below it; None for no bound.
        passphrase: what the key is encrypted under; None leaves it in clear.

    Raises:
        UsageError: no such kind of key.
        SettingsError: another request waits, or the file system refuses.
    """
    with replacing.locked(directory):
        replacing.heal(directory)
        waiting = find(directory, passphrase)
        if waiting is not None:
            return _same(waiting, subject, directory)
        check_passphrase(directory, passphrase)
        made = sign(generate(key), subject, path_length)
        stage = replacing.scratch(directory, paths.REQUEST)
        write_key(stage / paths.CA_KEY, made.key, passphrase)
        write_file(stage / paths.REQUEST_FILE, made.pem, mode=CERTIFICATE_MODE)
        replacing.move(stage, directory / paths.REQUEST)
        replacing.heal(directory)
    return made


def find(directory: Path, passphrase: Passphrase | None = None) -> CARequest | None:
    """Return the request that waits; None where none does.

    Raises:
        SettingsError: it cannot be read.
    """
    csr = find_csr(directory)
    if csr is None:
        return None
    return CARequest(csr, key_of(directory / paths.REQUEST, paths.CA_KEY, passphrase))


def find_csr(directory: Path) -> x509.CertificateSigningRequest | None:
    """Return the PKCS#10 that waits, without its key; None where none does.

    Raises:
        SettingsError: it cannot be read.
    """
    if not paths.has_request(directory):
        return None
    path = directory / paths.REQUEST / paths.REQUEST_FILE
    with refusals(f"cannot read {path}"):
        pem = read_file(path)
    try:
        return x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise SettingsError(
            f"{path} is not a PKCS#10 in PEM", hint=f"restore it, or move {path.parent} away"
        ) from error


def drop(directory: Path) -> bool:
    """Drop the request that waits, and its key for ever; return whether there was one.

    Raises:
        SettingsError: the file system refuses.
    """
    if not paths.has_request(directory):
        # The lock would make the directory.
        return False
    with replacing.locked(directory):
        replacing.heal(directory)
        if not paths.has_request(directory):
            return False
        replacing.drop(directory, directory / paths.REQUEST)
    return True


def sign(key: PrivateKey, subject: x509.Name, path_length: int | None) -> CARequest:
    """Return a PKCS#10 for a key that is to be a CA's (RFC 2986).

    It asks for what a CA needs; what is issued is for the CA above to say.
    """
    usages = {"key_cert_sign", "crl_sign", "digital_signature"}
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(usages), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, signature_hash(key))
    )
    return CARequest(csr, key)


def _same(waiting: CARequest, subject: x509.Name, directory: Path) -> CARequest:
    if waiting.csr.subject != subject:
        raise SettingsError(
            f"a request for another name waits in {directory}: "
            f"{waiting.csr.subject.rfc4514_string()}",
            hint=Hint.CA_REQUEST_WAITS,
        )
    return waiting
