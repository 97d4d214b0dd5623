"""The waiting step: requests wait for third parties on the event loop, and hold nothing else.

No thread that does private-key work, no transaction and no place among the requests under way is
held meanwhile. How many wait, and how long, is bounded. A request stops waiting when its client
hangs up, where that does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import structlog

from scepkit.ca.issuer import IssuedCertificate
from scepkit.enrolment.third_parties import Awaited, Role
from scepkit.errors import BoundReached, FailInfoError, Local, ScepError, ThirdPartyFailed
from scepkit.protocol.certificate import show_serial
from scepkit.server.http.exchange import ClientGone
from scepkit.server.web import metrics
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.services.scep import SCEPService
from scepkit.services.scep_decision import Decision, Step, Waiting

_RETRY_SECONDS = 30

log = structlog.get_logger()


class WaitingRoom:
    """Takes requests through their waits to the decision; for one event loop.

    Args:
        workers: decide and store.
        storing: threads that may wait for the disk.
        most: requests that wait at once.
        seconds: for which one waits at most for one third party.
    """

    def __init__(
        self, workers: WorkerPool, storing: ThreadPoolExecutor, *, most: int, seconds: float
    ) -> None:
        self._workers = workers
        self._storing = storing
        self._most = most
        self._seconds = seconds
        self._count = 0

    async def decide(
        self, waiting: Waiting, service: SCEPService, gone: Callable[[], Awaitable[None]]
    ) -> Decision:
        """Return the decision on a request that waits, once it is stored.

        Args:
            waiting: the request.
            service: the endpoint's.
            gone: returns when the client has hung up.

        Raises:
            BoundReached: as many wait already as may; HTTP 503.
            ClientGone: the client hung up.
            Local: a third party or the server failed; HTTP 503.
        """
        with self._place():
            step: Step = waiting
            while isinstance(step, Waiting):
                word = await self._word(step, gone)
                with _reported(step, word):
                    kept = await self._kept(step, word)
                    step = await self._workers.go_on(service, step, word, kept)
            return step

    async def _kept(self, step: Waiting, word: Any) -> Any:
        """Store a word; those that come at once share a commit."""
        loop = asyncio.get_running_loop()
        kept = await loop.run_in_executor(self._storing, step.outcome.keep, word)
        return await asyncio.wrap_future(kept) if isinstance(kept, Future) else kept

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._count >= self._most:
            raise BoundReached(
                503,
                "too many requests wait for other services, try again later",
                bound="requests that wait for third parties",
                retry_after=_RETRY_SECONDS,
                hint="look at that service, or raise the setting max_waiting",
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def _word(self, step: Waiting, gone: Callable[[], Awaitable[None]]) -> Any:
        awaited, started, outcome = step.outcome, time.perf_counter(), "failed"
        gauge = metrics.WAITING.labels(awaited.role)
        gauge.inc()
        try:
            word = await self._asked(awaited, gone)
            outcome = "answered"
        except TimeoutError as error:
            outcome = "timeout"
            return _without_word(step, ThirdPartyFailed(f"no answer in {self._seconds} s"), error)
        except (ClientGone, asyncio.CancelledError):
            outcome = "cancelled"
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no word
            if awaited.role is Role.ISSUER and isinstance(error, FailInfoError):
                outcome = "answered"
                return error
            return _without_word(step, _failure(error), error)
        else:
            if awaited.role is Role.WITHDRAWAL:
                metrics.UNSENT.labels("withdrawn").inc()
            return word
        finally:
            gauge.dec()
            seconds = time.perf_counter() - started
            metrics.WAITED.labels(awaited.role, outcome).observe(seconds)

    async def _asked(self, awaited: Awaited, gone: Callable[[], Awaitable[None]]) -> Any:
        """Ask, and give up when time is over, or with the client where that does no harm.

        Raises:
            TimeoutError: time is over.
            ClientGone: the client hung up.
        """
        async with asyncio.timeout(self._seconds):
            if not awaited.may_cancel:
                return await awaited.word()
            asking = asyncio.ensure_future(awaited.word())
            leaving = asyncio.ensure_future(gone())
            try:
                await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    raise ClientGone
                return asking.result()
            finally:
                asking.cancel()
                leaving.cancel()


def _failure(error: Exception) -> Local:
    if isinstance(error, Local):
        return error
    text = error.message if isinstance(error, ScepError) else str(error)
    return ThirdPartyFailed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _without_word(step: Waiting, failure: Local, cause: Exception) -> None:
    """Give up for want of a word; a withdrawal that failed is reported, and changes no answer.

    Raises:
        Local: what goes on cannot do without.
    """
    awaited = step.outcome
    if awaited.role is not Role.WITHDRAWAL:
        raise ThirdPartyFailed(
            f"the {awaited.role} {awaited.name} failed: {failure.message}",
            hint=failure.hint or "the device gets HTTP 503 and comes back",
        ) from cause
    _report(step, awaited.certificate, failure.message)


@contextmanager
def _reported(step: Waiting, word: object) -> Iterator[None]:
    """Report a certificate of a CA outside that this server has got and could not store.

    It is not withdrawn: whether the database has it is not known, and the device may be given it
    when it comes back. The CA is then asked for the same order.
    """
    try:
        yield
    except BaseException as error:
        if step.outcome.role is Role.ISSUER and isinstance(word, IssuedCertificate):
            message = error.message if isinstance(error, ScepError) else type(error).__name__
            _report(step, word, message)
        raise


def _report(step: Waiting, certificate: IssuedCertificate | None, error: str) -> None:
    metrics.UNSENT.labels("reported").inc()
    log.error(
        "a certificate of another CA was not sent and not withdrawn",
        issuer=step.outcome.name,
        serial="" if certificate is None else show_serial(certificate.serial),
        transaction_id=str(step.message.received.attributes.transaction_id),
        error=error,
        hint="revoke it there unless the device comes back for it",
    )
