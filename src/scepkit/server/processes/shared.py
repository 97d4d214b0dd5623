"""A directory of sockets and counts, and signs of life: all processes of one server share them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scepkit.server.http import tally
from scepkit.server.reloading.workers import Received

_METRICS = "PROMETHEUS_MULTIPROC_DIR"

# Of the names of directories that processes share; one of fewer seconds may not be locked yet.
_PREFIX = "scep-workers-"
_NEW = 60.0


class Heartbeats:
    """The moments of the workers' last signs of life, in memory that all processes share.

    Args:
        count: the highest number of a process; the first is 0.
    """

    def __init__(self, count: int) -> None:
        self._moments = memoryview(mmap.mmap(-1, 8 * (count + 1))).cast("d")

    def beat(self, number: int) -> None:
        """Give a sign of life of a worker."""
        self._moments[number] = time.monotonic()

    def silence(self, number: int) -> float:
        """Return the seconds since its last one."""
        return time.monotonic() - self._moments[number]


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
    def api_fault(self) -> Path:
        """Return the file that says why the API cannot start; it is not there while it can."""
        return self.directory / "api-fault"

    @property
    def mark_of_start(self) -> Path:
        """Return the file that is there once a worker of this server has started."""
        return self.directory / "started"


@contextlib.contextmanager
def share(processes: int) -> Iterator[Shared]:
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
