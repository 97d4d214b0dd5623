"""Certificate chains as a SCEP client has to check them (RFC 8894 section 2.2, RFC 5280 section 6).

The library's verifier is made for TLS names; SCEP needs only: does this certificate come, through
certificates that may sign others, from that anchor, now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from scepkit.errors import BadReply, Malformed
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.certificate import Certificate

_MAX_LENGTH = 8
# Old CAs sign so, and what is trusted at the end was compared out of band. Never MD5: for that,
# anybody can make a CA certificate out of one that was issued.
_ALLOWED = frozenset({Legacy.SHA1})


def build(
    leaf: Certificate,
    pool: Sequence[Certificate],
    anchor: Certificate,
    now: datetime,
) -> tuple[Certificate, ...]:
    """Find and verify the way from a certificate to the anchor.

    Each certificate on the way is signed by the next, all are valid now, and each but the first may
    sign certificates.

    Args:
        leaf: where to start; the anchor itself is fine.
        pool: certificates that may lie between.
        anchor: where to end; trusted as it is, whatever its validity or signature.
        now: an aware datetime.

    Returns:
        The chain, leaf first, anchor last.

    Raises:
        BadReply: there is no such way.
    """
    return _extend((leaf,), (anchor, *pool), now, {leaf})


def _extend(
    chain: tuple[Certificate, ...],
    pool: Sequence[Certificate],
    now: datetime,
    tried: set[Certificate],
) -> tuple[Certificate, ...]:
    """Go on from the last of `chain` to the first of `pool`, the anchor.

    A CA's old and new certificate may have one name and one key, so a way that ends nowhere is not
    the end; no certificate is tried twice.
    """
    last, anchor = chain[-1], pool[0]
    if last == anchor:
        return chain
    if len(chain) > _MAX_LENGTH:
        raise BadReply(f"the chain of {_name(chain[0])} is longer than {_MAX_LENGTH}")
    _check_validity(last, now)
    failure = BadReply(
        f"{_name(last)} was not issued by the CA that is trusted",
        hint="compare the CA's fingerprint with the one its operator gives",
    )
    for issuer in pool:
        if issuer not in tried and may_sign(issuer, len(chain) - 1) and issued(issuer, last):
            tried.add(issuer)
            try:
                return _extend((*chain, issuer), pool, now, tried)
            except BadReply as error:
                failure = error
    raise failure


def issued(issuer: Certificate, certificate: Certificate) -> bool:
    """Say whether `issuer`'s key signed `certificate` and the names agree."""
    return issuer.subject_name.matches(certificate.issuer_name) and certificate.is_signed_with(
        issuer.spki, _ALLOWED
    )


def may_sign(certificate: Certificate, below: int) -> bool:
    """Say whether a certificate may sign certificates with `below` CAs under it (RFC 5280 4.2.1).

    Args:
        certificate: the would-be issuer.
        below: how many CA certificates lie between it and the leaf.
    """
    if not certificate.is_ca:
        return False
    extensions = certificate.extensions
    try:
        usage, (_, longest) = extensions.key_usage, extensions.basic_constraints or (True, None)
    except Malformed:
        return False
    if usage is not None and "key_cert_sign" not in usage:
        return False
    return longest is None or longest >= below


def _check_validity(certificate: Certificate, now: datetime) -> None:
    try:
        start, end = certificate.validity
    except Malformed as error:
        raise BadReply(f"{_name(certificate)}: {error.message}") from error
    if now < start:
        raise BadReply(
            f"{_name(certificate)} is not valid before {start}",
            hint="check this machine's clock",
        )
    if now > end:
        raise BadReply(
            f"{_name(certificate)} expired at {end}",
            hint="check this machine's clock, and tell the CA's operator",
        )


def _name(certificate: Certificate) -> str:
    return str(certificate.subject_name) or "a certificate without a subject"
