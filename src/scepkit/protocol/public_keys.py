"""Public keys that a peer sent: bounded before any arithmetic, then loaded.

An RSA modulus of a megabit or an exponent of 1 must cost and gain nothing, so the numbers are
looked at in the encoding, before OpenSSL sees the key.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, BadRequest, FailInfoError, Malformed
from scepkit.protocol.algorithms import (
    CURVES,
    EC_KEY,
    EC_PUBLIC_KEY,
    ED25519,
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    RSA_ENCRYPTION,
    RSA_KEY,
    RSASSA_PSS,
    PSSPublicKey,
    PublicKey,
)
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.grammar import ANY, CONTENT, END, ENTER, OPTIONAL, Grammar
from scepkit.protocol.value import value

# SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
_INFO = Grammar(
    "SubjectPublicKeyInfo",
    *(der.SEQUENCE | ENTER, der.SEQUENCE | ENTER, der.OID, ANY | OPTIONAL, END),
    *(der.BIT_STRING | CONTENT, END),
)
# RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
_RSA_KEY = Grammar(
    "RSA public key",
    *(der.SEQUENCE | ENTER, der.INTEGER | CONTENT, der.INTEGER | CONTENT, END),
)

_RSA, _RSASSA_PSS, _EC, _ED25519 = map(
    der.oid, (RSA_ENCRYPTION, RSASSA_PSS, EC_PUBLIC_KEY, ED25519)
)
# For logs, of those that somebody may meet; all others go by their OID.
_KINDS = {
    ObjectIdentifier("1.2.840.113549.1.1.7"): "id-RSAES-OAEP, ",
    ObjectIdentifier("1.2.840.10040.4.1"): "DSA, ",
    ObjectIdentifier("1.3.101.110"): "X25519, ",
    ObjectIdentifier("1.3.101.113"): "Ed448, ",
}

# Below this not even a signature can be checked: SHA-512 and its padding have no room.
MIN_VERIFIABLE_BITS = 752

# Octets, three times as many as the longest key has. Nothing longer is loaded, and remembered: a
# stranger could fill the memory with such.
_LONGEST = 8192


@value()
class KnownKey:
    """A public key that can verify a signature, good enough or not.

    Attributes:
        key: the key, loaded.
        canonical: its SubjectPublicKeyInfo in the one form that each key has, DER; see `canonical`.
        identity: SHA-256 of that, 32 octets.
        identifier: SHA-1 of its octets as they came, 20 octets; see `key_identifier`.
    """

    key: PublicKey
    canonical: bytes
    identity: bytes
    identifier: bytes


def load(spki: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo of a key that is good enough.

    Args:
        spki: DER.

    Raises:
        Malformed: not a SubjectPublicKeyInfo, or numbers that are no key.
        BadRequest: an RSA key of a size or exponent that is not accepted.
        BadAlg: a kind of key other than RSA, RSA for RSASSA-PSS alone, EC on a curve of `CURVES`,
            and Ed25519.
    """
    key = read(spki).key
    check(key)
    return key


def load_any(spki: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo of a key that can verify a signature, good enough or not.

    What was asked for with it can then be refused with a reason; see `check`.

    Raises:
        Malformed, BadRequest, BadAlg: as `load` does.
    """
    return read(spki).key


# A request names its key twice, and a device comes again with the same one.
@lru_cache(maxsize=512)
def read(spki: bytes) -> KnownKey:
    """Read a SubjectPublicKeyInfo as `load_any` does, with what tells its key from others.

    Raises:
        Malformed, BadRequest, BadAlg: as `load` does.
    """
    if len(spki) > _LONGEST:
        raise BadAlg(f"public key of {len(spki)} octets", text="key type not supported")
    kind, parameters, octets = _cut(spki)
    key = _loaded(spki, kind, parameters, octets)
    canonical = written(key)
    return KnownKey(key, canonical, hashlib.sha256(canonical).digest(), _sha1(octets))


def _loaded(spki: bytes, kind: bytes, parameters: bytes, octets: bytes) -> PublicKey:
    # The library knows more names for RSA keys, and would load those without any bounds.
    if kind in (_RSA, _RSASSA_PSS):
        modulus, exponent = _bound_rsa(octets)
        if kind == _RSASSA_PSS:
            return _pss_key(spki, parameters or None, modulus, exponent)
    elif kind == _EC:
        _bound_curve(parameters)
    elif kind != _ED25519:
        oid = ber.oid(kind)
        name = f"{_KINDS.get(oid, '')}{oid.dotted_string}"
        raise BadAlg(f"public key of {name}", text="key type not supported")
    try:
        key = load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise BadAlg(f"public key not supported: {error}", text="key type not supported") from error
    except ValueError as error:
        raise Malformed(f"not a public key: {error}") from error
    if not isinstance(key, (RSA_KEY, EC_KEY, ed25519.Ed25519PublicKey)):
        raise BadAlg(f"{type(key).__name__} is not supported", text="key type not supported")
    return key


def _cut(spki: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the kind of a key and its parameters, DER, and its octets."""
    kind, parameters, bits = _INFO.fields(spki)
    if parameters[:1] == der.NULL[:1] and parameters != der.NULL:
        raise Malformed("not a SubjectPublicKeyInfo: NULL with a content")
    # Whole octets, or some bits fewer, which are then 0 (X.690 section 11.2.1).
    unused, octets = bits[:1], bits[1:]
    if unused != b"\0" and not (unused and octets and _are_unused(unused[0], octets[-1])):
        raise Malformed("not a SubjectPublicKeyInfo: its key is no BIT STRING")
    return kind, parameters, octets


def _are_unused(bits: int, octet: int) -> bool:
    """Say whether so many bits at the end of an octet may be there for nothing."""
    return bits < 8 and not octet & ~(-1 << bits)  # noqa: PLR2004 - bits of an octet


def _pss_key(spki: bytes, parameters: bytes | None, modulus: int, exponent: int) -> PSSPublicKey:
    try:
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise Malformed(f"not a public key: {error}") from error
    return PSSPublicKey(key, spki, parameters)


def canonical(spki: bytes) -> bytes:
    """Return a SubjectPublicKeyInfo in the one form that its key has, DER.

    That is rsaEncryption with the parameters NULL, a named curve with an uncompressed point
    (RFC 3279 section 2.3.1, RFC 5480 section 2). Devices leave the NULL out or compress the point,
    and not always in the same way in a request and in the certificate that signs it.

    A key that cannot be loaded has no such form, and stays as it came.

    Args:
        spki: DER as received.
    """
    try:
        return read(spki).canonical
    except (FailInfoError, Malformed):
        return spki


def written(key: PublicKey) -> bytes:
    """Return the canonical SubjectPublicKeyInfo of a key, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def identity(spki: bytes) -> bytes:
    """Return SHA-256 of the `canonical` SubjectPublicKeyInfo, 32 octets: the identity of a key.

    Args:
        spki: DER as received.
    """
    try:
        return read(spki).identity
    except (FailInfoError, Malformed):
        return hashlib.sha256(spki).digest()


def key_identifier(spki: bytes) -> bytes:
    """Return SHA-1 of a key's octets, the first way of RFC 5280 section 4.2.1.2; 20 octets.

    Args:
        spki: its SubjectPublicKeyInfo, DER.
    """
    try:
        return read(spki).identifier
    except (FailInfoError, Malformed):
        bits = _INFO.fields(spki)[-1]
        return _sha1(bits[1:])


def _sha1(octets: bytes) -> bytes:
    return hashlib.sha1(octets, usedforsecurity=False).digest()


def check(key: PublicKey) -> None:
    """Refuse a key that is not good enough to sign messages or to be certified.

    Raises:
        BadRequest: an RSA key that is too small.
        BadAlg: an EC key on a curve that is not one of `CURVES`.
    """
    if isinstance(key, (RSA_KEY, PSSPublicKey)):
        if key.key_size < MIN_RSA_BITS:
            raise _size(key.key_size)
    elif isinstance(key, EC_KEY) and key.curve.name not in CURVES:
        raise BadAlg(f"an EC key on the curve {key.curve.name} is not accepted")


def _size(bits: int) -> BadRequest:
    return BadRequest(f"RSA key of {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")


def _bound_rsa(key: bytes) -> tuple[int, int]:
    """Return modulus and exponent of an RSAPublicKey that is not too large."""
    n, e = _RSA_KEY.fields(key)
    modulus, exponent = ber.integer(n, "RSA public key"), ber.integer(e, "RSA public key")
    bits = modulus.bit_length()
    if not MIN_VERIFIABLE_BITS <= bits <= MAX_RSA_BITS:
        raise _size(bits)
    # 2**32 is more than any real key has; a huge exponent makes every check slow.
    if not 3 <= exponent < 1 << 32 or not exponent & 1:  # noqa: PLR2004
        raise BadRequest("RSA public exponent not accepted")
    if modulus < 0:
        raise BadRequest("RSA modulus is negative")
    return modulus, exponent


def _bound_curve(parameters: bytes) -> None:
    # A curve in so many words instead of by its name could be any, and made for an attack.
    if parameters in (b"", der.NULL):
        raise Malformed("an EC public key without a curve")
    ber.decode(ObjectIdentifier, parameters, "named curve")
