"""Work on requests while the event loop waits, for a bounded number at once.

Whoever decides hands a new certificate straight to the store's writer, and the event loop hears of
it when it is on the disk; waiting for the disk holds nothing up. The writer is told how many are on
their way, so that they share commits.

asyncio.wrap_future wakes the loop up for every single result: a system call, and the GIL changes
hands twice. Results come in groups here, because many issuances share one commit; so one wake-up
fetches all that have arrived until the loop looks. A result of the loop's own thread needs none.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from scepkit.errors import HTTPRefused
from scepkit.server.web.executors import Executor
from scepkit.services.scep import SCEPService
from scepkit.services.scep_decision import Step, Waiting
from scepkit.store import Answer, Recorded, Store

# Of one protocol. More would only time out while they wait for a thread; 503 makes them come back
# (checklist P-78).
LIMIT = 512

_T = TypeVar("_T")
_Decided: TypeAlias = "asyncio.Future[tuple[Step, Answer | None]]"
_Future: TypeAlias = "asyncio.Future[Any]"
_HandOver: TypeAlias = Callable[[Any], None]
"""Takes a result, or what was raised in place of it."""


class ConcurrencyLimit:
    """Counts the requests that are inside its `with` block, for one event loop."""

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> None:
        """Count one more.

        Raises:
            HTTPRefused: there are too many already; HTTP 503.
        """
        if self._count >= LIMIT:
            raise HTTPRefused(503, "busy, try again later")
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Count one less."""
        self._count -= 1


class WorkerPool:
    """Has endpoints answer; for one event loop.

    Args:
        executor: where.
        store: where the endpoints store what they decide.
    """

    def __init__(self, executor: Executor, store: Store) -> None:
        self._executor = executor
        self._store = store
        self._handover: Handover | None = None

    async def run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Return the result of a function that is called by the executor."""
        future, hand_over = self._awaited()
        self._executor.submit(_call, work, arguments, hand_over)
        result: _T = await future
        return result

    async def answer(self, service: Callable[[bytes], _T], message: bytes) -> _T:
        """Return the answer of a service that stores nothing, or waits until it has.

        Args:
            service: answers; called by the executor.
            message: what it answers.

        Raises:
            StoreError: the database is locked.
        """
        return await self.run(self._patiently, service, message, time.monotonic())

    def _patiently(self, service: Callable[[bytes], _T], message: bytes, asked: float) -> _T:
        self._store.check_patience(asked)
        return service(message)

    async def decide(self, message: bytes, service: SCEPService, peer: str = "") -> Step:
        """Return an endpoint's decision, once it is stored; or the third party that it waits for.

        Args:
            message: the body of a PKIOperation.
            service: the endpoint's; it decides.
            peer: what the sender's address is counted under.

        Raises:
            Malformed: it is no SCEP message.
            HTTPRefused: there were too many of its kind, or a bound is reached.
            Local: the operator's fault or the disk's.
        """
        step, recorded = await self._recorded(service, service.decide, message, peer)
        if isinstance(recorded, Recorded | None):
            return step
        return await self.run(service.conclude, step, recorded)

    async def go_on(
        self, service: SCEPService, waiting: Waiting, word: object, kept: object
    ) -> Step:
        """Return the decision after a word came, once it is stored; or the next party to wait for.

        Arguments and exceptions are those of `SCEPService.go_on`.
        """
        step, recorded = await self._recorded(service, service.go_on, waiting, word, kept)
        if isinstance(recorded, Recorded | None):
            return step
        return await self.run(service.conclude, step, recorded)

    def _recorded(
        self, service: SCEPService, work: Callable[..., Step], *arguments: object
    ) -> _Decided:
        """Decide and store; the event loop hears of it when the answer is on the disk."""
        if self._handover and not self._handover.is_for(asyncio.get_running_loop()):
            # The first loop would hear of what is stored, and the second one wait for ever.
            raise RuntimeError("a WorkerPool is for one event loop, and there is a second one")
        step, hand_over = self._awaited()
        self._store.begin_request()
        self._executor.submit(self._decide, service, work, arguments, hand_over, time.monotonic())
        return step

    def _awaited(self) -> tuple[_Future, _HandOver]:
        """Return a future, and what hands a result over to it from any thread."""
        loop = asyncio.get_running_loop()
        if self._handover is None or not self._handover.is_for(loop):
            self._handover = Handover(loop)
        future: _Future = loop.create_future()
        return future, functools.partial(_hand_over, self._handover, [future])

    def _decide(
        self,
        service: SCEPService,
        work: Callable[..., Step],
        arguments: tuple[object, ...],
        hand_over: _HandOver,
        asked: float,
    ) -> None:
        """Decide, and have the record stored."""
        try:
            self._store.check_patience(asked)
            decision = work(*arguments)
            pending = service.record(decision)
        # A panic in Rust is no Exception; whatever it is, it is raised again where it is awaited.
        except BaseException as error:  # noqa: BLE001
            hand_over(error)
            return
        finally:
            self._store.end_request()
        if pending is None:
            hand_over((decision, None))
        else:
            # Straight on to the writer's thread: the event loop need not know of this stage.
            pending.add_done_callback(
                lambda done: hand_over(done.exception() or (decision, done.result()))
            )


def _call(work: Callable[..., Any], arguments: tuple[object, ...], hand_over: _HandOver) -> None:
    try:
        result = work(*arguments)
    # A panic in Rust is no Exception; whatever it is, it is raised again where it is awaited.
    except BaseException as error:  # noqa: BLE001
        hand_over(error)
    else:
        hand_over(result)


def _hand_over(handover: Handover, steps: list[_Future], result: object) -> None:
    # Taken out, not only used: an error knows the frames that it came through, these know what they
    # were to hand over to, and that will know the error. The message would stay with them until the
    # collector comes.
    handover.put(functools.partial(_settle, steps.pop(), result))


def _settle(step: _Future, result: object) -> None:
    if step.done():  # cancelled: the server stops
        return
    if isinstance(result, BaseException):
        step.set_exception(result)
    else:
        step.set_result(result)


class Handover:
    """Runs calls on the event loop: those of one thread in their order.

    Args:
        loop: the event loop; this is its thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._arrived: deque[Callable[[], None]] = deque()
        self._woken = False

    def is_for(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Say whether this is the event loop."""
        return loop is self._loop

    def put(self, settle: Callable[[], None]) -> None:
        """Have a function called on the event loop: at once, if this is its thread."""
        if threading.get_ident() == self._thread:
            settle()
            return
        # In this order: who finds the loop woken already is in time for its look (_fetch).
        self._arrived.append(settle)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        self._woken = False
        while self._arrived:
            self._arrived.popleft()()
