"""Protection by a signature (RFC 9810 section 5.1.3.3, RFC 9481 section 3)."""

from __future__ import annotations

from scepkit import errors as general
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import Digest, Legacy, PrivateKey
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp.errors import BadAlg, BadMessageCheck
from scepkit.protocol.cmp.message import Protection
from scepkit.protocol.signatures import AlgorithmIdentifier


def holds(protection: Protection, certificate: Certificate, allowed: frozenset[Legacy]) -> bool:
    """Say whether the certificate's key made a signature.

    Raises:
        BadAlg: the algorithm is unknown, not for this kind of key, or not allowed.
        BadMessageCheck: the certificate's key or the algorithm's parameters cannot be used.
    """
    algorithm_ = AlgorithmIdentifier(protection.algorithm, protection.parameters)
    try:
        key = certificate.public_key
        # Without a SignerInfo nothing but the algorithm says which digest it is, so that plain
        # rsaEncryption and id-ecPublicKey are no signature algorithms here.
        scheme = signatures.read(algorithm_, key, allowed)
    except general.BadAlg as error:
        raise BadAlg(error.message, text=error.text, hint=error.hint) from error
    except (general.Malformed, general.FailInfoError) as error:
        raise BadMessageCheck(
            error.message, text="the key that signed, or the algorithm, cannot be used"
        ) from error
    return scheme.verify(key, protection.value, protection.covered)


def algorithm(key: PrivateKey, wanted: Digest) -> bytes:
    """Return the AlgorithmIdentifier of the signatures that `sign` makes, DER."""
    return signatures.signature_algorithm(key, signatures.signing_digest(key, wanted))


def sign(key: PrivateKey, wanted: Digest, covered: bytes) -> bytes:
    """Return a key's signature: RSASSA-PKCS1-v1_5, ECDSA or Ed25519."""
    return signatures.sign(key, covered, signatures.signing_digest(key, wanted))
