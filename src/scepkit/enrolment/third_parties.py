"""Third parties: services outside that have a word on a certificate, and what they are asked.

They are awaited on the event loop. None of them is there unless the assembly is given one.
A third party that fails or is silent for too long means no certificate and HTTP 503; one that says
no means FAILURE. Neither falls through to a laxer rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from scepkit.enrolment.answers import NOTHING, ServiceAnswer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from scepkit.ca.issuer import IssuedCertificate, Issuer
    from scepkit.enrolment.request import Granted
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.store import Challenge

ASSENT_LIFETIME = timedelta(days=1)
"""The time for which a referee's yes is good for the same request, and is not asked for again."""


@dataclass(frozen=True, slots=True)
class Yes:
    """The third party agrees.

    Attributes:
        answer: what a referee adds to that. It binds the request, and the endpoint's profile may
            put it into the certificate.
    """

    answer: ServiceAnswer = NOTHING


@dataclass(frozen=True, slots=True)
class No:
    """The third party refuses, for good.

    Attributes:
        reason: for the log; the device is not told.
    """

    reason: str


Verdict: TypeAlias = Yes | No


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that this server would grant, as a referee is asked about it.

    Attributes:
        id: the name of the question, the same in every attempt of one request.
        endpoint: the name of the endpoint.
        transaction_id: the transactionID as received.
        csr: the PKCS#10, its challengePassword included.
        subject: the subject that the certificate would have, as far as the answer does not change
            it.
        names: the alternative names, likewise, such as `dns:host.example`.
        renews: the serial number of the certificate that is renewed.
    """

    id: str
    endpoint: str
    transaction_id: bytes
    csr: CertificationRequest
    subject: str
    names: tuple[str, ...]
    renews: int | None


class Referee(Protocol):
    """Judges requests before the signature."""

    @property
    def name(self) -> str:
        """Return the name by which log and metrics call it."""

    @property
    def identity(self) -> str:
        """Return what tells it from every other one: a yes that is stored is that one's alone."""

    async def judge(self, question: Question) -> Verdict:
        """Judge a request that this server would grant; cancelled when the device hangs up.

        Raises:
            Exception: there is no verdict; the device comes back.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A certificate that is signed, as a teller is told of it.

    Attributes:
        id: the name of the delivery, the same in every attempt, also after a crash.
        endpoint: the name of the endpoint.
        transaction_id: the transactionID as received.
        subject: the subject that was asked for.
        csr: the PKCS#10, DER, without its challengePassword and its signature.
        csr_digest: SHA-256 of the PKCS#10 as received.
        certificate: the certificate, DER.
        serial: its serial number.
    """

    id: str
    endpoint: str
    transaction_id: bytes
    subject: str
    csr: bytes
    csr_digest: bytes
    certificate: bytes
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfulfilled:
    """A request that gets no certificate, though the referee has said yes to it.

    Attributes:
        endpoint: the name of the endpoint.
        transaction_id: the transactionID as received.
        csr_digest: SHA-256 of the PKCS#10 as received.
        reason: why, for the referee's own record.
    """

    endpoint: str
    transaction_id: bytes
    csr_digest: bytes
    reason: str


class Observer(Protocol):
    """Notes what became of requests that the referee has said yes to."""

    @property
    def name(self) -> str:
        """Return the name by which log and metrics call it."""

    def note_unfulfilled(self, request: Unfulfilled) -> Future[Any] | None:
        """Note that a request gets no certificate; called where one may wait for the disk.

        Returns:
            A future, resolved when that is on the disk.

        Raises:
            StoreError: it cannot be noted; the device comes back.
        """


class Teller(Protocol):
    """Is told of a certificate that is signed, before the device is given it."""

    @property
    def name(self) -> str:
        """Return the name by which log, metrics and audit record call it."""

    async def tell(self, delivery: Delivery) -> Verdict:
        """Tell of a certificate; it is delivered with a yes, and revoked with a no.

        The same delivery, by its id, may be told of again.

        Raises:
            Exception: there is no verdict; the device comes back.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdParties:
    """The third parties of an endpoint.

    Attributes:
        referee: is asked about every request, first ones and renewals.
        teller: is told of every certificate before it is delivered.
        observer: notes requests that get nothing though the referee has said yes.
        issuer: certifies in place of the CA here; its methods are coroutine functions if it waits.
    """

    referee: Referee | None = None
    teller: Teller | None = None
    observer: Observer | None = None
    issuer: Issuer | None = None


class Role(StrEnum):
    """The role that a third party is waited for in; a label of the metrics."""

    REFEREE = "referee"
    ISSUER = "issuer"
    WITHDRAWAL = "withdrawal"
    OBSERVER = "observer"
    TELLER = "teller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """The word of a third party that an outcome has to wait for. Nothing is held meanwhile.

    Attributes:
        role: what it is asked as.
        name: the third party's.
        ask: begins to ask; called and awaited on the event loop.
        keep: stores the word, or does nothing; called where one may wait for the disk. It may
            return a future, which is resolved when that is on the disk.
        go_on: returns what comes next, given the word and what was kept; called where
            private keys work. It may raise what `Admission.decide` does.
        may_cancel: whether it is no harm to stop asking when the device hangs up.
        granted: the certificate that has to be stored before it is asked.
        certificate: the certificate that is to be withdrawn.
        challenge: as in `Granted`.
        renews: as in `Granted`.
    """

    role: Role
    name: str
    ask: Callable[[], Awaitable[Any]]
    go_on: Callable[[Any, Any], Any]
    keep: Callable[[Any], Any] = lambda _word: None
    may_cancel: bool = False
    granted: Granted | None = None
    certificate: IssuedCertificate | None = None
    challenge: Challenge | None = None
    renews: int | None = None

    async def word(self) -> Any:
        """Ask, and return the word."""
        return await self.ask()
