"""Certificate chains as a SCEP client has to check them (RFC 8894 section 2.2, RFC 5280 section 6).

The library's verifier is made for TLS names; SCEP needs only: does this certificate come, through
certificates that may sign others, and such names, from that anchor, now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from scepkit.errors import BadReply, BadRequest, Malformed
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.name_constraints import NameConstraints

AUTHENTICATION = frozenset(
    {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.SMARTCARD_LOGON,
        ExtendedKeyUsageOID.IPSEC_IKE,
        *(
            ObjectIdentifier(oid)
            for oid in (
                "1.3.6.1.5.5.8.2.2",  # IKE intermediate
                *(f"1.3.6.1.5.5.7.3.{n}" for n in (5, 6, 7)),  # IPsec of RFC 2459
                *(f"1.3.6.1.5.5.7.3.{n}" for n in (13, 14)),  # EAP (RFC 4334)
                *(f"1.3.6.1.5.5.7.3.{n}" for n in (18, 19)),  # CAPWAP (RFC 5415)
                *(f"1.3.6.1.5.5.7.3.{n}" for n in (21, 22)),  # SSH (RFC 6187)
                "1.3.6.1.5.2.3.4",  # PKINIT (RFC 4556)
            )
        ),
    }
)
"""The purposes of extKeyUsage by which somebody shows who they are."""

_MAX_LENGTH = 8
# How often the way is looked for anew because a CA's name constraints forbid the one that was
# found, and the comparisons of the names of one certificate: whoever holds a CA may send many.
_MOST_WAYS = 4
_MOST_COMPARISONS = 1 << 15
# What may be critical. Policies are for those who ask for some, as openssl has it.
_UNDERSTOOD = frozenset(
    map(
        der.oid,
        (
            ExtensionOID.BASIC_CONSTRAINTS,
            ExtensionOID.KEY_USAGE,
            ExtensionOID.EXTENDED_KEY_USAGE,
            ExtensionOID.NAME_CONSTRAINTS,
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
            ExtensionOID.ISSUER_ALTERNATIVE_NAME,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
            ExtensionOID.CERTIFICATE_POLICIES,
            ExtensionOID.POLICY_MAPPINGS,
            ExtensionOID.POLICY_CONSTRAINTS,
            ExtensionOID.INHIBIT_ANY_POLICY,
            ExtensionOID.CRL_DISTRIBUTION_POINTS,
            ExtensionOID.FRESHEST_CRL,
            ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
            ExtensionOID.SUBJECT_INFORMATION_ACCESS,
            ObjectIdentifier("2.16.840.1.113730.1.1"),  # Netscape's certificate type
        ),
    )
)
# And in the certificates of devices: these say how to serve one, or repeat what another one says.
_OF_DEVICES = frozenset(
    map(
        der.oid,
        (
            ExtensionOID.TLS_FEATURE,
            ExtensionOID.OCSP_NO_CHECK,
            ObjectIdentifier("1.3.6.1.4.1.311.20.2"),  # the name of a Microsoft template
            ObjectIdentifier("1.3.6.1.4.1.311.21.7"),  # the template
            ObjectIdentifier("1.3.6.1.4.1.311.21.10"),  # Microsoft's form of extKeyUsage
        ),
    )
)
# Old CAs sign so, and what is trusted at the end was compared out of band. Never MD5: for that,
# anybody can make a CA certificate out of one that was issued.
_ALLOWED = frozenset({Legacy.SHA1})


def build(
    leaf: Certificate,
    pool: Sequence[Certificate],
    anchor: Certificate,
    now: datetime,
    purposes: frozenset[ObjectIdentifier] | None = None,
) -> tuple[Certificate, ...]:
    """Find and verify the way from a certificate to the anchor.

    Each certificate on the way is signed by the next, all are valid now, and each but the first may
    sign certificates, with the names that are below it, and has no critical extension that is not
    known here.

    Args:
        leaf: where to start; the anchor itself is fine.
        pool: certificates that may lie between.
        anchor: where to end; trusted as it is, whatever its validity, signature, critical
            extensions or extKeyUsage.
        now: an aware datetime.
        purposes: what the leaf is relied on for: each CA between that says for what it certifies
            has to name one of them, and the leaf's critical extensions have to be known, too. None
            where others will rely on it.

    Returns:
        The chain, leaf first, anchor last.

    Raises:
        BadReply: there is no such way.
    """
    return _find(leaf, (anchor, *pool), now, purposes, _MOST_WAYS)


def _find(
    leaf: Certificate,
    pool: Sequence[Certificate],
    now: datetime,
    purposes: frozenset[ObjectIdentifier] | None,
    ways: int,
) -> tuple[Certificate, ...]:
    """Find a way to the first of `pool`, the anchor, on which all names are allowed.

    They are compared when the anchor has been reached: not for somebody whom no CA knows.
    """
    way = _extend((leaf,), pool, now, purposes, {leaf})
    refused = _refusal(way)
    if refused is None:
        return way
    authority, failure = refused
    if authority == pool[0] or ways == 1:
        raise failure
    # The same CA may have another certificate, with other constraints.
    others = [one for one in pool if one != authority]
    try:
        return _find(leaf, others, now, purposes, ways - 1)
    except BadReply:
        raise failure from None


def _extend(
    chain: tuple[Certificate, ...],
    pool: Sequence[Certificate],
    now: datetime,
    purposes: frozenset[ObjectIdentifier] | None,
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
    if len(chain) > 1 or last.is_ca or purposes is not None:
        _check_critical(last, is_issuer=len(chain) > 1)
    if len(chain) > 1 and purposes is not None:
        _check_purposes(last, purposes)
    failure = BadReply(
        f"{_name(last)} was not issued by the CA that is trusted",
        hint="compare the CA's fingerprint with the one its operator gives",
    )
    for issuer in pool:
        if issuer not in tried and may_sign(issuer, len(chain) - 1) and issued(issuer, last):
            tried.add(issuer)
            try:
                return _extend((*chain, issuer), pool, now, purposes, tried)
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


def _check_critical(certificate: Certificate, *, is_issuer: bool) -> None:
    """Refuse a critical extension that is not known here (RFC 5280 section 4.2)."""
    known = _UNDERSTOOD if is_issuer else _UNDERSTOOD | _OF_DEVICES
    try:
        unknown = [e for e in certificate.extensions if e.critical and e.identifier not in known]
    except Malformed as error:
        raise BadReply(f"{_name(certificate)}: {error.message}") from error
    if unknown:
        oid = unknown[0].oid
        raise BadReply(
            f"{_name(certificate)} has a critical extension that is not known here"
            f"{'' if oid is None else f': {oid.dotted_string}'}"
        )


def _check_purposes(certificate: Certificate, wanted: frozenset[ObjectIdentifier]) -> None:
    """Refuse a CA that certifies for other purposes alone (RFC 5280 section 4.2.1.12)."""
    try:
        found = certificate.extensions.extended_key_usage
    except Malformed as error:
        raise BadReply(f"{_name(certificate)}: {error.message}") from error
    if found is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found:
        return
    if wanted.isdisjoint(found):
        raise BadReply(f"by its extKeyUsage {_name(certificate)} certifies for other purposes")


def _refusal(way: Sequence[Certificate]) -> tuple[Certificate, BadReply] | None:
    """Return the lowest CA that does not allow all names below it, and why; None for none."""
    for place, authority in enumerate(way[1:], 1):
        try:
            _check_names(authority, way[:place])
        except BadReply as error:
            return authority, error
    return None


def _check_names(authority: Certificate, below: Sequence[Certificate]) -> None:
    """Hold the names below a CA to its constraints (RFC 5280 sections 4.2.1.10 and 6.1.3)."""
    try:
        constraints = NameConstraints.of(authority)
    except Malformed as error:
        raise BadReply(f"the name constraints of {_name(authority)}: {error.message}") from error
    if constraints is None:
        return
    for one in below:
        is_issuer = one != below[0]
        # A CA's certificate for itself counts only where it is the last.
        if is_issuer and one.subject_name.matches(one.issuer_name):
            continue
        try:
            constraints.check(
                one.subject_name,
                one.alternative_names,
                is_issuer=is_issuer,
                most=_MOST_COMPARISONS,
            )
        except (BadRequest, Malformed) as error:
            raise BadReply(f"{_name(one)} is not allowed: {error.message}") from error


def _name(certificate: Certificate) -> str:
    return str(certificate.subject_name) or "a certificate without a subject"
