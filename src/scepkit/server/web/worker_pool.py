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


class ConcurrencyLimit:
    """Counts the requests that are inside its `with` block, for one event loop.

    Args:
        most: how many may be there at once; `LIMIT` unless given.
    """

    def __init__(self, most: int | None = None) -> None:
        self._count = 0
        self._most = most

    def __enter__(self) -> None:
        """Count one more.

        Raises:
            HTTPRefused: there are too many already; HTTP 503.
        """
        if self._count >= (LIMIT if self._most is None else self._most):
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
        promise = Promised(self._to_the_loop())
        future = promise.future
        self._executor.submit(_call, work, arguments, promise)
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
        if recorded is None or type(recorded) is Recorded:
            return step
        return await self.run(service.conclude, step, recorded)

    async def go_on(
        self, service: SCEPService, waiting: Waiting, word: object, kept: object
    ) -> Step:
        """Return the decision after a word came, once it is stored; or the next party to wait for.

        Arguments and exceptions are those of `SCEPService.go_on`.
        """
        step, recorded = await self._recorded(service, service.go_on, waiting, word, kept)
        if recorded is None or type(recorded) is Recorded:
            return step
        return await self.run(service.conclude, step, recorded)

    def _recorded(
        self, service: SCEPService, work: Callable[..., Step], *arguments: object
    ) -> _Decided:
        """Decide and store; the event loop hears of it when the answer is on the disk."""
        handover = self._handover or self._to_the_loop()
        if handover.loop is not asyncio.get_running_loop():
            # The first loop would hear of what is stored, and the second one wait for ever.
            raise RuntimeError("a WorkerPool is for one event loop, and there is a second one")
        promise = Promised(handover)
        future = promise.future
        self._store.begin_request()
        self._executor.submit(self._decide, service, work, arguments, promise, time.monotonic())
        return future

    def _to_the_loop(self) -> Handover:
        """Return what hands results over to the event loop."""
        loop = asyncio.get_running_loop()
        if self._handover is None or self._handover.loop is not loop:
            self._handover = Handover(loop)
        return self._handover

    def _decide(
        self,
        service: SCEPService,
        work: Callable[..., Step],
        arguments: tuple[object, ...],
        promise: Promised,
        asked: float,
    ) -> None:
        """Decide, and have the record stored."""
        try:
            self._store.check_patience(asked)
            promise.step = decision = work(*arguments)
            # The store keeps the promise from its own thread: the event loop need not know of that.
            if service.record(decision, promise) is None:
                promise.set_result(None)
        # A panic in Rust is no Exception; whatever it is, it is raised again where it is awaited.
        except BaseException as error:  # noqa: BLE001
            promise.set_exception(error)
        finally:
            self._store.end_request()


class Promised:
    """A result that the event loop waits for, and that may come from any thread.

    Args:
        handover: leads to the event loop, whose thread this is.

    Attributes:
        future: what is awaited.
        step: a decision, whose result comes with it: what the store says of it.
    """

    __slots__ = ("_handover", "future", "step")

    def __init__(self, handover: Handover) -> None:
        self.future: _Future = handover.loop.create_future()
        self.step: Step | None = None
        self._handover = handover

    def set_running_or_notify_cancel(self) -> bool:
        """Want it, whoever may have gone: what is decided is stored."""
        return True

    def set_result(self, result: Any) -> None:
        """Hand a result over."""
        # Taken out, not only used: an error knows the frames that it came through, these know the
        # promise, and that would know the error. The message would stay with them until the
        # collector comes.
        future = self.future
        del self.future
        self._handover.put(future, result if self.step is None else (self.step, result))

    def set_exception(self, exception: BaseException) -> None:
        """Hand an error over, to be raised where the result is awaited."""
        future = self.future
        del self.future
        self._handover.put(future, exception)


def _call(work: Callable[..., Any], arguments: tuple[object, ...], promise: Promised) -> None:
    try:
        result = work(*arguments)
    # A panic in Rust is no Exception; whatever it is, it is raised again where it is awaited.
    except BaseException as error:  # noqa: BLE001
        promise.set_exception(error)
    else:
        promise.set_result(result)


class Handover:
    """Settles futures on the event loop: those of one thread in their order.

    Args:
        loop: the event loop; this is its thread.

    Attributes:
        loop: as given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()
        self._arrived: deque[tuple[_Future, object]] = deque()
        self._woken = False

    def put(self, future: _Future, result: object) -> None:
        """Have a future get its result, or its error: at once, if this is the loop's thread."""
        # In this order: who finds the loop woken already is in time for its look (settle).
        self._arrived.append((future, result))
        if threading.get_ident() == self._thread:
            self._settle()
        elif not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._settle)
            except RuntimeError:  # it is closed: nobody waits any more, and whoever gives goes on
                self._arrived.clear()

    def _settle(self) -> None:
        self._woken = False
        while self._arrived:
            future, result = self._arrived.popleft()
            if future.done():  # cancelled: the server stops
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
