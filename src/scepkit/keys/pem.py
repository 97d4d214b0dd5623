"""Private keys and certificates in PEM files, and the fingerprint that people compare.

Keys are made, written for their owner alone and read back with care; no message in here holds
anything of a key.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from scepkit.errors import SettingsError, UsageError
from scepkit.keys import passphrase as encryption
from scepkit.keys.files import NOBODY_ELSE, plain_file, read_file, refusals, write_file
from scepkit.keys.passphrase import OtherEncryptionError, Passphrase, WrongPassphrase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

KEY_MODE = 0o600

_ENCRYPTED_KEY = "ENCRYPTED PRIVATE KEY"

# SHA-256 of the files whose keys this process has found sound; they tell nothing of the keys.
_PROVED: set[bytes] = set()

_CURVES = {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}
_GENERATORS: dict[str, Callable[[], PrivateKey]] = {
    "rsa:2048": partial(rsa.generate_private_key, 65537, 2048),
    "rsa:3072": partial(rsa.generate_private_key, 65537, 3072),
    "rsa:4096": partial(rsa.generate_private_key, 65537, 4096),
    "ec:p256": partial(ec.generate_private_key, ec.SECP256R1()),
    "ec:p384": partial(ec.generate_private_key, ec.SECP384R1()),
}
KINDS = tuple(_GENERATORS)


class EncryptedKey(SettingsError):
    """A key file is encrypted, and there is no passphrase for it."""


def generate(spec: str) -> PrivateKey:
    """Make a new private key.

    Args:
        spec: "rsa:2048", "rsa:3072", "rsa:4096" (bits, exponent 65537), "ec:p256" or "ec:p384".

    Raises:
        UsageError: no such kind of key.
    """
    generator = _GENERATORS.get(spec)
    if generator is None:
        raise UsageError(f"cannot make a key of kind {spec!r}", hint=f"one of {', '.join(KINDS)}")
    return generator()


def kind(key: object) -> str:
    """Return the kind of a key, private or public, as `generate` takes it."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return f"rsa:{key.key_size}"
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return f"ec:{_CURVES.get(key.curve.name, key.curve.name)}"
    return type(key).__name__


def write_key(
    path: Path,
    key: PrivateKey | ed25519.Ed25519PrivateKey,
    passphrase: Passphrase | None = None,
    *,
    mode: int = KEY_MODE,
    owner: tuple[int, int] = NOBODY_ELSE,
) -> None:
    """Write a key as PKCS#8 PEM, mode 0600 unless told otherwise, atomically and durably.

    Args:
        path: where to.
        key: the key.
        passphrase: what it is encrypted under; None leaves it in clear.
        mode: the permission bits.
        owner: see `write_file`.

    Raises:
        SettingsError: the file system refuses.
    """
    write_file(path, key_pem(key, passphrase), mode=mode, owner=owner)


def key_pem(
    key: PrivateKey | ed25519.Ed25519PrivateKey, passphrase: Passphrase | None = None
) -> bytes:
    """Return a key as PKCS#8 PEM; arguments as for `write_key`."""
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return armor(_ENCRYPTED_KEY, passphrase.encrypt(der))


def read_key(path: Path, passphrase: Passphrase | None = None) -> PrivateKey:
    """Read an RSA or EC private key from a PEM file.

    Args:
        path: the file.
        passphrase: opens it, if it is encrypted.

    Raises:
        SettingsError: missing, unreadable, open to others than its owner, encrypted without
            passphrase or under another one, not a key, or a key of another kind.
    """
    key = read_any_key(path, passphrase)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} holds a key that is neither RSA nor EC")
    return key


def read_any_key(
    path: Path, passphrase: Passphrase | None = None, *, most: int = KEY_MODE
) -> object:
    """Read a private key of any kind from a PEM file; arguments as for `read_key`.

    Args:
        path: the file.
        passphrase: opens it, if it is encrypted.
        most: the permission bits that it may have for its group and others.

    Raises:
        SettingsError: missing, unreadable, open to others than its owner, encrypted without
            passphrase or under another one, not a key.
    """
    return _parse(path, _read_private(path, most), passphrase)


def read_spki(path: Path) -> bytes | None:
    """Return the SubjectPublicKeyInfo of the private key in a PEM file, DER; None if encrypted.

    Nothing is signed with the key, so it is not proved to be sound, and others may read the file.

    Raises:
        SettingsError: missing, unreadable, not a key.
    """
    with refusals(f"cannot read the key file {path}"):
        pem = read_file(path)
    if _is_encrypted(pem):
        return None
    try:
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sound_files() -> frozenset[bytes]:
    """Return the SHA-256 of the files whose keys this process has found sound."""
    return frozenset(_PROVED)


def take_as_sound(files: frozenset[bytes]) -> None:
    """Take the keys of files as sound that a child of this process has found so.

    Args:
        files: what `sound_files` returned there.
    """
    _PROVED.update(files)


def is_encrypted(path: Path) -> bool:
    """Say whether a key file is encrypted; not, if it is missing.

    Raises:
        SettingsError: it cannot be read.
    """
    with refusals(f"cannot read the key file {path}"):
        return path.exists() and _is_encrypted(read_file(path))


def armor(label: str, der: bytes) -> bytes:
    """Return octets as PEM (RFC 7468)."""
    lines = base64.b64encode(der)
    body = b"\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    name = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (name, body, name)


def dearmored(label: str, pem: bytes) -> bytes | None:
    """Return the octets of the first block with a label; None without one that can be read."""
    name = re.escape(label.encode("ascii"))
    found = re.search(rb"-----BEGIN %b-----([A-Za-z0-9+/=\s]+)-----END %b-----" % (name, name), pem)
    if found is None:
        return None
    try:
        return base64.b64decode(found[1], validate=False)
    except ValueError:
        return None


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """Return the digest to sign with: SHA-256, or the one as strong as the curve (RFC 5758).

    Raises:
        SettingsError: a curve that is not P-256, P-384 or P-521.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    match key.curve.name:
        case "secp256r1":
            return hashes.SHA256()
        case "secp384r1":
            return hashes.SHA384()
        case "secp521r1":
            return hashes.SHA512()
        case curve:
            raise SettingsError(f"cannot sign certificates with a key on the curve {curve}")


def _read_private(path: Path, most: int) -> bytes:
    with refusals(f"cannot read the key file {path}"):
        try:
            with plain_file(path) as file:
                _check_mode(path, os.fstat(file.fileno()).st_mode, most)
                return file.read()
        except FileNotFoundError as error:
            raise SettingsError(
                f"there is no key file {path}", hint="look at the path, or restore it from a backup"
            ) from error


def _check_mode(path: Path, mode: int, most: int) -> None:
    if mode & 0o077 & ~most:
        whom = "its owner" if not most & 0o070 else "its owner and its group"
        raise SettingsError(
            f"the key file {path} is open to others than {whom} (mode {mode & 0o777:04o})",
            hint=f"chmod {most:o} {path}",
        )


def _is_encrypted(pem: bytes) -> bool:
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def _parse(path: Path, pem: bytes, passphrase: Passphrase | None) -> object:
    digest = hashlib.sha256(pem).digest()
    # Proving that the primes of an RSA key are primes takes 0.1 s, in which no other thread
    # runs. A damaged key must never sign, but the same bytes need not be proved again.
    is_proved = digest in _PROVED
    try:
        if _is_encrypted(pem):
            key = _decrypted(path, pem, passphrase, is_proved=is_proved)
        else:
            key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=is_proved)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    _PROVED.add(digest)
    return key


def _no_key(path: Path) -> SettingsError:
    # The library's own words stay out: they may quote what is in the file.
    return SettingsError(
        f"{path} is not a private key in PEM", hint="it should start with -----BEGIN"
    )


def _decrypted(path: Path, pem: bytes, passphrase: Passphrase | None, *, is_proved: bool) -> object:
    """Return the key of an encrypted file.

    Raises:
        EncryptedKey: there is no passphrase.
        WrongPassphrase: it is another one.
        UnsupportedAlgorithm: it is encrypted in a way that is unknown here.
    """
    if passphrase is None:
        raise EncryptedKey(
            f"the key file {path} is encrypted",
            hint=f"decrypt it with: (umask 077; openssl pkey -in {path} -out NEW)",
        )
    encrypted = dearmored(_ENCRYPTED_KEY, pem)
    try:
        if encrypted is None or not encryption.is_ours(encrypted):
            return load_pem_private_key(
                pem, passphrase.text.encode(), unsafe_skip_rsa_key_validation=is_proved
            )
        der = passphrase.decrypt(encrypted)
        return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=is_proved)
    except (ValueError, WrongPassphrase, OtherEncryptionError):
        # Not `from`: it may quote what is in the file.
        raise WrongPassphrase(
            f"the passphrase does not open the key file {path}",
            hint="it is another one, or the file is damaged",
        ) from None


CERTIFICATE_MODE = 0o644


def sha256_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the whole DER certificate as `sha256:` and 64 lower-case hex digits."""
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate as PEM, mode 0644, atomically and durably.

    Raises:
        SettingsError: the file system refuses.
    """
    write_file(path, certificate.public_bytes(Encoding.PEM), mode=CERTIFICATE_MODE)


def read_certificate(path: Path) -> x509.Certificate:
    """Read the one certificate of a PEM file.

    Raises:
        SettingsError: missing, unreadable, or not exactly one certificate.
    """
    found = read_certificates(path)
    if len(found) != 1:
        # To ignore the others silently would leave the operator wondering which one is used.
        raise SettingsError(f"{path} holds {len(found)} certificates, not one")
    return found[0]


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file, one or more.

    Raises:
        SettingsError: missing, unreadable, or without any certificate.
    """
    text = read_certificate_file(path)
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError as error:
        raise SettingsError(
            f"{path} is not a certificate in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        ) from error


def read_certificate_file(path: Path) -> bytes:
    """Return the content of a file of certificates, PEM or not.

    Raises:
        SettingsError: missing or unreadable.
    """
    with refusals(f"cannot read the certificate file {path}"):
        try:
            return read_file(path)
        except FileNotFoundError as error:
            raise SettingsError(
                f"there is no certificate file {path}",
                hint="look at the path, or restore it from a backup",
            ) from error
