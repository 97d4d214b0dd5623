"""The rules of one SCEP endpoint, besides those about keys and names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from scepkit.errors import SettingsError
from scepkit.protocol.certificate import Certificate
from scepkit.store import SameSubject


class GetCertRule(StrEnum):
    """The right to fetch a certificate by GetCert (RFC 8894 section 2.6)."""

    OFF = "off"
    OWN = "own"
    """The holder of its key, or of a valid certificate with the same subject."""
    ALL = "all"


class KeyChange(StrEnum):
    """The rule on the key of a renewal, by what becomes of one for the same key."""

    ALLOWED = "allow"
    """For the same key or another one."""
    NEEDED = "refuse"
    """For another key alone: what has leaked unseen ends with its certificate."""
    FORBIDDEN = "require"
    """For the same key alone: one that cannot leave its chip, and was attested once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRules:
    """The right to renew, and its time (checklist P-57)."""

    window: timedelta | None = None
    """The time before the end of a certificate in which it can be renewed; None: any time."""

    grace: timedelta = timedelta()
    """The time after its end in which a certificate may still be renewed."""

    new_names: bool = False
    """True allows a renewal another subject or more names than the certificate has."""

    longest: timedelta | None = None
    """The time for which certificates can be renewed one after another, from the first one's issue
    on; None: for ever. Then a device enrols anew."""

    same_key: KeyChange = KeyChange.ALLOWED
    """Whether a renewal may, must or must not be for another key than its certificate has."""

    suggest: Fraction | None = None
    """The point of a certificate's life from which its renewal is suggested; None: two thirds, and
    not before its last 30 days."""

    spread: timedelta | None = None
    """The time over which suggestions for one moment are spread; None: a third of what is left."""

    anchors: tuple[Certificate, ...] = ()
    """CAs of others whose certificates may sign a RenewalReq (RFC 8894 section 2.3, case 3).
    Whether such a certificate was revoked is not known here."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window <= timedelta():
            raise SettingsError("a renewal window must be longer than nothing")
        if self.longest is not None and self.longest <= timedelta():
            raise SettingsError("renewals must be allowed for longer than nothing")
        if self.grace < timedelta():
            raise SettingsError("a renewal grace cannot be negative")
        if self.suggest is not None and not 0 <= self.suggest < 1:
            raise SettingsError("a renewal is suggested within a certificate's life")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRule:
    """The rule on another key for a subject that has a valid certificate."""

    treatment: SameSubject = SameSubject.ALLOWED
    """Treatment of such a request."""

    replace_after: timedelta | None = None
    """The time after which the new certificate takes the place of the others, though its key has
    not signed; None: not before that."""

    def replace_at(self, treatment: SameSubject, now: datetime) -> datetime | None:
        """Return when a certificate takes the place of others at the latest.

        Args:
            treatment: what becomes of this one.
            now: when it is issued.
        """
        if treatment is not SameSubject.REPLACED or self.replace_after is None:
            return None
        return now + self.replace_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one endpoint."""

    approval: bool = False
    """True lets a first enrolment wait for an operator (RFC 8894 section 2.2: manual). A
    challengePassword is then not needed, but a wrong one is still refused."""

    pending_lifetime: timedelta = timedelta(days=7)
    """The time that a request waits for an operator before it expires (P-48)."""

    pending_per_address: int | None = 100
    """Requests of one address that wait at once; None: no bound."""

    pending_requests: int | None = 10_000
    """Requests that wait at once, whoever sent them; None: no bound."""

    renewal: RenewalRules | None = RenewalRules()
    """The right to renew; None: nobody."""

    subject: SubjectRule = SubjectRule()
    """The rule on subjects that have a valid certificate."""

    get_cert: GetCertRule = GetCertRule.OWN
    """The right to fetch certificates."""

    get_crl: bool = True
    """True answers GetCRL."""

    retrievals_per_minute: int = 60
    """GetCert and GetCRL that are answered in a minute, over all devices (RFC 8894 section 7.8)."""

    signing_time: timedelta | None = None
    """The most that a signingTime may differ from this server's clock; None: no check."""

    separate_keys: bool = False
    """True allows a first enrolment to be signed by another key than it is for (L-17). A captured
    envelope can then be signed anew by a stranger, who gets the certificate (P-55)."""

    reply_chain: bool = False
    """True sends the CA's certificate with the issued one (P-27)."""

    cmp_revoke_by_subject: bool = False
    """True allows a valid certificate to revoke another one of the same subject by CMP."""

    revocation_passphrase: bool = False
    """True lets the challengePassword of a certificate's request revoke it, by CMP with a MAC."""

    pbkdf2_rounds: int = 10_000
    """Rounds of key derivation that the MAC of a CMP request may ask for; for the envelope of a
    SCEP request see `Responder`."""

    crl_lifetime: timedelta = timedelta(hours=24)
    """The validity of a CRL (RFC 5280 section 5.1.2.5)."""

    def __post_init__(self) -> None:
        for what, value in (("pending", self.pending_lifetime), ("CRL", self.crl_lifetime)):
            if value <= timedelta():
                raise SettingsError(f"a {what} lifetime must be longer than nothing")
        if self.signing_time is not None and self.signing_time <= timedelta():
            raise SettingsError("the allowed difference of a signingTime must be more than nothing")
