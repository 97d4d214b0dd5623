"""PBKDF2 (RFC 8018 section 5.2): a key made of a password, and the bound on its cost."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from scepkit.errors import BadAlg
from scepkit.protocol.algorithms import PBKDF2, PRFS, SHA1, Digest
from scepkit.protocol.asn1 import ber, der, types

# Half a second of work: what one message may cost at most, for peers that set it high.
MAX_ITERATIONS = 1_000_000
# Five milliseconds: what a server does for anybody, which is as much as our own client asks for.
MAX_FOR_STRANGERS = 10_000
# A longer number could be as long as the message.
_MAX_TOLD = 2**63

_PRF_OIDS = {digest.oid: oid for oid, digest in PRFS.items()}


@dataclass(frozen=True, slots=True)
class Derivation:
    """The parameters that make a key of a password.

    Attributes:
        salt: any octets.
        iterations: 1 to `MAX_ITERATIONS`.
        prf: the digest of its HMAC.
    """

    salt: bytes
    iterations: int
    prf: Digest

    def derive(self, password: str, size: int) -> bytes:
        """Return a key of `size` octets."""
        function = PBKDF2HMAC(self.prf.primitive, size, self.salt, self.iterations)
        return function.derive(password.encode())

    def parameters(self, size: int | None = None) -> bytes:
        """Return PBKDF2-params, DER (RFC 8018 appendix A.2).

        Args:
            size: the keyLength; None leaves it out.
        """
        return der.sequence(
            der.octet_string(self.salt),
            der.encode(self.iterations),
            b"" if size is None else der.encode(size),
            der.algorithm(_PRF_OIDS[self.prf.oid]),
        )


def read(
    algorithm: types.AlgorithmIdentifier | None, max_iterations: int = MAX_ITERATIONS
) -> tuple[Derivation, int | None]:
    """Read the parameters of a peer's key derivation; no work is done yet.

    Args:
        algorithm: the peer's keyDerivationAlgorithm.
        max_iterations: how much work the peer may ask for; never more than `MAX_ITERATIONS`.

    Returns:
        The derivation, and the keyLength that the peer wrote, if any.

    Raises:
        Malformed: the parameters cannot be read.
        BadAlg: it is something other than PBKDF2, or asks for more work than is sensible.
    """
    if algorithm is None or algorithm.algorithm != PBKDF2:
        raise BadAlg("a key derivation other than PBKDF2 is not supported")
    if not isinstance(algorithm.parameters, TLV):
        raise BadAlg("PBKDF2 without parameters is not supported")
    params = ber.parse(types.PBKDF2Params, algorithm.parameters, "PBKDF2-params")
    check_iterations("PBKDF2", params.iterationCount, max_iterations)
    return Derivation(params.salt, params.iterationCount, _prf(params.prf)), params.keyLength


def check_iterations(name: str, count: int, most: int, ceiling: int = MAX_ITERATIONS) -> None:
    """Refuse an iteration count that costs too much; it travels in clear, so it may be told.

    Args:
        name: of the key derivation.
        count: as the peer wrote it; of any size.
        most: the bound that was chosen.
        ceiling: the bound that no choice goes beyond.

    Raises:
        BadAlg: it is above the bound, or below 1.
    """
    most = min(most, ceiling)
    if 1 <= count <= most:
        return
    told = count if abs(count) <= _MAX_TOLD else "no sensible number of"
    raise BadAlg(
        f"{name} with {told} iterations; 1 to {most} iterations are done here",
        hint="" if most == ceiling else "to allow more, raise the pbkdf2_rounds setting",
    )


def _prf(algorithm: types.AlgorithmIdentifier | None) -> Digest:
    # RFC 8018's default is HMAC with SHA-1.
    if algorithm is None:
        return SHA1
    found = PRFS.get(algorithm.algorithm)
    if found is None:
        raise BadAlg(f"PBKDF2 with {algorithm.algorithm.dotted_string} is not supported")
    return found
