"""Answers to OCSP requests about the status of certificates (RFC 6960).

The database is asked at every request, so that nothing that is revoked is ever called good again,
whichever process revoked it. What is kept is only the signature: the signed response to a question
without a nonce serves as long as the status is the same, for half of its life. It is found by the
octets of the question's shortest form, which is what most clients send. What was asked for again
meanwhile is then signed anew ahead of the next question (`sign_ahead`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from scepkit.ca.ocsp import OCSPResponder, OCSPResponders
from scepkit.errors import Malformed
from scepkit.protocol import ocsp
from scepkit.protocol.ocsp import CertID, ErrorStatus, Plain, Revoked, SingleResponse, Status
from scepkit.store import Store
from scepkit.store.certificates.records import OCSPStatus

MAX_KEPT = 10_000
"""Signed responses; some 10 MB with EC keys, 20 MB with RSA's."""

_ERRORS = {
    ErrorStatus.MALFORMED_REQUEST: "malformedRequest",
    ErrorStatus.INTERNAL_ERROR: "internalError",
    ErrorStatus.TRY_LATER: "tryLater",
    ErrorStatus.SIG_REQUIRED: "sigRequired",
    ErrorStatus.UNAUTHORIZED: "unauthorized",
}


class OCSPAnswer(NamedTuple):
    """An OCSP answer, with the fields that log and HTTP headers need.

    Attributes:
        der: the OCSPResponse.
        outcome: `good`, `revoked`, `unknown`, `several`, or the name of an OCSPResponseStatus.
        serials: of the certificates that were asked for.
        reason: why there is no better answer, for the log.
        produced_at: when it was signed, in whole seconds; None for what is not signed.
        lasting_until: until when everybody may be given the same bytes; None: not at all.
        was_kept: it was signed for an earlier question.
    """

    der: bytes
    outcome: str
    serials: tuple[int, ...] = ()
    reason: str = ""
    produced_at: datetime | None = None
    lasting_until: datetime | None = None
    was_kept: bool = False


class _Kept(NamedTuple):
    responder: OCSPResponder
    serial: int
    status: Status
    answer: OCSPAnswer
    signed_at: datetime
    reused_until: datetime

    def is_good(self, now: datetime) -> bool:
        """Say whether it may be given out: no longer when the clock was ahead, and is back."""
        return self.signed_at <= now < self.reused_until


class OCSPService:
    """Answers OCSP for all generations of a CA. Threads may share it.

    Args:
        responders: whose certificates it knows, and who signs.
        store: where the certificates are.
        now: returns the time as an aware datetime.
        lifetime: how long a response may be relied upon.
    """

    def __init__(
        self,
        responders: OCSPResponders,
        store: Store,
        now: Callable[[], datetime],
        lifetime: timedelta,
    ) -> None:
        self._responders = responders
        self._store = store
        self._now = now
        self._lifetime = lifetime
        self._lock = Lock()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()  # by the shortest form of a question
        self._wanted: set[bytes] = set()  # of those, what was asked for again

    def answer(self, der: bytes) -> OCSPAnswer:
        """Answer an OCSPRequest.

        Where the request is about several CAs, the answer is signed for the first that is ours,
        and what others issued is `unknown` in it: each signs for its own certificates alone.

        Args:
            der: whatever a client sent.

        Raises:
            StoreError: the database cannot be read.
        """
        now = self._now()
        kept = self._find(der, now)
        if kept is not None:
            return kept
        try:
            request = ocsp.read_request(der)
        except Malformed as error:
            return refusal(ErrorStatus.MALFORMED_REQUEST, error.message)
        question = request.shortest
        if question is not None and question != der:
            kept = self._find(question, now)
            if kept is not None:
                return kept
        known = [self._responders.of(one) for one in request.certificates]
        responder = next((one for one in known if one is not None and one.end > now), None)
        if responder is None:
            return refusal(ErrorStatus.UNAUTHORIZED, "the certificate is of no CA of this server")
        responses = self._responses(request.certificates, known, responder)
        answer = self._signed(request, responses, responder, now.replace(microsecond=0))
        if question is not None:
            self._keep(question, responses[0], answer, responder)
        return answer

    def sign_ahead(self, within: timedelta, stopped: Callable[[], bool] = lambda: False) -> int:
        """Sign again the responses that were asked for again and will soon be stale.

        Whoever asks next then waits for no signature.

        Args:
            within: how soon.
            stopped: returns whether the rest is left to whoever asks.

        Returns:
            How many responses were signed.

        Raises:
            StoreError: the database cannot be read.
        """
        until = self._now() + within
        with self._lock:
            due = [one for one in self._wanted if self._kept[one].reused_until <= until]
            for one in due:
                del self._kept[one]
            self._wanted.difference_update(due)
        for number, one in enumerate(due):
            if stopped():
                return number
            self.answer(one)
        return len(due)

    def _signed(
        self,
        request: ocsp.Request,
        responses: list[SingleResponse],
        responder: OCSPResponder,
        now: datetime,
    ) -> OCSPAnswer:
        signer, end = responder.signer(now)
        until = min(now + self._lifetime, end)
        is_lasting = request.nonce is None and all(
            one.status is not Plain.UNKNOWN for one in responses
        )
        return OCSPAnswer(
            ocsp.sign(responses, signer, produced_at=now, next_update=until, nonce=request.nonce),
            outcome=_outcome(responses),
            serials=tuple([one.serial for one in request.certificates]),
            produced_at=now,
            lasting_until=until if is_lasting else None,
        )

    def _responses(
        self,
        certificates: Sequence[CertID],
        known: Sequence[OCSPResponder | None],
        responder: OCSPResponder,
    ) -> list[SingleResponse]:
        """Return how the certificates stand: those of the responder's CA, as all others are not."""
        ours = {one.serial for one, of in zip(certificates, known, strict=True) if of is responder}
        stored = self._store.ocsp_statuses(responder.authority.key_hash, ours)
        return [
            SingleResponse(
                one.der,
                _status(stored.get(one.serial), is_own=one.serial in responder.own_serials)
                if of is responder
                else Plain.UNKNOWN,
            )
            for one, of in zip(certificates, known, strict=True)
        ]

    def _find(self, question: bytes, now: datetime) -> OCSPAnswer | None:
        """Return the response that was signed before, if its status is still the same."""
        kept = self._kept.get(question)
        if kept is None or not kept.is_good(now):
            return None
        responder, serial = kept.responder, kept.serial
        stored = self._store.ocsp_statuses(responder.authority.key_hash, (serial,))
        if _status(stored.get(serial), is_own=serial in responder.own_serials) != kept.status:
            return None
        with self._lock:
            if question in self._kept:  # another thread may have dropped it meanwhile
                self._kept.move_to_end(question)
                self._wanted.add(question)
        return kept.answer

    def _keep(
        self,
        question: bytes,
        response: SingleResponse,
        answer: OCSPAnswer,
        responder: OCSPResponder,
    ) -> None:
        """Keep what others may be given too; what is unknown has no end and is not kept."""
        if answer.lasting_until is None or answer.produced_at is None:
            return
        half = answer.produced_at + (answer.lasting_until - answer.produced_at) / 2
        with self._lock:
            self._kept[question] = _Kept(
                responder,
                answer.serials[0],
                response.status,
                answer._replace(was_kept=True),
                answer.produced_at,
                half,
            )
            self._kept.move_to_end(question)
            self._wanted.discard(question)
            if len(self._kept) > MAX_KEPT:
                oldest, _ = self._kept.popitem(last=False)
                self._wanted.discard(oldest)


def refusal(status: ErrorStatus, reason: str) -> OCSPAnswer:
    """Return the unsigned answer that there is none (RFC 6960 section 2.3)."""
    return OCSPAnswer(ocsp.error(status), _ERRORS[status], reason=reason)


def _status(status: OCSPStatus | None, *, is_own: bool) -> Status:
    """Return how a certificate stands; what the CA issued for the server is stored nowhere."""
    if status is None:
        return Plain.GOOD if is_own else Plain.UNKNOWN
    if status.revoked_at is None:
        return Plain.GOOD
    return Revoked(status.revoked_at, status.reason or 0)


def _outcome(responses: list[SingleResponse]) -> str:
    if len(responses) > 1:
        return "several"
    status = responses[0].status
    return status.value if isinstance(status, Plain) else "revoked"
