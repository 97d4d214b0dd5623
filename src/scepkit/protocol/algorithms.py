"""The one table of algorithms: OID, primitive, GetCACaps keyword, allowed by default or not.

RFC 8894 section 2.9 asks for AES-128-CBC and SHA-256, allows 3DES and SHA-1, and forbids single
DES and MD5; section 7.9 says where SHA-1 is too weak.
Here everything below AES and SHA-2 is off until it is allowed by name: `Legacy` is that name,
and a function that meets such an algorithm asks for the set of names that are allowed.
Legacy algorithms are never chosen, only answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

# Bounds for RSA keys that a peer sends, in bits. Below, the key is worthless; above, one
# signature check costs more than an attacker pays for asking.
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192


class Legacy(StrEnum):
    """Names of what is off until an operator or a user allows it (RFC 8894 section 2.9)."""

    SHA1 = "sha1"
    DES3 = "des3"
    DES = "des"
    MD5 = "md5"


NO_LEGACY: frozenset[Legacy] = frozenset()


@dataclass(frozen=True, slots=True)
class Digest:
    """A message digest.

    Attributes:
        oid: as in DigestAlgorithmIdentifier.
        name: for logs and settings.
        primitive: the hash.
        keyword: its GetCACaps keyword, if there is one.
        legacy: the name that has to be allowed for it, if one has to.
    """

    oid: ObjectIdentifier
    name: str
    primitive: hashes.HashAlgorithm
    keyword: str | None = None
    legacy: Legacy | None = None

    def of(self, data: bytes) -> bytes:
        """Return the digest of `data`."""
        context = hashes.Hash(self.primitive)
        context.update(data)
        return context.finalize()


@dataclass(frozen=True, slots=True)
class Cipher:
    """A block cipher in CBC mode.

    Attributes:
        oid: as in ContentEncryptionAlgorithmIdentifier; the parameter is the IV.
        name: for logs and settings.
        key_size: octets of a content-encryption key.
        block_size: octets of a block and of the IV.
        primitive: makes the block cipher from a key.
        keyword: its GetCACaps keyword, if there is one.
        legacy: the name that has to be allowed for it, if one has to.
    """

    oid: ObjectIdentifier
    name: str
    key_size: int
    block_size: int
    primitive: Callable[[bytes], BlockCipherAlgorithm]
    keyword: str | None = None
    legacy: Legacy | None = None


def _single_des(key: bytes) -> BlockCipherAlgorithm:
    # Triple DES with one key three times is single DES; OpenSSL 4 has no DES of its own.
    return TripleDES(key * 3)


MD5 = Digest(ObjectIdentifier("1.2.840.113549.2.5"), "md5", hashes.MD5(), legacy=Legacy.MD5)
SHA1 = Digest(
    ObjectIdentifier("1.3.14.3.2.26"), "sha1", hashes.SHA1(), keyword="SHA-1", legacy=Legacy.SHA1
)
SHA224 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.4"), "sha224", hashes.SHA224())
SHA256 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.1"), "sha256", hashes.SHA256(), "SHA-256")
# SHA-384 is in no registry, but strongSwan before 5.9.10 sees AES and SHA-256 only beside it.
SHA384 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.2"), "sha384", hashes.SHA384(), "SHA-384")
SHA512 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.3"), "sha512", hashes.SHA512(), "SHA-512")

AES128 = Cipher(ObjectIdentifier("2.16.840.1.101.3.4.1.2"), "aes128-cbc", 16, 16, AES, "AES")
AES192 = Cipher(ObjectIdentifier("2.16.840.1.101.3.4.1.22"), "aes192-cbc", 24, 16, AES)
AES256 = Cipher(ObjectIdentifier("2.16.840.1.101.3.4.1.42"), "aes256-cbc", 32, 16, AES)
DES3 = Cipher(
    ObjectIdentifier("1.2.840.113549.3.7"), "des3-cbc", 24, 8, TripleDES, "DES3", Legacy.DES3
)
DES = Cipher(ObjectIdentifier("1.3.14.3.2.7"), "des-cbc", 8, 8, _single_des, legacy=Legacy.DES)

DIGESTS = {d.oid: d for d in (SHA256, SHA384, SHA512, SHA224, SHA1, MD5)}
CIPHERS = {c.oid: c for c in (AES128, AES192, AES256, DES3, DES)}

# Signature algorithms that name their digest; plain rsaEncryption takes the SignerInfo's.
RSA_ENCRYPTION = ObjectIdentifier("1.2.840.113549.1.1.1")
EC_PUBLIC_KEY = ObjectIdentifier("1.2.840.10045.2.1")
_RSA_SIGNATURES = {
    ObjectIdentifier("1.2.840.113549.1.1.4"): MD5,
    ObjectIdentifier("1.2.840.113549.1.1.5"): SHA1,
    ObjectIdentifier("1.2.840.113549.1.1.14"): SHA224,
    ObjectIdentifier("1.2.840.113549.1.1.11"): SHA256,
    ObjectIdentifier("1.2.840.113549.1.1.12"): SHA384,
    ObjectIdentifier("1.2.840.113549.1.1.13"): SHA512,
}
_ECDSA_SIGNATURES = {
    ObjectIdentifier("1.2.840.10045.4.1"): SHA1,
    ObjectIdentifier("1.2.840.10045.4.3.1"): SHA224,
    ObjectIdentifier("1.2.840.10045.4.3.2"): SHA256,
    ObjectIdentifier("1.2.840.10045.4.3.3"): SHA384,
    ObjectIdentifier("1.2.840.10045.4.3.4"): SHA512,
}

RSAES_OAEP = ObjectIdentifier("1.2.840.113549.1.1.7")
MGF1 = ObjectIdentifier("1.2.840.113549.1.1.8")


def digest(oid: ObjectIdentifier, allowed: frozenset[Legacy]) -> Digest:
    """Look up a digest.

    Raises:
        BadAlg: unknown, or legacy and not in `allowed`.
    """
    found = DIGESTS.get(oid)
    if found is None:
        raise BadAlg(f"digest algorithm {oid.dotted_string} is not supported")
    _require(found, allowed)
    return found


def cipher(oid: ObjectIdentifier, allowed: frozenset[Legacy]) -> Cipher:
    """Look up a content-encryption algorithm.

    Raises:
        BadAlg: unknown, or legacy and not in `allowed`.
    """
    found = CIPHERS.get(oid)
    if found is None:
        raise BadAlg(f"content-encryption algorithm {oid.dotted_string} is not supported")
    _require(found, allowed)
    return found


def signature_digest(
    oid: ObjectIdentifier, key: PublicKey, signer_digest: Digest | None, allowed: frozenset[Legacy]
) -> Digest:
    """Say which digest a signature algorithm signs, for the kind of key at hand.

    Args:
        oid: the signature algorithm.
        key: the key that is to verify.
        signer_digest: the SignerInfo's digestAlgorithm, for plain rsaEncryption.
        allowed: the legacy algorithms that are allowed.

    Raises:
        BadAlg: unknown, not for this kind of key, or legacy and not in `allowed`.
    """
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    if is_rsa and oid == RSA_ENCRYPTION and signer_digest is not None:
        return signer_digest
    found = (_RSA_SIGNATURES if is_rsa else _ECDSA_SIGNATURES).get(oid)
    if found is None:
        raise BadAlg(f"signature algorithm {oid.dotted_string} is not supported for this key")
    _require(found, allowed)
    return found


def ecdsa_oid(digest: Digest) -> ObjectIdentifier:
    """Return the ECDSA signature algorithm for a digest."""
    return next(oid for oid, d in _ECDSA_SIGNATURES.items() if d is digest)


def rsa_oid(digest: Digest) -> ObjectIdentifier:
    """Return the RSASSA-PKCS1-v1_5 signature algorithm for a digest."""
    return next(oid for oid, d in _RSA_SIGNATURES.items() if d is digest)


def allowing(allowed: Collection[Legacy], needed: Legacy) -> str:
    """Return what to type to allow one more: `--legacy` and all names, not the new one alone.

    Whoever typed it instead of the old list would lose what was allowed already.
    """
    return "--legacy " + ",".join(name for name in Legacy if name in allowed or name is needed)


def _require(algorithm: Digest | Cipher, allowed: frozenset[Legacy]) -> None:
    if algorithm.legacy is not None and algorithm.legacy not in allowed:
        raise BadAlg(
            f"{algorithm.name} is not allowed here",
            hint=f"to allow it, name {algorithm.legacy.value!r} in the legacy setting",
            legacy=algorithm.legacy.value,
        )
