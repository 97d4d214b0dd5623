"""The decision on a pkiMessage: what could be read of it, its outcome, and its CertRep."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from scepkit.enrolment.request import Granted, Queued, Refused, Repeated
from scepkit.enrolment.request import Outcome as EnrolmentOutcome
from scepkit.enrolment.third_parties import Awaited
from scepkit.errors import FailInfo, FailInfoError, Malformed
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import MessageType, PKIStatus
from scepkit.protocol.scep.messages import CertRep, Failure, Pending, Success
from scepkit.protocol.scep.pkimessage import PKIMessage, VerifiedMessage
from scepkit.protocol.value import value
from scepkit.store import Challenge, Issuance, QueuedEntry, Refusal, Status, StoredOutcome

_NAMES = {one: one.name for one in MessageType}
_STATUSES = {one: one.name for one in PKIStatus}
# Characters of a subject: more than any that is issued in earnest.
_LOGGED = 500
# Characters of the reason of a refusal that are kept.
_LONGEST_REASON = 2000
# Beyond all serial numbers: they have at most 20 octets.
_SERIALS = 1 << 160
# Octets of a subject: a longer one is not decoded, and so many of it are shown.
_DECODED, _SHOWN = 8192, 64


@dataclass(slots=True)
class ReadMessage:
    """A pkiMessage as far as it could be read, for its CertRep and for the log.

    It is filled in while the message is read: wherever that ends, what was read so far is there.

    Attributes:
        received: the message.
        verified: the same, if its signature held.
        csr: the PKCS#10 in it; its subject is not decoded yet.
        serial: the serial number that a GetCert or GetCRL names.
        stored: the subject of the certificate with that number, where there is one.
        password: what a reply is encrypted with when the device's key cannot decrypt. Secret.
        key_agreement: whether the device's EC key is known to do key agreement.
        legacy: what the message uses that had to be allowed.
    """

    received: PKIMessage
    verified: VerifiedMessage | None = None
    csr: CertificationRequest | None = None
    serial: int | None = None
    stored: str = ""
    password: str | None = field(default=None, repr=False)
    key_agreement: bool = False
    legacy: tuple[Legacy, ...] = ()

    @property
    def key_hash(self) -> bytes:
        """Return the hash of the key in the PKCS#10, else of the one that signed; empty for none.

        It is SHA-256 of the canonical SubjectPublicKeyInfo, 32 octets.
        """
        with suppress(FailInfoError, Malformed):
            if self.csr is not None:
                return self.csr.key_hash
            if self.verified is not None:
                return self.verified.certificate.key_hash
        return b""

    def add_legacy(self, uses: tuple[Legacy, ...]) -> None:
        """Add more that had to be allowed; a message and what is inside are often signed alike."""
        self.legacy = tuple(dict.fromkeys(self.legacy + uses))


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A GetCert or GetCRL was granted; nothing has to be stored.

    Attributes:
        answer: what was asked for.
    """

    answer: Success


Outcome: TypeAlias = EnrolmentOutcome | Retrieved


@value()
class Decision:
    """A decision on a pkiMessage; its reply may go out once `record`, if any, is stored.

    Attributes:
        message: the message.
        outcome: what was decided.
        answer: that as a SCEP message.
        reply: the same as a CertRep, DER.
    """

    message: ReadMessage
    outcome: Outcome
    answer: CertRep
    reply: bytes

    @property
    def record(self) -> Issuance | QueuedEntry | None:
        """Return the record to store before the reply may go out."""
        return self.outcome.record if isinstance(self.outcome, Granted | Queued) else None

    @property
    def notice(self) -> str:
        """Return which rules have cut something of what is granted; the same in every attempt."""
        if not isinstance(self.answer, Success):
            return ""
        match self.outcome:
            case Granted(record=record):
                return record.notice
            case Repeated(standing=standing):
                return standing.notice
        return ""

    def facts(self) -> dict[str, Any]:
        """Say what the log needs so that an operator can act on it.

        To be asked for when the reply is out: how long a name takes to decode tells something of
        what is in it, and the sender may be anybody who signed a captured envelope anew.
        """
        answer, outcome, message = self.answer, self.outcome, self.message
        verified, serial = message.verified, self.serial
        facts: dict[str, Any] = {
            "message_type": "unverified" if verified is None else _NAMES[verified.message_type],
            "transaction_id": str(message.received.attributes.transaction_id),
            "subject": self.subject,
            "outcome": _STATUSES[answer.pki_status],
        }
        if serial is not None:
            facts["serial"] = show_serial(serial)
        if not isinstance(outcome, Retrieved):
            if outcome.renews is not None:
                facts["renews"] = show_serial(outcome.renews)
            if outcome.challenge is not None:
                facts["challenge_id"] = outcome.challenge.id
                if outcome.challenge.label:
                    facts["challenge_label"] = outcome.challenge.label
        if isinstance(answer, Failure) and answer.fail_info is not None:
            facts |= {"fail_info": answer.fail_info.name, "reason": self.reason or answer.text}
            facts |= self._broken
        if isinstance(outcome, Granted) and (cut := outcome.cut):
            facts["cut"] = list(cut)
        if self.repeated:
            facts["repeated"] = True
        if message.legacy:
            facts["legacy"] = [legacy.value for legacy in message.legacy]
        return facts

    @property
    def _broken(self) -> dict[str, str]:
        """Return the rule that a refused request broke, and the attribute that did, where known."""
        if not isinstance(self.outcome, Refused):
            return {}
        error = self.outcome.error
        known = {"rule": error.rule, "attribute": error.attribute}
        return {name: _line(value) for name, value in known.items() if value}

    def refusal(
        self, facts: Mapping[str, Any], *, endpoint: str, peer: str, at: datetime
    ) -> Refusal | None:
        """Return the refusal as it is kept for the operator; None where nothing is refused.

        It has nothing that the log does not have, and no more of it than fits a line.

        Args:
            facts: what `facts` returned.
            endpoint: the endpoint's name.
            peer: the sender's address, as the log has it.
            at: the time, aware.
        """
        outcome, message = self.outcome, self.message
        if not isinstance(outcome, Refused):
            return None
        error = outcome.error
        return Refusal(
            endpoint=endpoint,
            is_entitled=outcome.is_entitled,
            transaction_id=facts["transaction_id"],
            message_type=facts["message_type"],
            at=at,
            fail_info=error.fail_info,
            reason=_line(self.reason, _LONGEST_REASON),
            rule=_line(error.rule),
            attribute=_line(error.attribute),
            length=error.length,
            subject=_line(facts["subject"]),
            key=message.key_hash,
            serial=outcome.renews if message.serial is None else message.serial,
            challenge=None if outcome.challenge is None else outcome.challenge.id,
            peer=_line(peer),
        )

    @property
    def subject(self) -> str:
        """Return the subject of the request, for the log, no longer than a line that people read.

        To be asked for when the reply is out, as `facts` are.
        """
        csr = self.message.csr
        requested = None if csr is None else csr.subject
        if requested is None or requested.is_empty:
            if isinstance(self.outcome, Repeated):
                return self.outcome.standing.subject
            return self.message.stored
        if len(requested.der) > _DECODED:
            # It is asked for where nothing may take long.
            return f"#{requested.der[:_SHOWN].hex()}… ({len(requested.der)} octets)"
        text = str(requested)
        return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}…"

    @property
    def reason(self) -> str:
        """Return the reason of a refusal, for the log."""
        if not isinstance(self.outcome, Refused):
            return ""
        error = self.outcome.error
        return f"{error.message} ({error.hint})" if error.hint else error.message

    @property
    def serial(self) -> int | None:
        """Return the serial number of the certificate that is the answer, or that is asked for."""
        match self.outcome:
            case Granted(record=record):
                return record.serial
            case Repeated(standing=standing):
                return standing.serial
        return self.message.serial

    @property
    def challenge(self) -> Challenge | None:
        """Return the one-time challenge that entitles it."""
        return None if isinstance(self.outcome, Retrieved) else self.outcome.challenge

    @property
    def legacy(self) -> tuple[Legacy, ...]:
        """Return the legacy algorithms that the message uses, each allowed by name."""
        return self.message.legacy

    @property
    def repeated(self) -> bool:
        """Say whether the answer was given before."""
        return isinstance(self.outcome, Repeated) and not self.outcome.is_first


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pkiMessage that is answered when a third party has spoken.

    Attributes:
        message: the message.
        outcome: whose word it waits for, and how to go on.
    """

    message: ReadMessage
    outcome: Awaited


Step: TypeAlias = Decision | Waiting


def cert_rep(outcome: Outcome) -> CertRep:
    """Return an outcome as a SCEP message."""
    match outcome:
        case Granted(record=record):
            # The issued certificate, and never in clear beside the envelope (P-17, P-27).
            return Success((record.certificate,))
        case Queued():
            return Pending()
        case Repeated(standing=standing):
            return _answered_before(standing)
        case Refused(error=error):
            return pkimessage.failure(error)
        case Retrieved(answer=answer):
            return answer


def _answered_before(standing: StoredOutcome) -> CertRep:
    match standing.status:
        case Status.ISSUED if standing.certificate is not None:
            return Success((standing.certificate,))
        case Status.PENDING:
            return Pending()
    code = FailInfo.badRequest if standing.fail_info is None else FailInfo(standing.fail_info)
    return Failure(code, standing.reason or "the request was refused")


def _line(text: str, most: int = _LOGGED) -> str:
    """Return a text as it is kept: what is not printable is escaped, as in the log."""
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= most else f"{text[:most]}…"


def loggable_serial(serial_number: int) -> int | None:
    """Return a serial number, unless no certificate can have it (RFC 5280 section 4.1.2.2)."""
    return serial_number if 0 <= serial_number < _SERIALS else None
