"""The worker processes of a server, and those beside them: who ends or hangs is replaced.

What they are made of is imported before the process that forks them comes to be, and is one memory
for all of them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from scepkit.errors import Local
from scepkit.server.processes.fork_server import ForkServer
from scepkit.server.processes.shared import Shared
from scepkit.server.settings import Settings

STARTUP_FAILURE = 3
"""The exit status of a worker that no other one could do better than."""

# Seconds without a sign of life after which a worker is taken to hang. A worker on a starved
# machine is slow, not dead.
_SILENT = 10.0
# Seconds between two looks at the signs of life; and when the supervisor itself stood still.
_LOOK = 1.0
_LATE = 5.0

# Who lives for fewer seconds is replaced only after a pause: the next one may end as soon.
_SHORT_LIFE = 5.0
_PAUSE = 2.0

# The number of the process that reads the keys; those that are replaced have higher ones.
_KEY_READER = 0

_logger = structlog.get_logger()


class _Kind(NamedTuple):
    """A kind of process, by the lines that the log has of it."""

    ended: str
    hangs: str


_WORKER = _Kind("a worker process ended and is replaced", "a worker process hangs and is killed")
_COMMITTER = _Kind(
    "the process that commits ended and is replaced", "the process that commits hangs and is killed"
)
_API = _Kind(
    "the process of the API ended and is replaced", "the process of the API hangs and is killed"
)


@dataclass(frozen=True, slots=True)
class _Work:
    """The work of each process, by its number; called in it.

    Attributes:
        workers: how many serve devices; theirs are the first numbers.
        committer: the number of the process that commits; None where there is none.
        shared: what they share.
        listener: the socket that the workers serve.
        api: the socket of the API; None where there is none.
    """

    workers: int
    committer: int | None
    shared: Shared
    listener: socket.socket
    api: socket.socket | None

    def __call__(self, number: int) -> int:
        """Do the work of a process, and return its exit status."""
        if number in (_KEY_READER, self.committer):
            self._close_sockets()
        if number == _KEY_READER:
            from scepkit.server.reloading.key_reading import work as read_keys

            return read_keys(self.shared.key_reader)
        if number == self.committer:
            from scepkit.server.processes.committing import work as commit

            return commit(self.shared)
        if self.api is not None and number > self.workers:
            # Only here: devices are served without what it is made of.
            from scepkit.server.api.process import work as serve_api

            return serve_api(self.shared, self.api)
        from scepkit.server.processes.worker import work

        return work(number, self.shared, self.listener, has_committer=self.committer is not None)

    def _close_sockets(self) -> None:
        """Let go of the ports: else they stay taken for as long as a process is there."""
        for one in (self.listener, self.api):
            if one is not None:
                one.close()


class WorkerProcesses:
    """The processes of a server: workers, what commits for several, the API; for its main thread.

    Args:
        settings: those at the start.
        shared: what they share.
        listener: the socket that the workers serve.
        api: the socket of the API; None where there is none.
    """

    def __init__(
        self,
        settings: Settings,
        shared: Shared,
        listener: socket.socket,
        api: socket.socket | None = None,
    ) -> None:
        count = settings.workers  # the others come after the last one
        committer = count + 1 if count > 1 else None
        self._numbers = range(1, count + processes_beside(count, api) + 1)
        self._kinds = dict.fromkeys(self._numbers, _WORKER)
        if committer is not None:
            self._kinds[committer] = _COMMITTER
        if api is not None:
            self._kinds[self._numbers[-1]] = _API
        self._heartbeats = shared.heartbeats
        self._running: set[int] = set()
        self._started: dict[int, float] = {}
        # When the next worker with this number is due.
        self._due: dict[int, float] = {}
        self._could_start = True
        self._stops = False

        def load() -> None:
            from scepkit.server.processes.preloading import load

            load(settings)

        work = _Work(count, committer, shared, listener, api)
        self._forks = ForkServer(load, work, shared.heartbeats.beat)

    def run(self) -> bool:
        """Have the workers serve until SIGTERM or SIGINT; then wait for their end.

        Returns:
            Whether they could start.

        Raises:
            Local: the process that forks them is gone.
        """
        try:
            self._supervise()
        except ConnectionError as error:
            raise Local(
                "the process that starts the workers is gone",
                hint="somebody killed it, or the system for want of memory; start the server again",
            ) from error
        self._forks.close()
        return self._could_start

    def start_key_reader(self) -> None:
        """Start a process that reads the keys and ends; for any thread.

        Raises:
            OSError: the process that forks is gone.
        """
        self._forks.start(_KEY_READER)

    def _supervise(self) -> None:
        with _woken_by_signals(self._note_stop) as woken:
            for number in self._numbers:
                self._start(number)
            forks, looked = self._forks.fileno(), time.monotonic()
            while self._running or self._due:
                ready, _, _ = select.select([forks, woken], [], [], _LOOK)
                if woken in ready:
                    os.read(woken, 512)
                if self._stops:
                    self._stop_all()
                if forks in ready:
                    self._replace(*self._forks.ended())
                now = time.monotonic()
                self._start_due(now)
                self._kill_silent(is_late=now - looked > _LATE)
                looked = now

    def _start(self, number: int) -> None:
        self._heartbeats.beat(number)
        self._running.add(number)
        self._started[number] = time.monotonic()
        self._forks.start(number)

    def _start_due(self, now: float) -> None:
        for number in [one for one, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _note_stop(self) -> None:
        self._stops = True

    def _stop_all(self) -> None:
        for number in self._running:
            self._forks.send(number, signal.SIGTERM)
        self._stops = False
        self._due.clear()
        self._numbers = range(0)

    def _replace(self, number: int, status: int) -> None:
        """Start another worker in the place of one that has ended, unless all are to end."""
        self._running.discard(number)
        if status == STARTUP_FAILURE:
            self._could_start = False
            self._stop_all()
        elif number in self._numbers:
            _logger.warning(
                self._kinds[number].ended,
                worker=number,
                status=status,
            )
            now = time.monotonic()
            is_short = now - self._started[number] < _SHORT_LIFE
            self._due[number] = now + _PAUSE if is_short else now

    def _kill_silent(self, *, is_late: bool) -> None:
        """Kill workers that hang; after the supervisor itself stood still, give them time."""
        for number in self._running:
            if is_late:
                self._heartbeats.beat(number)
            elif self._heartbeats.silence(number) > _SILENT:
                _logger.error(
                    self._kinds[number].hangs,
                    worker=number,
                )
                self._heartbeats.beat(number)
                self._forks.send(number, signal.SIGKILL)


def processes_beside(workers: int, api: socket.socket | None) -> int:
    """Return how many processes there are beside so many workers."""
    return (workers > 1) + (api is not None)


@contextlib.contextmanager
def _woken_by_signals(note: Callable[[], None]) -> Iterator[int]:
    """Have SIGTERM and SIGINT noted within the block; yield a file that can be read then."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {one: signal.signal(one, lambda *_: note()) for one in (signal.SIGTERM, signal.SIGINT)}
    waker = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(waker)
        for one, handler in before.items():
            signal.signal(one, handler)
        os.close(reading)
        os.close(writing)
