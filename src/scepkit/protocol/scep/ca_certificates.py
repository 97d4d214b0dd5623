"""The answer to GetCACert, and the client's trust in it (RFC 8894 sections 2.2 and 4.2).

A CA answers with its certificate alone, or with a certs-only message of certificates in no
particular order: CAs up to the root, and the RA's one or two.
Nothing in it is trusted until one of the CA certificates has been compared with what the
operator gave out of band; everything else has to chain to that one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.errors import BadReply, Hint, Malformed, UntrustedCA
from scepkit.protocol import certificate, chain
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed

# What an RA's certificate may be for, if it says so: NDES's and OpenXPKI's Certificate Request
# Agent, RFC 6402's id-kp-cmcRA, or anything.
_RA_PURPOSES = frozenset(
    {
        ObjectIdentifier("1.3.6.1.4.1.311.20.2.1"),
        ObjectIdentifier("1.3.6.1.5.5.7.3.28"),
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
)
# What the CA above it may certify for, if it says so; emailProtection is what openssl asks of CMS.
_ABOVE_AN_RA = chain.AUTHENTICATION | _RA_PURPOSES | {ExtendedKeyUsageOID.EMAIL_PROTECTION}

_CA, _RA = "CA", "RA"


@dataclass(frozen=True, slots=True)
class TrustedCA:
    """The certificates of a CA that is trusted, by what they are for.

    Attributes:
        anchor: the CA certificate that was compared out of band.
        issuer: the CA that is expected to issue.
        authorities: every CA certificate that chains to the anchor, the anchor among them.
        recipient: whom requests are encrypted to.
        signers: who may sign replies.
        former: the CA that this one replaced, and those above it, the trusted one last: it may have
            answered a request of before. Empty for none.
        lapsed: the RAs' certificates, where all of them ended before the client's clock: nothing is
            encrypted to them, and nothing that they sign is believed.
    """

    anchor: Certificate
    issuer: Certificate
    authorities: tuple[Certificate, ...]
    recipient: Certificate
    signers: tuple[Certificate, ...]
    former: tuple[Certificate, ...] = ()
    lapsed: tuple[Certificate, ...] = ()

    @property
    def anchors(self) -> tuple[Certificate, ...]:
        """Return the certificates that an issued one may lead to."""
        return (self.anchor, *self.former[-1:])


def parse(body: bytes) -> tuple[Certificate, ...]:
    """Read the body of a GetCACert answer by what it is, not by its media type (P-30).

    A certificate that cannot be read is left out: others may be all that is needed.

    Args:
        body: one certificate or a certs-only CMS message, as DER, PEM or bare base64; PEM may hold
            several.

    Returns:
        The certificates, in the order in which they came; at least one.

    Raises:
        Malformed: it is none of these, or no certificate in it can be read.
    """
    blocks = textual.blocks(body, signed.MAX_CERTIFICATES)
    certificates = [der for block in blocks for der in _certificates(block)]
    if not 1 <= len(certificates) <= signed.MAX_CERTIFICATES:
        raise Malformed(f"the CA sent a message with {len(certificates)} certificates")
    found = tuple(certificate.dated(certificates))
    if not found:
        # For the reason.
        _ = Certificate.read(certificates[0]).validity
    return found


def _certificates(block: bytes) -> Sequence[bytes]:
    try:
        signed.CONTENT_INFO.fields(block)
    except Malformed:
        return (block,)
    return signed.read_signed_data(block).certificates


def top(certificates: Sequence[Certificate]) -> Certificate:
    """Return the top-level CA certificate: the one to compare out of band (RFC 8894 2.2).

    Raises:
        UntrustedCA: there is no CA certificate among them.
    """
    authorities = [c for c in certificates if c.is_ca]
    for candidate in authorities:
        if not any(chain.issued(other, candidate) for other in authorities if other != candidate):
            return candidate
    raise UntrustedCA(
        "the server sent no CA certificate that could be compared",
        hint="ask the CA's operator what GetCACert should return",
    )


def trust(certificates: Sequence[Certificate], anchor: Certificate, now: datetime) -> TrustedCA:
    """Sort certificates by role, keeping only what chains to the anchor.

    GetCACert is not protected, so anybody on the way can add a certificate to it; a device's own
    chains to the anchor as well as the RA's does. A certificate that says what it is for, and not
    that it is an RA's, is therefore left out.

    Choice of the recipient: an RA certificate with keyEncipherment, else one with dataEncipherment,
    else the issuing CA; of signers: RA certificates with digitalSignature, and the CAs (P-29).
    Of several that would do the newest is chosen, since its key is there for longest, wherever it
    stands in the list.

    Args:
        certificates: what GetCACert returned.
        anchor: the CA certificate that is trusted; one among them, or above them.
        now: an aware datetime; where the anchor, or whoever is needed beside it, is not valid yet
            by that, it is not relied on.

    Raises:
        UntrustedCA: none of the certificates chains to the anchor.
    """
    good = _good_at(_plausible(now, anchor, certificates), anchor, certificates)
    if not good:
        raise UntrustedCA(
            "none of the CA's certificates comes from the CA that is trusted",
            hint=Hint.REPLACED_CA,
        )
    # Some servers leave the root out.
    authorities = tuple(c for c in dict.fromkeys([*good, anchor]) if c.is_ca)
    registration = _newest_first(c for c in good if not c.is_ca and _may_be_ra(c))
    issuer = _issuing(authorities, registration, anchor)
    recipient = (
        _with_usage(registration, "key_encipherment")
        or _with_usage(registration, "data_encipherment")
        or issuer
    )
    signers = [c for c in registration if _has_usage(c, "digital_signature")]
    return TrustedCA(
        anchor=anchor,
        issuer=issuer,
        authorities=authorities,
        recipient=recipient,
        signers=(*signers, *authorities),
        lapsed=() if registration else tuple(_lapsed(now, anchor, certificates)),
    )


def find(certificates: Sequence[Certificate], fingerprint: str) -> Certificate:
    """Return the CA certificate with a fingerprint (RFC 8894 section 2.2).

    Args:
        certificates: what GetCACert returned.
        fingerprint: SHA-256 over the whole certificate: 64 hex digits, with or without `sha256:`,
            colons and spaces.

    Raises:
        UntrustedCA: no CA certificate has it, or it is no SHA-256 fingerprint.
    """
    digits = read_fingerprint(fingerprint)
    expected = f"sha256:{digits}"
    for one in certificates:
        if one.is_ca and hmac.compare_digest(certificate.fingerprint(one.der), expected):
            return one
    found = certificate.fingerprint(top(certificates).der)
    raise UntrustedCA(
        f"the CA's certificate is not the expected one: it has {found}",
        hint="somebody may be in between; ask the CA's operator for the right fingerprint",
    )


def read_fingerprint(text: str) -> str:
    """Return the 64 lower-case hex digits of a SHA-256 fingerprint as people write them.

    Raises:
        UntrustedCA: it is no SHA-256 fingerprint; SHA-1 and MD5 ones are not relied on (L-15).
    """
    digits = re.sub(r"[:\s]", "", re.sub(r"^\s*sha-?256[:=\s]", "", text.lower()))
    if re.fullmatch(r"[0-9a-f]{64}", digits):
        return digits
    raise UntrustedCA(
        f"{text!r} is not a SHA-256 fingerprint",
        hint=Hint.FINGERPRINT,
    )


def _plausible(now: datetime, anchor: Certificate, certificates: Sequence[Certificate]) -> datetime:
    """Return the time at which the CA's certificates have to be valid.

    Where the CA that is trusted is not valid yet by the client's clock, or its RA or the CA below
    it, the clock is wrong, as that of a device without a battery is: it may say the day on which
    the device was built. Then it says nothing of when the other certificates begin either, so they
    are judged by the time at which there is an RA, and most of them are valid. What is over by the
    clock stays so.
    """
    pool = [one for one in certificates if one.is_ca]
    later = {
        one.not_before
        for one in certificates
        if one.not_before > now and _chains(one, pool, anchor, one.not_before)
    }
    if not later:
        return now
    good = {at: _good_at(at, anchor, certificates) for at in (now, *later)}
    kinds = {at: _kinds(found, anchor) for at, found in good.items()}
    best = max(later, key=lambda at: (_RA in kinds[at], len(good[at]), at))
    is_behind = now < anchor.not_before or kinds[best] > kinds[now]
    return best if is_behind else now


def _good_at(
    at: datetime, anchor: Certificate, certificates: Sequence[Certificate]
) -> list[Certificate]:
    """Return the certificates that chain to the anchor at a time."""
    pool = [one for one in certificates if one.is_ca]
    return [one for one in certificates if one == anchor or _chains(one, pool, anchor, at)]


def _lapsed(
    now: datetime, anchor: Certificate, certificates: Sequence[Certificate]
) -> Iterator[Certificate]:
    """Yield the RAs' certificates that chained to the anchor until they ended."""
    pool = [one for one in certificates if one.is_ca]
    for one in certificates:
        is_over = not one.is_ca and one.not_after < now
        if is_over and _may_be_ra(one) and _chains(one, pool, anchor, one.not_after):
            yield one


def _kinds(good: Iterable[Certificate], anchor: Certificate) -> set[str]:
    """Say whether there are RAs beside the anchor, and whether there are CAs below it."""
    others = [one for one in good if one != anchor]
    below = {_CA for one in others if one.is_ca}
    return below | {_RA for one in others if not one.is_ca and _may_be_ra(one)}


def _chains(
    one: Certificate, pool: Sequence[Certificate], anchor: Certificate, now: datetime
) -> bool:
    try:
        chain.build(one, pool, anchor, now, None if one.is_ca else _ABOVE_AN_RA)
    except BadReply:
        return False
    return True


def _issuing(
    authorities: Sequence[Certificate],
    registration: Sequence[Certificate],
    anchor: Certificate,
) -> Certificate:
    """Return the CA that will issue: the newest RA's own issuer, else the lowest CA."""
    newest = _newest_first(authorities)
    for one in registration:
        for authority in newest:
            if chain.issued(authority, one):
                return authority
    lowest = [a for a in newest if not any(chain.issued(a, b) for b in authorities if b != a)]
    return lowest[0] if lowest else anchor


def _newest_first(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return certificates by when they begin, then by when they end, then by their octets."""

    def age(one: Certificate) -> tuple[datetime, datetime, bytes]:
        return *one.validity, one.der

    return sorted(certificates, key=age, reverse=True)


def _with_usage(certificates: Sequence[Certificate], usage: str) -> Certificate | None:
    return next((c for c in certificates if _has_usage(c, usage)), None)


def _may_be_ra(one: Certificate) -> bool:
    """Say whether extendedKeyUsage leaves room for an RA; devices' certificates say clientAuth."""
    try:
        purposes = one.extensions.extended_key_usage
    except Malformed:
        return False
    return purposes is None or not _RA_PURPOSES.isdisjoint(purposes)


def _has_usage(one: Certificate, usage: str) -> bool:
    """Say whether keyUsage has a bit; without keyUsage every use is allowed (RFC 5280 4.2.1.3)."""
    try:
        key_usage = one.extensions.key_usage
    except Malformed:
        return False
    return key_usage is None or usage in key_usage
