"""Signatures: the one table of their algorithms, how they are verified and how ours are made.

Whoever meets a signature, in CMS, PKCS#10, a certificate or CMP, reads its AlgorithmIdentifier
with `read` and verifies with the `SignatureScheme` that it gets: what the parameters say cannot
get lost in between.
RSA keys sign with RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 4055, RFC 4056), EC keys with ECDSA
(RFC 5758), Ed25519 keys in their one way (RFC 8410). Ours never use RSASSA-PSS: old clients do not
know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg
from scepkit.protocol.algorithms import (
    DIGESTS,
    EC_PUBLIC_KEY,
    ED25519,
    LONGEST,
    MAX_RSA_BITS,
    MD5,
    MGF1,
    RSA_ENCRYPTION,
    RSASSA_PSS,
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    AlgorithmIdentifier,
    Digest,
    Legacy,
    PrivateKey,
    PSSPublicKey,
    PublicKey,
    is_a,
    not_allowed,
)
from scepkit.protocol.asn1 import ber, der, types

_PKCS1_V15 = padding.PKCS1v15()
_DEFAULT_SALT = 20
_MAX_SALT = MAX_RSA_BITS // 8

# Not supported, but verified: only when the signature of a PKCS#10 holds, its sender may be told
# what is wrong with it.
_SHA3_224 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.7"), "sha3-224", hashes.SHA3_224())
_SHA3_256 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.8"), "sha3-256", hashes.SHA3_256())
_SHA3_384 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.9"), "sha3-384", hashes.SHA3_384())
_SHA3_512 = Digest(ObjectIdentifier("2.16.840.1.101.3.4.2.10"), "sha3-512", hashes.SHA3_512())
_VERIFIABLE = DIGESTS | {d.oid: d for d in (_SHA3_224, _SHA3_256, _SHA3_384, _SHA3_512)}

_RSA = {
    ObjectIdentifier("1.2.840.113549.1.1.4"): MD5,
    ObjectIdentifier("1.2.840.113549.1.1.5"): SHA1,
    ObjectIdentifier("1.2.840.113549.1.1.14"): SHA224,
    ObjectIdentifier("1.2.840.113549.1.1.11"): SHA256,
    ObjectIdentifier("1.2.840.113549.1.1.12"): SHA384,
    ObjectIdentifier("1.2.840.113549.1.1.13"): SHA512,
    ObjectIdentifier("2.16.840.1.101.3.4.3.13"): _SHA3_224,
    ObjectIdentifier("2.16.840.1.101.3.4.3.14"): _SHA3_256,
    ObjectIdentifier("2.16.840.1.101.3.4.3.15"): _SHA3_384,
    ObjectIdentifier("2.16.840.1.101.3.4.3.16"): _SHA3_512,
}
_ECDSA = {
    ObjectIdentifier("1.2.840.10045.4.1"): SHA1,
    ObjectIdentifier("1.2.840.10045.4.3.1"): SHA224,
    ObjectIdentifier("1.2.840.10045.4.3.2"): SHA256,
    ObjectIdentifier("1.2.840.10045.4.3.3"): SHA384,
    ObjectIdentifier("1.2.840.10045.4.3.4"): SHA512,
    ObjectIdentifier("2.16.840.1.101.3.4.3.9"): _SHA3_224,
    ObjectIdentifier("2.16.840.1.101.3.4.3.10"): _SHA3_256,
    ObjectIdentifier("2.16.840.1.101.3.4.3.11"): _SHA3_384,
    ObjectIdentifier("2.16.840.1.101.3.4.3.12"): _SHA3_512,
}

# For logs, of those that somebody may meet; all others go by their OID.
_UNSUPPORTED = {
    ObjectIdentifier("1.2.840.113549.1.1.2"): "md2WithRSAEncryption",
    ObjectIdentifier("1.2.840.113549.1.1.15"): "sha512-224WithRSAEncryption",
    ObjectIdentifier("1.2.840.113549.1.1.16"): "sha512-256WithRSAEncryption",
    ObjectIdentifier("1.2.840.10040.4.3"): "dsa-with-sha1",
    ObjectIdentifier("2.16.840.1.101.3.4.3.2"): "dsa-with-sha256",
    ObjectIdentifier("1.3.101.113"): "Ed448",
    ObjectIdentifier("1.3.6.1.5.5.7.6.30"): "RSASSA-PSS-SHAKE128",
    ObjectIdentifier("1.3.6.1.5.5.7.6.31"): "RSASSA-PSS-SHAKE256",
    ObjectIdentifier("2.16.840.1.101.3.4.3.17"): "ML-DSA-44",
    ObjectIdentifier("2.16.840.1.101.3.4.3.18"): "ML-DSA-65",
    ObjectIdentifier("2.16.840.1.101.3.4.3.19"): "ML-DSA-87",
}

_Kind: TypeAlias = (
    type[rsa.RSAPublicKey] | type[ec.EllipticCurvePublicKey] | type[ed25519.Ed25519PublicKey]
)
_NAMES: dict[_Kind, str] = {
    rsa.RSAPublicKey: "RSASSA-PKCS1-v1_5 with {}",
    ec.EllipticCurvePublicKey: "ECDSA with {}",
    ed25519.Ed25519PublicKey: "Ed25519",
}


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """A way to verify a signature; what all verifications have in common is made with it.

    Attributes:
        kind: the kind of key.
        digest: the digest of what is signed.
        mask: the digest of RSASSA-PSS's MGF1; None for every other signature.
        salt_length: octets of RSASSA-PSS's salt.
        legacy: the names that have to be allowed for it, each once.
        is_free: whether it is supported, and nothing has to be allowed for it.
    """

    kind: _Kind
    digest: Digest
    mask: Digest | None = None
    salt_length: int = 0
    legacy: tuple[Legacy, ...] = field(init=False, repr=False, compare=False)
    _digests: tuple[Digest, ...] = field(init=False, repr=False, compare=False)
    is_free: bool = field(init=False, repr=False, compare=False)
    _arguments: tuple[Any, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        digests = (self.digest,) if self.mask is None else (self.digest, self.mask)
        legacy = dict.fromkeys(one.legacy for one in digests if one.legacy is not None)
        object.__setattr__(self, "legacy", tuple(legacy))
        object.__setattr__(self, "_digests", digests)
        is_free = not legacy and all(one.oid in DIGESTS for one in digests)
        object.__setattr__(self, "is_free", is_free)
        object.__setattr__(self, "_arguments", self._of_verify())

    def _of_verify(self) -> tuple[Any, ...]:
        """Return what a key's `verify` takes behind the signature and the data."""
        if self.kind is ed25519.Ed25519PublicKey:
            return ()
        if self.kind is ec.EllipticCurvePublicKey:
            return (ec.ECDSA(self.digest.primitive),)
        if self.mask is None:
            return _PKCS1_V15, self.digest.primitive
        scheme = padding.PSS(padding.MGF1(self.mask.primitive), self.salt_length)
        return scheme, self.digest.primitive

    def __str__(self) -> str:
        """Return its name, for logs and failInfoText."""
        if self.mask is not None:
            return (
                f"RSASSA-PSS with {self.digest.name}, MGF1 of {self.mask.name} "
                f"and a salt of {self.salt_length} octets"
            )
        return _NAMES[self.kind].format(self.digest.name)

    def require_key(self, key: PublicKey) -> None:
        """Refuse it for another kind of key.

        Raises:
            BadAlg: the key cannot verify it.
        """
        if not (self._fits(key) if type(key) is PSSPublicKey else is_a(type(key), self.kind)):
            raise BadAlg(f"signature algorithm {self} is not supported for this key")

    def _fits(self, key: PSSPublicKey) -> bool:
        """Say whether a key for RSASSA-PSS alone may make this signature (RFC 4055 section 3.3)."""
        if self.mask is None or key.parameters is None:
            return self.mask is not None
        only = _pss(key.parameters)
        same = (self.digest, self.mask) == (only.digest, only.mask)
        return same and self.salt_length >= only.salt_length

    def require(self, allowed: frozenset[Legacy]) -> None:
        """Refuse it unless it is supported, and allowed.

        Raises:
            BadAlg: a digest of it is not supported, or is legacy and not in `allowed`.
        """
        for one in self._digests:
            if one.oid not in DIGESTS:
                raise BadAlg(f"signature algorithm {self} is not supported")
            if one.legacy is not None and one.legacy not in allowed:
                raise not_allowed(one.name if self.mask is None else str(self), one.legacy)

    def verify(self, key: PublicKey, signature: bytes, data: bytes) -> bool:
        """Say whether `signature` is the key's over `data`.

        Args:
            key: one that `require_key` lets pass.
            signature: the signature.
            data: what it is said to be over.
        """
        verifier: Any = key.rsa if type(key) is PSSPublicKey else key
        try:
            verifier.verify(signature, data, *self._arguments)
        except InvalidSignature:
            return False
        return True


def read(
    algorithm: AlgorithmIdentifier,
    key: PublicKey,
    allowed: frozenset[Legacy],
    *,
    signer_digest: Digest | None = None,
) -> SignatureScheme:
    """Read how a signature is to be verified with the key at hand.

    Args:
        algorithm: the signature's algorithm.
        key: the key that is to verify.
        allowed: the legacy algorithms that are allowed.
        signer_digest: see `parse`.

    Raises:
        Malformed: its parameters cannot be read.
        BadAlg: unknown, not supported, not for this kind of key, or legacy and not in `allowed`.
    """
    scheme = parse(algorithm, signer_digest)
    scheme.require_key(key)
    if not scheme.is_free:
        scheme.require(allowed)
    return scheme


def parse(algorithm: AlgorithmIdentifier, signer_digest: Digest | None = None) -> SignatureScheme:
    """Read which scheme an AlgorithmIdentifier means, whether it is allowed or not.

    Args:
        algorithm: the signature's algorithm.
        signer_digest: the SignerInfo's digestAlgorithm, for plain rsaEncryption, and the EC keys'
            id-ecPublicKey of some devices. Elsewhere these two are no signature algorithms.

    Raises:
        Malformed: its parameters cannot be read.
        BadAlg: it cannot be verified.
    """
    parameters = algorithm.parameters
    if parameters is not None and len(parameters) > LONGEST:
        return _scheme.__wrapped__(algorithm, signer_digest)
    return _scheme(algorithm, signer_digest)


# Few are in use: each is worked out once. What is refused is not remembered.
@lru_cache(maxsize=128)
def _scheme(algorithm: AlgorithmIdentifier, signer_digest: Digest | None) -> SignatureScheme:
    oid = algorithm.oid
    if oid == RSASSA_PSS:
        return _pss(algorithm.parameters)
    if oid == ED25519:
        return SignatureScheme(ed25519.Ed25519PublicKey, SHA512)
    if oid in _RSA:
        return SignatureScheme(rsa.RSAPublicKey, _RSA[oid])
    if oid in _ECDSA:
        return SignatureScheme(ec.EllipticCurvePublicKey, _ECDSA[oid])
    if signer_digest is not None and oid == RSA_ENCRYPTION:
        return SignatureScheme(rsa.RSAPublicKey, signer_digest)
    if signer_digest is not None and oid == EC_PUBLIC_KEY:
        return SignatureScheme(ec.EllipticCurvePublicKey, signer_digest)
    known = f"{_UNSUPPORTED[oid]}, " if oid in _UNSUPPORTED else ""
    raise BadAlg(f"signature algorithm {known}{oid.dotted_string} is not supported")


def _pss(parameters: bytes | None) -> SignatureScheme:
    """Read RSASSA-PSS-params (RFC 4055 section 3.1): what is left out is SHA-1, and a salt of 20.

    In a signature they must be there, be they empty.
    """
    if parameters is None or parameters == der.NULL:
        raise _bad_pss("without parameters")
    params = ber.decode(types.RSASSAPSSParams, parameters, "RSASSA-PSS-params")
    salt = _DEFAULT_SALT if params.saltLength is None else params.saltLength
    if not 0 <= salt <= _MAX_SALT:
        raise _bad_pss(f"with a salt that is not 0 to {_MAX_SALT} octets long")
    if params.trailerField not in (None, 1):
        raise _bad_pss("with a trailerField other than 1")
    digest = _pss_digest(params.hashAlgorithm, "")
    try:
        mask = mask_digest(params.maskGenAlgorithm)
    except BadAlg as error:
        raise BadAlg(f"signature algorithm RSASSA-PSS: {error.message}") from error
    return SignatureScheme(rsa.RSAPublicKey, digest, _pss_digest(mask, "MGF1 of "), salt)


def _pss_digest(algorithm: types.AlgorithmIdentifier | None, where: str) -> Digest:
    if algorithm is None:
        return SHA1
    found = _VERIFIABLE.get(algorithm.algorithm)
    if found is None:
        raise _bad_pss(f"with {where}digest {algorithm.algorithm.dotted_string}")
    return found


def _bad_pss(what: str) -> BadAlg:
    return BadAlg(f"signature algorithm RSASSA-PSS {what} is not supported")


# --- ours -----------------------------------------------------------------------------------------


def signing_digest(key: PrivateKey, wanted: Digest) -> Digest:
    """Return the digest that a key signs with: the wanted one, where the key has a choice.

    Ed25519 goes with SHA-512 (RFC 8419 section 3.1), and there is no ECDSA with MD5.
    """
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SHA512
    if isinstance(key, ec.EllipticCurvePrivateKey) and wanted is MD5:
        return SHA256
    return wanted


def signature_algorithm(key: PrivateKey, digest: Digest) -> bytes:
    """Return the AlgorithmIdentifier of a key's signatures over a digest, DER.

    RSA's has the parameters NULL, all others have none (RFC 4055, RFC 5758, RFC 8410, RFC 9481).

    Args:
        key: the key.
        digest: one that `signing_digest` gave.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return der.algorithm(_oid(_RSA, digest))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return der.algorithm(_oid(_ECDSA, digest), b"")
    return der.algorithm(ED25519, b"")


def signing(
    key: PrivateKey, digest: Digest, *, deterministic: bool = False
) -> Callable[[bytes], bytes]:
    """Return a function that signs with a key: RSASSA-PKCS1-v1_5, ECDSA or Ed25519.

    Args:
        key: the private key.
        digest: the digest, for keys that have a choice.
        deterministic: whether ECDSA too gives the same signature each time (RFC 6979).
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, _PKCS1_V15, digest.primitive)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        scheme = ec.ECDSA(digest.primitive, deterministic_signing=deterministic)
        return lambda data: key.sign(data, scheme)
    return key.sign


def sign(key: PrivateKey, data: bytes, digest: Digest, *, deterministic: bool = False) -> bytes:
    """Return the signature of a key over `data`; see `signing`."""
    return signing(key, digest, deterministic=deterministic)(data)


def _oid(table: dict[ObjectIdentifier, Digest], digest: Digest) -> ObjectIdentifier:
    return next(oid for oid, one in table.items() if one is digest)


def mask_digest(mask: types.AlgorithmIdentifier | None) -> types.AlgorithmIdentifier | None:
    """Return the digest of a maskGenAlgorithm; None for the default.

    Raises:
        Malformed: its parameters cannot be read.
        BadAlg: it is something other than MGF1.
    """
    if mask is None:
        return None
    if mask.algorithm != MGF1:
        raise BadAlg(f"mask generation {mask.algorithm.dotted_string} is not supported")
    if not isinstance(mask.parameters, TLV):
        raise BadAlg("MGF1 without a digest is not supported")
    return ber.parse(types.AlgorithmIdentifier, mask.parameters, "MGF1 parameters")
