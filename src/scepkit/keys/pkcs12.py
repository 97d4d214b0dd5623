"""Key, certificate and chain in one file: PKCS#12 (RFC 7292)."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from scepkit.errors import SettingsError

# OpenSSL's own default is 2048.
_ROUNDS = 20_000
_AES = pkcs12.PBES.PBESv2SHA256AndAES256CBC
_TRIPLE_DES = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC


def build(
    name: str,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    certificate: bytes,
    chain: Iterable[bytes],
    password: str,
    *,
    legacy: bool = False,
) -> bytes:
    """Return a PKCS#12 with a key, its certificate and the chain above it.

    It is encrypted with AES-256 (PBES2) and protected by HMAC with SHA-256.

    Args:
        name: shown by whoever imports it (friendlyName).
        key: the key.
        certificate: the key's, DER.
        chain: from its issuer up, DER.
        password: opens it. Secret.
        legacy: encrypt it with triple DES and protect it with SHA-1, for importers of before 2020
            that read nothing else.

    Raises:
        SettingsError: a certificate cannot be put into one.
    """
    cipher, digest = (_TRIPLE_DES, SHA1()) if legacy else (_AES, SHA256())  # noqa: S303
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(cipher)
        .hmac_hash(digest)
        .build(password.encode())
    )
    try:
        own, *above = (x509.load_der_x509_certificate(der) for der in (certificate, *chain))
        return pkcs12.serialize_key_and_certificates(name.encode(), key, own, above, encryption)
    except ValueError as error:
        raise SettingsError(
            f"the certificate cannot be put into PKCS#12: {error}",
            hint="use the files in PEM",
        ) from error
