"""The one table of algorithms: OID, primitive, GetCACaps keyword, allowed by default or not.

RFC 8894 section 2.9 asks for AES-128-CBC and SHA-256, allows 3DES and SHA-1, and forbids single
DES and MD5; section 7.9 says where SHA-1 is too weak.
Here everything below AES and SHA-2 is off until it is allowed by name: `Legacy` is that name,
and a function that meets such an algorithm asks for the set of names that are allowed.
Legacy algorithms are never chosen, only answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, Malformed
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.asn1 import der as _der

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class PSSPublicKey:
    """An RSA key that signs with RSASSA-PSS and does nothing else (RFC 4055 section 1.2).

    Another key than the rsaEncryption one of the same numbers: nothing is encrypted to it.

    Attributes:
        rsa: the numbers.
        spki: its SubjectPublicKeyInfo, DER as received.
        parameters: the RSASSA-PSS-params that it is restricted to, DER; None for no restriction.
    """

    rsa: rsa.RSAPublicKey
    spki: bytes
    parameters: bytes | None

    @property
    def key_size(self) -> int:
        """Return the bits of its modulus."""
        return self.rsa.key_size

    def public_bytes(self, encoding: Encoding, format: PublicFormat) -> bytes:  # noqa: A002, ARG002
        """Return its SubjectPublicKeyInfo, DER, as the library's keys do when asked for that."""
        return self.spki


PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | PSSPublicKey
)

# The library's kinds of keys are abstract classes, of which `isinstance` takes a microsecond; a
# request asks ten times. Every public key that the library loads is of one class for each kind.
RSA_KEY: type[rsa.RSAPublicKey] = type(rsa.RSAPublicNumbers(65537, 1 << 2047 | 1).public_key())
"""The class of RSA public keys that are good for all that RSA does."""
EC_KEY: type[ec.EllipticCurvePublicKey] = type(
    ec.derive_private_key(1, ec.SECP256R1()).public_key()
)
"""The class of EC public keys."""

is_a: Callable[[type, type], bool] = cache(issubclass)
"""Says whether a class is of a kind, and remembers it: the classes are few."""


# Bounds for RSA keys that a peer sends, in bits. Below, the key is worthless; above, one
# signature check costs more than an attacker pays for asking.
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192


class Legacy(StrEnum):
    """Names of algorithms and forms that are off until they are allowed (RFC 8894 section 2.9)."""

    SHA1 = "sha1"
    DES3 = "des3"
    DES = "des"
    MD5 = "md5"
    DRAFT_OIDS = "draft-oids"


NO_LEGACY: frozenset[Legacy] = frozenset()
LEGACY_ALGORITHMS = tuple(name for name in Legacy if name is not Legacy.DRAFT_OIDS)
"""The legacy names that a client can allow: all but OIDs of old drafts, which it never sends."""


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """A message digest.

    Attributes:
        oid: as in DigestAlgorithmIdentifier.
        name: for logs and settings.
        primitive: the hash.
        keyword: its GetCACaps keyword, if there is one.
        legacy: the name that has to be allowed for it, if one has to.
        head: tag and length of an OCTET STRING that holds one, DER.
    """

    oid: ObjectIdentifier
    name: str
    primitive: hashes.HashAlgorithm
    keyword: str | None = None
    legacy: Legacy | None = None
    head: bytes = field(init=False, repr=False)
    _hash: Callable[..., Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        head = bytes([_der.OCTET_STRING, self.primitive.digest_size])
        object.__setattr__(self, "head", head)
        object.__setattr__(self, "_hash", getattr(hashlib, self.name.replace("-", "_")))

    def of(self, data: bytes) -> bytes:
        """Return the digest of `data`."""
        return self._hash(data, usedforsecurity=False).digest()  # type: ignore[no-any-return]


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

    def context(self, key: bytes, iv: bytes) -> CipherContext[CBC]:
        """Return what encrypts or decrypts with a key.

        Raises:
            ValueError: key or IV are of another length than this cipher's.
        """
        if len(key) != self.key_size or len(iv) != self.block_size:
            raise ValueError(f"a key or an IV of a wrong length for {self.name}")
        return _Checked(self.primitive(key), CBC(iv))


class _Checked(CipherContext[CBC]):
    """Hold a cipher and a mode as the library does, without asking whether they are such.

    That takes as long as making the rest of it; `Cipher.context` has looked at the lengths.
    """

    def __init__(self, algorithm: BlockCipherAlgorithm, mode: CBC) -> None:
        self.algorithm = algorithm
        self.mode = mode


def _single_des(key: bytes) -> BlockCipherAlgorithm:
    # Triple DES with one key three times is single DES; OpenSSL 4 has no DES of its own.
    return TripleDES(key * 3)


@dataclass(frozen=True, slots=True)
class KeyWrap:
    """A cipher that encrypts a content-encryption key with another key.

    Attributes:
        oid: as in KeyWrapAlgorithm.
        key_size: octets of the key-encryption key.
        legacy: the name that has to be allowed for it, if one has to.
    """

    oid: ObjectIdentifier
    key_size: int
    legacy: Legacy | None = None


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

# Kinds of keys. RSA's, and of some devices EC's, is a signature algorithm as well, see
# `signatures`: it leaves the digest to the SignerInfo.
RSA_ENCRYPTION = ObjectIdentifier("1.2.840.113549.1.1.1")
EC_PUBLIC_KEY = ObjectIdentifier("1.2.840.10045.2.1")
ED25519 = ObjectIdentifier("1.3.101.112")
# The curves of EC keys (RFC 5480 section 2.1.1.1), by the names of `ec.EllipticCurve`.
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})

# A kind of key and of signature: for that alone.
RSASSA_PSS = ObjectIdentifier("1.2.840.113549.1.1.10")
RSAES_OAEP = ObjectIdentifier("1.2.840.113549.1.1.7")
MGF1 = ObjectIdentifier("1.2.840.113549.1.1.8")

# Passwords as recipients: RFC 3211, RFC 8018 appendices A.2 and B.1.2. HMAC does not rest on
# collision resistance, so that its SHA-1, PBKDF2's default, needs no switch.
PWRI_KEK = ObjectIdentifier("1.2.840.113549.1.9.16.3.9")
PBKDF2 = ObjectIdentifier("1.2.840.113549.1.5.12")
HMAC_SHA256 = ObjectIdentifier("1.2.840.113549.2.9")
PRFS = {
    ObjectIdentifier("1.2.840.113549.2.7"): SHA1,
    ObjectIdentifier("1.2.840.113549.2.8"): SHA224,
    HMAC_SHA256: SHA256,
    ObjectIdentifier("1.2.840.113549.2.10"): SHA384,
    ObjectIdentifier("1.2.840.113549.2.11"): SHA512,
}

# Key agreement with EC keys (RFC 5753 section 7.1.4): the digest of the X9.63 key derivation,
# which does not rest on collision resistance either. The second row is cofactor Diffie-Hellman,
# which on curves of cofactor 1, as all of ours are, is the same.
STD_DH_SHA256 = ObjectIdentifier("1.3.132.1.11.1")
KEY_AGREEMENTS = {
    ObjectIdentifier("1.3.133.16.840.63.0.2"): SHA1,
    ObjectIdentifier("1.3.132.1.11.0"): SHA224,
    STD_DH_SHA256: SHA256,
    ObjectIdentifier("1.3.132.1.11.2"): SHA384,
    ObjectIdentifier("1.3.132.1.11.3"): SHA512,
    ObjectIdentifier("1.3.133.16.840.63.0.3"): SHA1,
    ObjectIdentifier("1.3.132.1.14.0"): SHA224,
    ObjectIdentifier("1.3.132.1.14.1"): SHA256,
    ObjectIdentifier("1.3.132.1.14.2"): SHA384,
    ObjectIdentifier("1.3.132.1.14.3"): SHA512,
}
AES128_WRAP = KeyWrap(ObjectIdentifier("2.16.840.1.101.3.4.1.5"), 16)
AES192_WRAP = KeyWrap(ObjectIdentifier("2.16.840.1.101.3.4.1.25"), 24)
AES256_WRAP = KeyWrap(ObjectIdentifier("2.16.840.1.101.3.4.1.45"), 32)
DES3_WRAP = KeyWrap(ObjectIdentifier("1.2.840.113549.1.9.16.3.6"), 24, Legacy.DES3)
KEY_WRAPS = {w.oid: w for w in (AES128_WRAP, AES192_WRAP, AES256_WRAP, DES3_WRAP)}


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


def key_wrap(oid: ObjectIdentifier, allowed: frozenset[Legacy]) -> KeyWrap:
    """Look up a key-wrap algorithm.

    Raises:
        BadAlg: unknown, or legacy and not in `allowed`.
    """
    found = KEY_WRAPS.get(oid)
    if found is None:
        raise BadAlg(f"key-wrap algorithm {oid.dotted_string} is not supported")
    if found.legacy is not None and found.legacy not in allowed:
        raise not_allowed(f"{found.legacy.value} key wrap", found.legacy)
    return found


def _require(algorithm: Digest | Cipher, allowed: frozenset[Legacy]) -> None:
    if algorithm.legacy is not None and algorithm.legacy not in allowed:
        raise not_allowed(algorithm.name, algorithm.legacy)


def not_allowed(what: str, needed: Legacy) -> BadAlg:
    """Return the refusal of an algorithm that only has to be allowed.

    Args:
        what: how to call it.
        needed: the name that would allow it.
    """
    return BadAlg(
        f"{what} is not allowed here",
        hint=f"to allow it, name {needed.value!r} in the legacy setting",
        legacy=(needed.value,),
    )


# --- as they came ---------------------------------------------------------------------------------

# Octets of an AlgorithmIdentifier; RSASSA-PSS has the longest parameters, of some 70.
LONGEST = 1024


class AlgorithmIdentifier(NamedTuple):
    """An algorithm and its parameters as they came (RFC 5280 section 4.1.1.2).

    Attributes:
        oid: which algorithm.
        parameters: DER; None when there are none.
    """

    oid: ObjectIdentifier
    parameters: bytes | None = None

    @classmethod
    def of(cls, info: types.AlgorithmIdentifier) -> AlgorithmIdentifier:
        """Return the value of a decoded AlgorithmIdentifier."""
        parameters = None if info.parameters is None else _der.encode(info.parameters)
        return cls(info.algorithm, parameters)


# Few are in use: each is decoded once. What is refused is not remembered.
@lru_cache(maxsize=128)
def read_algorithm(der: bytes) -> AlgorithmIdentifier:
    """Read an AlgorithmIdentifier, of at most `LONGEST` octets.

    Raises:
        Malformed: it is none, or longer.
    """
    if len(der) > LONGEST:
        raise Malformed(f"an AlgorithmIdentifier of {len(der)} octets")
    return AlgorithmIdentifier(*ber.algorithm(der))
