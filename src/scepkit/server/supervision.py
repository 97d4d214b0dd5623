"""The supervisor of several worker processes: it replaces those that end or hang, and reloads.

What it and the workers are made of is imported before the process that forks the workers comes to
be, and is one memory for all of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog

from scepkit.errors import Local, SettingsError
from scepkit.server import endpoint_files, notification_files
from scepkit.server.data_directory import Home
from scepkit.server.fork_server import ForkServer
from scepkit.server.http import tally
from scepkit.server.reloading.control import Control
from scepkit.server.reloading.hang_up import SIGHUP, HangUp
from scepkit.server.reloading.key_reading import have_keys_read
from scepkit.server.reloading.reloader import Reloader
from scepkit.server.reloading.workers import Received, Workers
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

_METRICS = "PROMETHEUS_MULTIPROC_DIR"

# Of the names of directories that processes share; one of fewer seconds may not be locked yet.
_PREFIX = "scep-workers-"
_NEW = 60.0

_logger = structlog.get_logger()


class Heartbeats:
    """The moments of the workers' last signs of life, in memory that all processes share.

    Args:
        count: of the workers, whose numbers begin with 1.
    """

    def __init__(self, count: int) -> None:
        self._moments = memoryview(mmap.mmap(-1, 8 * count)).cast("d")

    def beat(self, number: int) -> None:
        """Give a sign of life of a worker."""
        self._moments[number - 1] = time.monotonic()

    def silence(self, number: int) -> float:
        """Return the seconds since its last one."""
        return time.monotonic() - self._moments[number - 1]


@dataclass(frozen=True, slots=True)
class Shared:
    """All that worker processes and their supervisor share.

    Attributes:
        directory: the directory of the files.
        key: for the addresses that connections are counted under.
        heartbeats: show which workers live.
        at_start: the settings that the server started with; None before it has read them.
    """

    directory: Path
    key: bytes
    heartbeats: Heartbeats
    at_start: Received | None = None

    @property
    def supervisor(self) -> Path:
        """Return the socket of the supervisor."""
        return self.directory / "supervisor"

    @property
    def key_reader(self) -> Path:
        """Return the socket for the process that reads the keys at a reload."""
        return self.directory / "key-reader"

    @property
    def committer(self) -> Path:
        """Return the socket of the process that commits for several workers."""
        return self.directory / "committer"

    @property
    def connections(self) -> Path:
        """Return the directory in which connections are counted."""
        return self.directory / "connections"

    @property
    def metrics(self) -> Path:
        """Return the directory of metrics and health."""
        return self.directory / "metrics"

    @property
    def mark_of_start(self) -> Path:
        """Return the file that is there once a worker of this server has started."""
        return self.directory / "started"


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
            from scepkit.server.preloading import load

            load(settings)

        def work(number: int) -> int:
            if number in (_KEY_READER, committer):
                # Neither serves: else the ports would stay taken for as long as it is there.
                for one in (listener, api):
                    if one is not None:
                        one.close()
            if number == _KEY_READER:
                from scepkit.server.reloading.key_reading import work as read_keys

                return read_keys(shared.key_reader)
            if number == committer:
                from scepkit.server.committing import work as commit

                return commit(number, shared)
            if api is not None and number > count:
                # Only here: devices are served without what it is made of.
                from scepkit.server.api.process import work as serve_api

                return serve_api(number, shared, api)
            from scepkit.server.worker import work

            return work(number, shared, listener, has_committer=committer is not None)

        self._forks = ForkServer(load, work)

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


def serve(
    home: Home, listener: socket.socket, hang_up: HangUp, api: socket.socket | None = None
) -> None:
    """Serve from several processes, which open the database and read the keys themselves.

    Args:
        home: the data directory.
        listener: the socket that listens.
        hang_up: has taken over SIGHUP.
        api: the socket of the API; None where there is none.

    Raises:
        SettingsError: the worker processes could not start.
        Local: they cannot be replaced any more.
    """
    settings = home.settings
    home = replace(
        home,
        # Else each process would derive what it is encrypted under by itself.
        known_key=home.challenge_key,
        files=endpoint_files.read_all(settings, home.read_challenge_key),
        secrets=notification_files.read_all(settings),
    )
    with _shared(settings.workers + processes_beside(settings.workers, api)) as shared:
        workers = Workers(home, shared.supervisor)
        try:
            # Before there is another thread.
            inherited = replace(shared, at_start=Received.of(home))
            processes = WorkerProcesses(settings, inherited, listener, api)
            workers.start()
            read_keys = partial(
                have_keys_read, path=shared.key_reader, start=processes.start_key_reader
            )
            reloader = Reloader(home, workers, read_keys)
            hang_up.start(partial(reloader.reload, reason=SIGHUP))
            if settings.metrics:
                _serve_metrics(home, shared)
            with Control(settings.directory, reloader.reload):
                could_start = processes.run()
        finally:
            # Ends workers that nobody can signal any more.
            workers.close()
    if not could_start:
        raise SettingsError("the worker processes could not start", hint="the log says why")


def _serve_metrics(home: Home, shared: Shared) -> None:
    from scepkit.server import monitoring
    from scepkit.server.web.metrics import RecordMetrics

    revocations = RecordMetrics.of(home.settings.database_url)
    monitoring.serve(home.settings.metrics, partial(monitoring.shared, shared.metrics), revocations)


@contextlib.contextmanager
def _shared(processes: int) -> Iterator[Shared]:
    """Give the processes what they share; prometheus_client knows of it by the environment."""
    _remove_left(Path(tempfile.gettempdir()))
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    shared = Shared(directory, tally.new_key(), Heartbeats(processes))
    try:
        shared.metrics.mkdir()
        shared.connections.mkdir()
        os.environ[_METRICS] = str(shared.metrics)
        # systemd-tmpfiles leaves alone what is locked, and so does the next server.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield shared
    finally:
        os.close(descriptor)
        os.environ.pop(_METRICS, None)
        shutil.rmtree(directory, ignore_errors=True)


def _remove_left(temporary: Path) -> None:
    """Remove what servers of this user have left that were killed: nobody holds its lock."""
    for path in temporary.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(descriptor)
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _NEW:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
