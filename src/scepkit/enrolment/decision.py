"""The decided answer to a request, and the record to store before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from scepkit.errors import BadRequest, FailInfo, FailInfoError
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.messages import CertRep, Failure, Pending, Success
from scepkit.protocol.scep.pkimessage import PKIMessage, VerifiedMessage
from scepkit.store import Challenge, Issuance, OtherOwner, Outcome, Queued, Status

# Characters of a subject: more than any that is issued in earnest.
_LOGGED = 500
# Octets of a subject: a longer one is not decoded, and so many of it are shown.
_DECODED, _SHOWN = 8192, 64
_UNDECIDED = Failure(FailInfo.badRequest, "not decided")


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a request, valid once `record`, if any, is stored.

    Attributes:
        received: the request.
        peer: what its sender's address is counted under; empty where that is not known.
        verified: the request, if its signature held.
        answer: the answer.
        reply: the answer as a CertRep, DER.
        record: what has to be stored before the reply may go out.
        password: what a reply is encrypted with when the device's key cannot decrypt. Secret.
        key_agreement: whether the device's EC key is known to do key agreement.
        requested: the subject that is asked for, not decoded yet.
        stored: the subject of a stored request or certificate, where none is asked for.
        reason: why it was refused, for the log.
        serial: the serial number of the certificate that is the answer, or of the one that a
            GetCert or GetCRL names, for the log.
        renews: the serial number of the certificate that is renewed, for the log.
        challenge: the one-time challenge that entitles it, for the log.
        cut: what the request asks for and the certificate has not, for the log.
        repeated: whether the answer was given before.
        legacy: what the request uses that had to be allowed.
    """

    received: PKIMessage
    peer: str = ""
    verified: VerifiedMessage | None = None
    answer: CertRep = _UNDECIDED
    reply: bytes = b""
    record: Issuance | Queued | None = None
    password: str | None = field(default=None, repr=False)
    key_agreement: bool = False
    requested: Name | None = None
    stored: str = ""
    reason: str = ""
    serial: int | None = None
    renews: int | None = None
    challenge: Challenge | None = None
    cut: tuple[str, ...] = ()
    repeated: bool = False
    legacy: tuple[Legacy, ...] = ()

    @property
    def subject(self) -> str:
        """The subject of the request, for the log, no longer than a line that people read.

        To be asked for when the reply is out: how long a name takes to decode tells something of
        what is in it, and the sender may be anybody who signed a captured envelope anew.
        """
        if self.requested is None or self.requested.is_empty:
            return self.stored
        if len(self.requested.der) > _DECODED:
            # It is asked for where nothing may take long.
            return f"#{self.requested.der[:_SHOWN].hex()}… ({len(self.requested.der)} octets)"
        text = str(self.requested)
        return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}…"


def refusal(decision: Decision, error: FailInfoError) -> Decision:
    """Refuse: the peer reads failInfo and failInfoText, the log the reason."""
    reason = f"{error.message} ({error.hint})" if error.hint else error.message
    if isinstance(decision.record, Issuance):
        # Its certificate was never stored nor sent: nobody could find it by this number.
        decision = replace(decision, serial=None, cut=())
    return replace(decision, answer=pkimessage.failure(error), reason=reason, record=None)


def repetition(decision: Decision, standing: Outcome | OtherOwner) -> Decision:
    """Answer from what is stored; nothing of another key's transaction is told (P-46)."""
    if isinstance(standing, OtherOwner):
        return refusal(decision, BadRequest("this transactionID belongs to another key"))
    return replace(
        decision,
        answer=_answer(standing),
        stored=standing.subject,
        serial=standing.serial,
        repeated=True,
        record=None,
    )


def _answer(outcome: Outcome) -> CertRep:
    match outcome.status:
        case Status.ISSUED if outcome.certificate is not None:
            return Success((outcome.certificate,))
        case Status.PENDING:
            return Pending()
    code = FailInfo.badRequest if outcome.fail_info is None else FailInfo(outcome.fail_info)
    return Failure(code, outcome.reason or "the request was refused")
