"""MGF1, the mask generation of RSAES-OAEP and RSASSA-PSS (RFC 4055 section 2.1)."""

from __future__ import annotations

from cryptography.hazmat.asn1 import TLV

from scepkit.errors import BadAlg
from scepkit.protocol.algorithms import MGF1
from scepkit.protocol.asn1 import ber, types


def read(mask: types.AlgorithmIdentifier | None) -> types.AlgorithmIdentifier | None:
    """Return which digest a maskGenAlgorithm uses; None for the default.

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
