"""The process that forks the worker processes, so that they share the memory of what is imported.

It has a single thread, whatever the supervisor has: no lock that another thread holds at the moment
of a fork can get into a worker. The supervisor imports what workers need, and forks it before it
has threads itself.

    supervisor ── fork server ─┬─ worker 1
                               └─ worker 2
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import structlog

from scepkit.server.processes.child_process import run_and_exit

# The number of a worker, and a signal for it (0: it is to be forked); or its exit status.
_MESSAGE = struct.Struct("!ii")

# Seconds between two signs of life of a worker.
_BEAT = 1.0

# Signals of the terminal and of systemd come to all processes: here they mean nothing.
_NOT_FOR_IT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger()


class ForkServer:
    """Starts and signals workers, and hears of their end; for one thread.

    Only `start` is for any thread: a message is sent at once, and comes whole.

    Args:
        load: imports all that workers need; called at once. What is imported after a fork writes to
            what is there already, and is memory of that process alone.
        work: the work of the worker with this number; called in it. Returns its exit status.
        beat: gives a sign of life of the worker with this number; called in it each second.
    """

    def __init__(
        self,
        load: Callable[[], None],
        work: Callable[[int], int],
        beat: Callable[[int], None],
    ) -> None:
        load()
        self._channel, other = socket.socketpair()
        _keep_shared()
        # Its handlers are the supervisor's until it has its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
        self._pid = os.fork()
        if self._pid == 0:
            self._channel.close()
            run_and_exit(_Forks(other, work, beat).serve)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)
        other.close()

    def fileno(self) -> int:
        """Return the file that can be read when a worker has ended."""
        return self._channel.fileno()

    def start(self, number: int) -> None:
        """Fork the worker with this number; there must be none.

        Raises:
            OSError: the process that forks is gone.
        """
        self._channel.sendall(_MESSAGE.pack(number, 0))

    def send(self, number: int, sent: signal.Signals) -> None:
        """Send a signal to a worker; one that has ended already gets none.

        Raises:
            OSError: the process that forks is gone.
        """
        self._channel.sendall(_MESSAGE.pack(number, sent))

    def ended(self) -> tuple[int, int]:
        """Return the number of the next worker that has ended, and its exit status; waits for one.

        Raises:
            OSError: the process that forks is gone.
        """
        message = self._channel.recv(_MESSAGE.size, socket.MSG_WAITALL)
        if len(message) < _MESSAGE.size:
            raise ConnectionError("the process that starts the workers is gone")
        number, status = _MESSAGE.unpack(message)
        return number, status

    def close(self) -> None:
        """End the process, after the last worker."""
        self._channel.close()
        os.waitpid(self._pid, 0)


class _Forks:
    """The process that forks.

    Args:
        channel: to the supervisor.
        work: the work of the worker with this number.
        beat: gives a sign of life of it.
    """

    def __init__(
        self, channel: socket.socket, work: Callable[[int], int], beat: Callable[[int], None]
    ) -> None:
        self._channel = channel
        self._work = work
        self._beat = beat
        self._pid = os.getpid()
        self._numbers: dict[int, int] = {}  # by process

    def serve(self) -> int:
        """Do what the supervisor says, until it is gone."""
        for one in _NOT_FOR_IT:
            signal.signal(one, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        # So that the end of a worker is seen at once.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        channel = self._channel.fileno()
        while True:
            ready, _, _ = select.select([channel, reading], [], [])
            if reading in ready:
                os.read(reading, 512)
            for number, status in self._ended():
                with suppress(OSError):
                    self._channel.sendall(_MESSAGE.pack(number, status))
            if channel in ready:
                message = self._channel.recv(_MESSAGE.size, socket.MSG_WAITALL)
                if len(message) < _MESSAGE.size:
                    self._wake()
                    return 0
                number, sent = _MESSAGE.unpack(message)
                self._obey(number, sent, unused=(reading, writing))

    def _wake(self) -> None:
        """Let stopped workers go on, so that they see that the supervisor is gone, and end too."""
        for pid in self._numbers:
            os.kill(pid, signal.SIGCONT)

    def _ended(self) -> Iterator[tuple[int, int]]:
        while self._numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield self._numbers.pop(pid), os.waitstatus_to_exitcode(status)

    def _obey(self, number: int, sent: int, unused: tuple[int, int]) -> None:
        if sent:
            for pid in [one for one, found in self._numbers.items() if found == number]:
                os.kill(pid, sent)
            return
        # A signal that comes before the worker can take it waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
        try:
            pid = os.fork()
        except OSError as error:
            # No room for a process now: there may be later.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)
            log.error("a worker process cannot be made", worker=number, error=error.strerror)  # noqa: TRY400
            self._channel.sendall(_MESSAGE.pack(number, 1))
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for one in unused:
                os.close(one)
            self._channel.close()
            run_and_exit(lambda: self._as_worker(number))
        self._numbers[pid] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)

    def _as_worker(self, number: int) -> int:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(one, signal.SIG_DFL)
        # SIGHUP is for the supervisor, though a terminal that is closed sends it to all.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)
        threading.Thread(target=self._live, args=[number], name="scepkit-life", daemon=True).start()
        return self._work(number)

    def _live(self, number: int) -> None:
        """Show that a worker lives, and end it once the process that forked it is gone.

        Nobody else would, be it in the middle of its start, and its port would stay taken.
        """
        while os.getppid() == self._pid:
            self._beat(number)
            time.sleep(_BEAT)
        os.kill(os.getpid(), signal.SIGTERM)


def _keep_shared() -> None:
    """Keep the collector away from what is there by now, which stays for good.

    It writes to each object that it looks at, and the page would be nobody else's any more.
    """
    gc.collect()
    gc.freeze()
