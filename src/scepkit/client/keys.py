"""The client's key, and the certificate that it makes up to sign its first request."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.errors import UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.envelope import Credential

DEFAULT_KEY = "rsa:2048"

_SIZES = {"rsa:2048": 2048, "rsa:3072": 3072, "rsa:4096": 4096}

# A device's clock may be wrong by a time zone, and an approval may take weeks.
_BACKDATE = timedelta(days=1)
_VALIDITY = timedelta(days=30)


def check_spec(spec: str) -> None:
    """Refuse a kind of key that cannot be made.

    Raises:
        UsageError: it cannot.
    """
    if spec in _SIZES:
        return
    if spec.lower().startswith("ec"):
        raise UsageError("EC keys are not supported yet", hint=f"one of {', '.join(_SIZES)}")
    raise UsageError(f"cannot make a key of kind {spec!r}", hint=f"one of {', '.join(_SIZES)}")


def generate_key(spec: str = DEFAULT_KEY) -> rsa.RSAPrivateKey:
    """Make a new private key.

    Args:
        spec: `rsa:2048`, `rsa:3072` or `rsa:4096`.

    Raises:
        UsageError: another kind; EC keys are not supported yet.
    """
    check_spec(spec)
    return rsa.generate_private_key(65537, _SIZES[spec])


def fits(key: rsa.RSAPrivateKey, spec: str) -> bool:
    """Say whether a key is of a kind."""
    return key.key_size == _SIZES.get(spec)


def self_signed(key: rsa.RSAPrivateKey, subject: x509.Name, now: datetime) -> Credential:
    """Make the certificate that signs a first request (RFC 8894 section 2.3).

    It has the subject and the key of the request, and always the same serial number for the same
    key, so that a reply to an earlier copy of the request can be read with a later one.

    Args:
        key: the key to be certified.
        subject: of the request.
        now: an aware datetime.
    """
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(_serial(public))
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _VALIDITY)
        .add_extension(_USAGE, critical=True)
        .sign(key, SHA256())
    )
    return Credential(key, Certificate.of(certificate))


def _serial(public: rsa.RSAPublicKey) -> int:
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # RFC 5280 section 4.1.2.2: positive; the lowest bit keeps it from being 0.
    return int.from_bytes(hashlib.sha256(spki).digest()[:15], "big") | 1


_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
