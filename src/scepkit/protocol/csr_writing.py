"""Writing PKCS#10 certification requests (RFC 2986), as strictly as `csr` reads them leniently."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.asn1 import PrintableString
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import UsageError
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import SHA256, Digest, PrivateKey
from scepkit.protocol.asn1 import der, types
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.asn1.strings import PRINTABLE
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extension

CHALLENGE_PASSWORD = ObjectIdentifier("1.2.840.113549.1.9.7")
EXTENSION_REQUEST = ObjectIdentifier("1.2.840.113549.1.9.14")
_SHA256_WITH_RSA = ObjectIdentifier("1.2.840.113549.1.1.11")
# A CertificationRequestInfo (RFC 2986 section 4.1): subject, key, attributes.
_FIELDS = (der.SEQUENCE, der.INTEGER_0, ..., ..., (0xA0, ...))
_INFO = Skeleton(*_FIELDS)
UNSIGNED = Skeleton(
    *(der.SEQUENCE, _FIELDS, der.algorithm(_SHA256_WITH_RSA), (der.BIT_STRING, b"\0", ...))
)
"""A PKCS#10 that nobody signed: subject, key, attributes in DER's order, octets for a signature."""

# RFC 2985 section 5.4.1 has 255 characters, and some services encrypted ones that are longer.
MAX_CHALLENGE_LENGTH = 16384


def build(
    subject: x509.Name | Name,
    key: PrivateKey,
    *,
    challenge_password: str | None = None,
    extensions: Iterable[x509.Extension[x509.ExtensionType] | Extension] = (),
    digest: Digest = SHA256,
) -> bytes:
    """Write a PKCS#10 (RFC 8894 section 3.3.1).

    Args:
        subject: the wanted subject; one of ours goes octet for octet.
        key: the key to be certified.
        challenge_password: at most `MAX_CHALLENGE_LENGTH` characters.
        extensions: the wanted extensions; ours go octet for octet.
        digest: for its signature, unless the key has no choice; see `signatures.signing_digest`.

    Returns:
        DER.

    Raises:
        UsageError: the challengePassword is too long.
    """
    attributes = []
    if challenge_password:
        if len(challenge_password) > MAX_CHALLENGE_LENGTH:
            raise UsageError(f"a challenge has at most {MAX_CHALLENGE_LENGTH} characters")
        attributes.append(
            der.attribute(der.oid(CHALLENGE_PASSWORD), directory_string(challenge_password))
        )
    wanted = [_extension(e) for e in extensions]
    if wanted:
        attributes.append(der.attribute(der.oid(EXTENSION_REQUEST), der.sequence(*wanted)))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named = subject if isinstance(subject, Name) else Name.of(subject)
    info = _INFO.write(named.der, spki, b"".join(sorted(attributes)))
    digest = signatures.signing_digest(key, digest)
    # The same request again is the same bytes, of EC keys as well: it can be told by its digest.
    signature = signatures.sign(key, info, digest, deterministic=True)
    algorithm = signatures.signature_algorithm(key, digest)
    return der.sequence(info, algorithm, der.bit_string(signature))


def unsigned(
    subject: bytes, spki: bytes, attributes: Iterable[bytes], signature: bytes = b""
) -> bytes:
    """Write a PKCS#10 that nobody signed.

    Args:
        subject: DER.
        spki: DER.
        attributes: DER.
        signature: the octets that stand in for the signature.
    """
    return UNSIGNED.write(subject, spki, b"".join(sorted(attributes)), signature)


def directory_string(text: str) -> bytes:
    """Return PrintableString where it fits, as NDES wants it, else UTF8String (P-31)."""
    return der.encode(PrintableString(text) if PRINTABLE.issuperset(text) else text)


def _extension(extension: x509.Extension[x509.ExtensionType] | Extension) -> bytes:
    if isinstance(extension, Extension):
        return extension.der
    return der.encode(
        types.Extension(
            extnID=extension.oid,
            critical=extension.critical or None,
            extnValue=extension.value.public_bytes(),
        )
    )


def signed_by_nobody() -> bytes:
    """Return a PKCS#10 like most, DER, with a key of nobody and a wrong signature."""
    octets = hashlib.shake_256(b"scepkit").digest(256)
    modulus = int.from_bytes(octets, "big") | 1 << 2047 | 1
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    attributes = [der.attribute(der.oid(CHALLENGE_PASSWORD), directory_string("A" * 32))]
    return unsigned(der.sequence(), spki, attributes, b"\0" + octets[1:])
