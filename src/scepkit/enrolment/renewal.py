"""Renewal: the certificate that a device has entitles it to its next one (RFC 8894 section 2.3).

Nothing that a certificate says of itself is believed: its signature is verified to a CA of this
endpoint, and it has to be, byte for byte, one that was stored when it was issued (checklist P-57).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.ca.subject_rules import email_addresses
from scepkit.enrolment.issuers import stored_certificate
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import BadAlg, BadReply, BadRequest, Malformed
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.scep.pkimessage import VerifiedMessage
from scepkit.store import Store


@dataclass(frozen=True, slots=True)
class Renewed:
    """A certificate that the holder of its key may renew.

    Attributes:
        certificate: the certificate.
        serial: under which it is stored; None for another CA's.
    """

    certificate: Certificate
    serial: int | None

    @property
    def subject(self) -> Name:
        """The subject of the certificate."""
        return self.certificate.subject_name

    @property
    def asserts_key_agreement(self) -> bool:
        """Say whether it is a stored certificate of ours whose keyUsage has keyAgreement."""
        return self.serial is not None and self.certificate.asserts_key_agreement

    @property
    def names(self) -> tuple[GeneralName, ...]:
        """Its subject alternative names; where they cannot be read, it has none to renew."""
        try:
            return self.certificate.alternative_names
        except Malformed:
            return ()


class Revoked(BadRequest):
    """The signer's certificate is revoked: it entitles to nothing."""


class TooEarly(BadRequest):
    """The signer's certificate is not near its end yet."""


def stored(verified: VerifiedMessage, authority: Authority, store: Store, endpoint: str) -> Renewed:
    """Find the certificate that signed a request among those that this endpoint issued.

    Args:
        verified: a request that is signed with a certificate of that CA.
        authority: the CA.
        store: where issued certificates are.
        endpoint: whose certificates may be renewed.

    Raises:
        Revoked: it was revoked.
        BadRequest: it was not issued by this endpoint.
        StoreError: the database cannot answer.
    """
    signer = verified.certificate
    row = stored_certificate(signer, authority, store)
    if row is None:
        raise BadRequest(
            "the certificate that signed is not one that this CA has stored",
            hint="was the database restored from an old backup?",
        )
    if row.endpoint != endpoint:
        raise BadRequest(
            f"the certificate that signed was issued by the endpoint {row.endpoint}",
            text="the certificate that signed was issued elsewhere",
        )
    if row.revoked_at is not None:
        raise revoked()
    return Renewed(signer, row.serial)


def foreign(
    verified: VerifiedMessage,
    embedded: Sequence[bytes],
    anchors: Sequence[Certificate],
    store: Store,
    now: datetime,
) -> Renewed:
    """Accept a certificate of another CA that the operator named (RFC 8894 section 2.3, case 3).

    Whether that CA has revoked it is not known here, unless this server holds that CA as well.

    Args:
        verified: a RenewalReq.
        embedded: the certificates that came with it, DER: its chain may be among them.
        anchors: the CAs that the operator named.
        store: where the certificates are that this server issued.
        now: an aware datetime.

    Raises:
        Revoked: it was revoked here.
        BadRequest: it chains to none of them.
        StoreError: the database cannot answer.
    """
    pool = list(dated(embedded))
    for anchor in anchors:
        try:
            way = chain.build(verified.certificate, pool, anchor, now)
        except BadReply:
            continue
        issuer = way[min(1, len(way) - 1)]
        row = store.find_certificate(issuer.key_hash, verified.certificate.serial)
        if row is not None and row.revoked_at is not None:
            raise revoked()
        return Renewed(verified.certificate, None)
    raise unknown()


def check(
    renewed: Renewed,
    verified: VerifiedMessage,
    request: CertificationRequest,
    rules: RenewalRules,
    now: datetime,
) -> None:
    """Hold a renewal to the rules: how it is signed, when, and for which names.

    Args:
        renewed: what is renewed.
        verified: the request.
        request: what is asked for.
        rules: the endpoint's.
        now: an aware datetime.

    Raises:
        BadAlg: it is signed over a digest that collides.
        TooEarly: it is.
        BadRequest: it is too late, or asks for other names.
    """
    check_signature(renewed, verified, rules, now)
    if rules.new_names:
        return
    if not renewed.subject.matches(request.subject):
        raise other_subject(f"a renewal of {renewed.subject} asks for {request.subject}")
    # What is in the subject will be an alternative name anyway.
    known = frozenset(map(str, (*renewed.names, *email_addresses(renewed.subject))))
    for name in map(str, request.extensions.subject_alternative_names()):
        if name not in known:
            raise BadRequest(
                f"the certificate that signed does not have the name {name}",
                text="the certificate that signed does not have all of these names",
            )


def check_signature(
    renewed: Renewed, verified: VerifiedMessage, rules: RenewalRules, now: datetime
) -> None:
    """Check a renewal by the rules that do not depend on its contents; raises as `check`."""
    _check_digest(verified)
    _check_time(renewed.certificate, rules, now)


def revoked() -> Revoked:
    """Return the refusal for a certificate that was revoked, before or in the meantime."""
    return Revoked("the certificate that signed was revoked")


def other_subject(reason: str) -> BadRequest:
    """Return the refusal for a renewal under another subject.

    Args:
        reason: for the log only.
    """
    return BadRequest(
        reason, text="a renewal has to be for the subject of the certificate that signed it"
    )


def unknown() -> BadRequest:
    """Return the refusal for a RenewalReq that no CA stands behind (S-2.4-6)."""
    return BadRequest(
        "a RenewalReq has to be signed with a certificate of this CA",
        hint="a device without one enrols with a PKCSReq",
    )


def _check_digest(verified: VerifiedMessage) -> None:
    """Refuse SHA-1 and MD5, whatever is allowed otherwise: this signature alone authorises.

    RFC 8894 section 7.9 tolerates SHA-1 only where something else authorises too.
    """
    if verified.digest.legacy is not None:
        raise BadAlg(f"a renewal cannot be signed over {verified.digest.name}")


def _check_time(certificate: Certificate, rules: RenewalRules, now: datetime) -> None:
    start, end = certificate.validity
    if now < start:
        raise BadRequest(f"the certificate that signed is not valid before {start}")
    if now > end + rules.grace:
        raise BadRequest(
            f"the certificate that signed expired at {end}",
            hint="enrol anew with a challenge, or set renewal_grace_days",
        )
    if rules.window is not None and now < end - rules.window:
        raise TooEarly(f"too early: this certificate can be renewed from {end - rules.window} on")
