"""The parts of a request that a certificate lacks, and the rules of the profile that left them out.

A request that breaks a rule is refused; what a profile has no place for is left out.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from scepkit.ca import identity
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol import comparison, csr
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.extensions import purpose_name
from scepkit.protocol.scep.notice import Notice

_KEYS = {
    comparison.NAMES: "names.kinds",
    comparison.PURPOSES: "allowed_eku",
    comparison.KEY_USAGE: "key_usages",
    comparison.EXTENSION: "copied_extensions",
}
_ATTRIBUTES = {comparison.PURPOSES: "extKeyUsage", comparison.KEY_USAGE: "keyUsage"}
_LOG_INS = frozenset(map(purpose_name, identity.PURPOSES))


def is_nothing(request: CertificationRequest, granted: Collection[bytes]) -> bool:
    """Say whether every requested extension was granted octet for octet, as for most requests.

    Args:
        request: the request.
        granted: extensions of its certificate, DER.

    Raises:
        BadRequest: its extensions cannot be read.
    """
    asked = request.extensions.all
    return not asked or all(one.der in granted for one in asked)


def cut(request: CertificationRequest, certificate: Certificate) -> tuple[str, ...]:
    """Return the requested values that a certificate lacks, each with the profile's key for it."""
    try:
        asked = request.extensions.subject_alternative_names
    except (BadRequest, Malformed):
        return ()
    logging_in = _LOG_INS.union(str(one) for one in asked if identity.is_name(one))
    return comparison.cut(request, certificate, partial(_key, logging_in))


def notices(request: CertificationRequest, certificate: Certificate) -> tuple[Notice, ...]:
    """Return the rules that left values out, with the attributes that these were of."""
    try:
        asked = request.extensions.subject_alternative_names
    except (BadRequest, Malformed):
        return ()
    logging_in = _LOG_INS.union(str(one) for one in asked if identity.is_name(one))
    return tuple(
        Notice(_key(logging_in, what, value), _attribute(what, value))
        for what, value in comparison.missing(request, certificate)
    )


def cut_from(archived: bytes, certificate: bytes | None) -> tuple[str, ...]:
    """Return the same for a PKCS#10 as it was archived; nothing where there is no certificate."""
    if certificate is None:
        return ()
    return cut(csr.read_archived(archived), Certificate.read(certificate))


def _attribute(what: str, value: str) -> str:
    """Return the attribute that a value is of, and nothing of the value."""
    if what == comparison.NAMES:
        return value.partition(":")[0]
    return value if what == comparison.EXTENSION else _ATTRIBUTES[what]


def _key(logging_in: frozenset[str], what: str, value: str) -> str:
    return "identity" if value in logging_in else _KEYS[what]
