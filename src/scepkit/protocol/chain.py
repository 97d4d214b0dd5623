"""Certificate chains as a SCEP client has to check them (RFC 8894 section 2.2, RFC 5280 section 6).

The library's verifier is made for TLS names; SCEP needs only: does this certificate come, through
certificates that may sign others, from that anchor, now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from scepkit.errors import BadReply, Malformed
from scepkit.protocol import _x509

_MAX_LENGTH = 8


def build(
    leaf: x509.Certificate,
    pool: Sequence[x509.Certificate],
    anchor: x509.Certificate,
    now: datetime,
) -> tuple[x509.Certificate, ...]:
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
    chain: tuple[x509.Certificate, ...],
    pool: Sequence[x509.Certificate],
    now: datetime,
    tried: set[x509.Certificate],
) -> tuple[x509.Certificate, ...]:
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


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Say whether `issuer`'s key signed `certificate` and the names agree."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_x509.UNUSABLE, InvalidSignature):
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is a CA's (RFC 5280 section 4.2.1.9)."""
    try:
        basic = _x509.extension(certificate, x509.BasicConstraints)
    except Malformed:
        return False
    if basic is None:
        # Version 1 roots have no extensions at all.
        return certificate.version is x509.Version.v1 and certificate.issuer == certificate.subject
    return basic.ca


def may_sign(certificate: x509.Certificate, below: int) -> bool:
    """Say whether a certificate may sign certificates with `below` CAs under it (RFC 5280 4.2.1).

    Args:
        certificate: the would-be issuer.
        below: how many CA certificates lie between it and the leaf.
    """
    if not is_ca(certificate):
        return False
    usage = _x509.extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    basic = _x509.extension(certificate, x509.BasicConstraints)
    return basic is None or basic.path_length is None or basic.path_length >= below


def _check_validity(certificate: x509.Certificate, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise BadReply(
            f"{_name(certificate)} is not valid before {certificate.not_valid_before_utc}",
            hint="check this machine's clock",
        )
    if now > certificate.not_valid_after_utc:
        raise BadReply(
            f"{_name(certificate)} expired at {certificate.not_valid_after_utc}",
            hint="check this machine's clock, and tell the CA's operator",
        )


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"
