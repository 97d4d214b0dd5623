"""Protection by a signature (RFC 9810 section 5.1.3.3, RFC 9481 section 3)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit import errors as general
from scepkit.protocol import _asn1 as x509_asn1
from scepkit.protocol import _codec, _keys, _mgf1
from scepkit.protocol.algorithms import (
    SHA1,
    Digest,
    Legacy,
    PrivateKey,
    PublicKey,
    digest,
    signature_digest,
    signing_digest,
)
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp import _asn1
from scepkit.protocol.cmp.errors import BadAlg, BadMessageCheck
from scepkit.protocol.cmp.message import Protection

RSASSA_PSS = ObjectIdentifier("1.2.840.113549.1.1.10")
# Octets. No digest is longer, and no longer salt is of any use.
_MAX_SALT = 64
_DEFAULT_SALT = 20


def holds(protection: Protection, certificate: Certificate, allowed: frozenset[Legacy]) -> bool:
    """Say whether the certificate's key made a signature.

    Raises:
        BadAlg: the algorithm is unknown, not for this kind of key, or not allowed.
        BadMessageCheck: the certificate's key or the algorithm's parameters cannot be used.
    """
    try:
        key = certificate.public_key
        if protection.algorithm == RSASSA_PSS:
            return _holds_pss(protection, key, allowed)
        # Without a SignerInfo nothing but the OID says which digest it is, so that plain
        # rsaEncryption and id-ecPublicKey are no signature algorithms here.
        used = signature_digest(protection.algorithm, key, None, allowed)
    except general.BadAlg as error:
        raise BadAlg(error.message, text=error.text, hint=error.hint) from error
    except (general.Malformed, general.FailInfoError) as error:
        raise BadMessageCheck(
            error.message, text="the key that signed, or the algorithm, cannot be used"
        ) from error
    return _keys.verify(key, protection.value, protection.covered, used)


def algorithm(key: PrivateKey, wanted: Digest) -> bytes:
    """Return the AlgorithmIdentifier of the signatures that `sign` makes, DER."""
    return _keys.signature_algorithm(key, signing_digest(key, wanted))


def sign(key: PrivateKey, wanted: Digest, covered: bytes) -> bytes:
    """Return a key's signature: RSASSA-PKCS1-v1_5, ECDSA or Ed25519."""
    return _keys.sign(key, covered, signing_digest(key, wanted))


def _holds_pss(protection: Protection, key: PublicKey, allowed: frozenset[Legacy]) -> bool:
    if not isinstance(key, rsa.RSAPublicKey):
        raise general.BadAlg("RSASSA-PSS is not for the key of the signer")
    if protection.parameters is None:
        # RFC 4055 section 3.1: they must be there in a signature.
        raise general.Malformed("RSASSA-PSS without parameters")
    params = _codec.decode(_asn1.RSASSAPSSParams, protection.parameters, "RSASSA-PSS-params")
    used = _digest(params.hashAlgorithm, allowed)
    salt = _DEFAULT_SALT if params.saltLength is None else params.saltLength
    if not 0 <= salt <= _MAX_SALT or params.trailerField not in (None, 1):
        raise general.BadAlg("RSASSA-PSS with parameters that are not supported")
    mask = _digest(_mgf1.read(params.maskGenAlgorithm), allowed)
    scheme = padding.PSS(padding.MGF1(mask.primitive), salt)
    try:
        key.verify(protection.value, protection.covered, scheme, used.primitive)
    except InvalidSignature:
        return False
    except ValueError as error:
        raise general.Malformed(f"RSASSA-PSS: {error}") from error
    return True


def _digest(algorithm_: x509_asn1.AlgorithmIdentifier | None, allowed: frozenset[Legacy]) -> Digest:
    return digest(SHA1.oid if algorithm_ is None else algorithm_.algorithm, allowed)
