"""The client's key, and the certificate that it makes up to sign its first request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.errors import BadAlg, BadRequest, SettingsError, UsageError
from scepkit.keys import key_files
from scepkit.keys.files import read_some, refusals
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import KEY_MODE, is_encrypted, read_any_key
from scepkit.protocol import public_keys
from scepkit.protocol.algorithms import PrivateKey, PublicKey
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential

DEFAULT_KEY = "rsa:2048"

_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "rsa:2048": partial(rsa.generate_private_key, 65537, 2048),
    "rsa:3072": partial(rsa.generate_private_key, 65537, 3072),
    "rsa:4096": partial(rsa.generate_private_key, 65537, 4096),
    "ec:p256": partial(ec.generate_private_key, ec.SECP256R1()),
    "ec:p384": partial(ec.generate_private_key, ec.SECP384R1()),
    "ec:p521": partial(ec.generate_private_key, ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
_CURVES = {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}

# A key of 16384 bits with its certificates and bags has a tenth of it.
_MOST_OCTETS = 1024 * 1024

# A device's clock may be wrong by a time zone, and an approval may take weeks.
_BACKDATE = timedelta(days=1)
_VALIDITY = timedelta(days=30)


def check_spec(spec: str) -> None:
    """Refuse a kind of key that cannot be made.

    Raises:
        UsageError: it cannot.
    """
    if spec not in _MAKERS:
        raise UsageError(f"cannot make a key of kind {spec!r}", hint=f"one of {', '.join(_MAKERS)}")


def generate_key(spec: str = DEFAULT_KEY) -> PrivateKey:
    """Make a new private key.

    Args:
        spec: `rsa:2048`, `rsa:3072`, `rsa:4096`, `ec:p256`, `ec:p384`, `ec:p521` or `ed25519`.

    Raises:
        UsageError: another kind.
    """
    check_spec(spec)
    return _MAKERS[spec]()


def kind(key: PrivateKey | PublicKey) -> str:
    """Return the kind of a key as `generate_key` takes it, or would."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return f"rsa:{key.key_size}"
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return f"ec:{_CURVES.get(key.curve.name, key.curve.name)}"
    return "ed25519"


def can_decrypt(key: PrivateKey) -> bool:
    """Say whether a reply can be encrypted to a key; else the challenge has to do (section 3.1)."""
    return isinstance(key, rsa.RSAPrivateKey)


def read_key(
    path: Path, passphrase: Callable[[], Passphrase] | None = None, *, most: int = KEY_MODE
) -> PrivateKey:
    """Read a private key from a PEM file of ours.

    Args:
        path: the file.
        passphrase: returns the passphrase; called only if the key is encrypted.
        most: the permission bits that the file may have.

    Raises:
        SettingsError: missing, unreadable, open to others than its owner, encrypted under another
            passphrase, not a key, or a key of another kind.
    """
    opens = passphrase() if passphrase is not None and is_encrypted(path) else None
    return _of_a_kind(read_any_key(path, opens, most=most), path)


def read_foreign_key(path: Path, ask: Callable[[], str]) -> PrivateKey:
    """Read a private key from somebody else's file: PKCS#8, PKCS#1 or SEC1, in PEM or DER.

    Args:
        path: the file; it may be a pipe, such as a shell's `<(…)`.
        ask: returns the passphrase; called only if the key is encrypted.

    Raises:
        SettingsError: missing, unreadable, encrypted under another passphrase, not a key, a key
            of another kind, or one that is too weak to be certified.
    """
    with refusals(f"cannot read the key file {path}"):
        content = read_some(path, _MOST_OCTETS)
    found = _of_a_kind(key_files.read_any_key(content, path, ask), path)
    try:
        public_keys.check(found.public_key())
    except (BadRequest, BadAlg) as error:
        raise SettingsError(
            f"the key in {path} cannot be certified: {error.message}",
            hint="use another key, or have a new one made",
        ) from error
    return found


def _of_a_kind(key: object, path: Path) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise SettingsError(f"{path} holds a key that is neither RSA nor EC nor Ed25519")


def spki(key: PrivateKey | PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo of a key, DER, in its canonical form."""
    public = key if isinstance(key, PublicKey) else key.public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def self_signed(key: PrivateKey, subject: x509.Name, now: datetime) -> Credential:
    """Make the certificate that signs a first request (RFC 8894 section 2.3).

    It has the subject and the key of the request, and always the same serial number for the same
    key, so that a reply to an earlier copy of the request can be read with a later one.

    Args:
        key: the key to be certified.
        subject: of the request.
        now: an aware datetime.
    """
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(_serial(public))
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _VALIDITY)
        .add_extension(usage(key), critical=True)
    )
    # Ed25519 has a digest of its own.
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    return Credential(key, Certificate.of(builder.sign(key, digest)))


def _serial(public: PublicKey) -> int:
    # RFC 5280 section 4.1.2.2: positive; the lowest bit keeps it from being 0.
    return int.from_bytes(hashlib.sha256(spki(public)).digest()[:15], "big") | 1


def usage(key: PrivateKey) -> x509.KeyUsage:
    """Return the key usages of a key: to sign, and to receive if there is a way."""
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=can_decrypt(key),
        key_agreement=isinstance(key, ec.EllipticCurvePrivateKey),
        content_commitment=False,
        data_encipherment=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
