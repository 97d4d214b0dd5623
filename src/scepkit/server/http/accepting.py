"""Taking connections, by several processes on one socket: so that each has as many as the others.

Whoever looks at the socket first could take all that wait, and would be busy while the others have
nothing to do.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from scepkit.server.http.connections import Connections

# Seconds that a worker with more connections than another leaves new ones to that.
_PATIENCE = 0.02
# Connections that are taken at once where nobody else does.
_MOST = 4
# Seconds to wait when too many files are open.
_PAUSE = 1.0


class Accepting:
    """Takes connections on a socket, until it is closed; for one event loop.

    Args:
        listener: the socket; it is closed with it.
        protocol: makes what speaks on a connection.
        connections: knows how many the other processes have.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        connections: Connections,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(listener, self._ready)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()

    def _ready(self) -> None:
        """Take one connection, or leave it to a process that has fewer, for a moment."""
        if self._beginning:
            # It counts only when it has begun, which it has by the next time.
            return
        if self._connections.are_more_than_others:
            self._wait(_PATIENCE)
        else:
            self._take()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        of_others = self._connections.of_others
        self._timer = self._loop.call_later(seconds, self._go_on, of_others)

    def _go_on(self, before: int) -> None:
        """Take what no other process takes: they may be busy for longer, or hang."""
        self._timer = None
        self._loop.add_reader(self._listener, self._ready)
        if self._connections.of_others != before:
            return
        for _ in range(_MOST):
            if not self._take():
                return

    def _take(self) -> bool:
        """Take a connection; return whether there was one."""
        try:
            taken, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            # Another process was quicker, or the peer hung up again.
            return False
        except OSError:
            # Too many files are open.
            self._wait(_PAUSE)
            return False
        task = self._loop.create_task(self._begin(taken))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, taken)
        except OSError:
            taken.close()
