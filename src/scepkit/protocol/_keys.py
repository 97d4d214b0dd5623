"""Public keys that a peer sent: bounded before any arithmetic, then loaded; and what they verify.

An RSA modulus of a megabit or an exponent of 1 must cost and gain nothing, so the numbers are
looked at in the encoding, before OpenSSL sees the key.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from scepkit.errors import BadAlg, BadRequest, Malformed
from scepkit.protocol import _asn1, _codec
from scepkit.protocol.algorithms import (
    EC_PUBLIC_KEY,
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    RSA_ENCRYPTION,
    Digest,
    PrivateKey,
    PublicKey,
)

# Below this not even a signature can be checked: SHA-512 and its padding have no room.
MIN_VERIFIABLE_BITS = 752


def load(spki: bytes, *, min_rsa_bits: int = MIN_RSA_BITS) -> PublicKey:
    """Read a SubjectPublicKeyInfo.

    Args:
        spki: DER.
        min_rsa_bits: the size from which on an RSA key is loaded.

    Raises:
        Malformed: not a SubjectPublicKeyInfo, or numbers that are no key.
        BadRequest: an RSA key of a size or exponent that is not accepted.
        BadAlg: a kind of key other than RSA and EC.
    """
    key = _load(spki)
    check_size(key, min_rsa_bits)
    return key


# A request names its key twice, and a device comes again with the same one.
@lru_cache(maxsize=512)
def _load(spki: bytes) -> PublicKey:
    _bound(spki)
    try:
        key = load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise BadAlg(f"public key not supported: {error}", text="key type not supported") from error
    except ValueError as error:
        raise Malformed(f"not a public key: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise BadAlg(f"{type(key).__name__} is not supported", text="key type not supported")
    return key


def check_size(key: PublicKey, min_rsa_bits: int = MIN_RSA_BITS) -> None:
    """Refuse an RSA key that is too small, by default too small to be certified.

    Raises:
        BadRequest: it is.
    """
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < min_rsa_bits:
        raise _size(key.key_size)


def _size(bits: int) -> BadRequest:
    return BadRequest(f"RSA key of {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")


def _bound(spki: bytes) -> None:
    info = _codec.decode(_asn1.SubjectPublicKeyInfo, spki, "SubjectPublicKeyInfo")
    kind = info.algorithm.algorithm
    if kind == EC_PUBLIC_KEY:
        return
    # The library knows more names for RSA keys, and would load those without any bounds.
    if kind != RSA_ENCRYPTION:
        raise BadAlg(f"public key of {kind.dotted_string}", text="key type not supported")
    numbers = _codec.decode(_asn1.RSAPublicKey, info.subjectPublicKey.as_bytes(), "RSA public key")
    bits = numbers.modulus.bit_length()
    if not MIN_VERIFIABLE_BITS <= bits <= MAX_RSA_BITS:
        raise _size(bits)
    # 2**32 is more than any real key has; a huge exponent makes every check slow.
    if not 3 <= numbers.publicExponent < 1 << 32 or not numbers.publicExponent & 1:  # noqa: PLR2004
        raise BadRequest("RSA public exponent not accepted")
    if numbers.modulus < 0:
        raise BadRequest("RSA modulus is negative")


def verify(key: PublicKey, signature: bytes, data: bytes, digest: Digest) -> bool:
    """Say whether `signature` is the key's over `data`: RSASSA-PKCS1-v1_5 or ECDSA."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest.primitive)
        else:
            key.verify(signature, data, ec.ECDSA(digest.primitive))
    except InvalidSignature:
        return False
    return True


def sign(key: PrivateKey, data: bytes, digest: Digest) -> bytes:
    """Return the key's signature over `data`: RSASSA-PKCS1-v1_5 or ECDSA."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest.primitive)
    return key.sign(data, ec.ECDSA(digest.primitive))
