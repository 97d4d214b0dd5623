"""Taking connections with TLS: handshakes that are not done yet are bounded, in number and time.

What is no connection yet counts nowhere else; so strangers who begin and never go on would hold as
many as they like.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

from scepkit.server.http.connections import Connections
from scepkit.server.http.peers import host_and_port, network

# Handshakes at once, in all and of one network, and the seconds that each may take.
_MOST = 512
_MOST_OF_ONE = 64
_SECONDS = 10.0
# Seconds to wait when too many files are open.
_PAUSE = 1.0


class TLSAccepting:
    """Takes connections on a socket, until it is closed; for one event loop.

    Args:
        listener: the socket; it is closed with it.
        context: what TLS is done with.
        protocol: makes what speaks on a connection.
        connections: is told that a bound is reached.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.BaseProtocol],
        connections: Connections,
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._of: Counter[str] = Counter()
        listener.setblocking(False)
        self._task = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Take no more connections, and give up the handshakes under way."""
        self._task.cancel()
        for one in self._under_way:
            one.cancel()
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                taken, address = await self._loop.sock_accept(self._listener)
            except OSError:
                # Too many files are open, or the peer is gone again.
                await asyncio.sleep(_PAUSE)
                continue
            host, _ = host_and_port(address)
            peer = network(host)
            if len(self._under_way) >= _MOST or self._of[peer] >= _MOST_OF_ONE:
                self._connections.alarms.ring("TLS handshakes", peer=host)
                taken.close()
                continue
            self._of[peer] += 1
            task = self._loop.create_task(self._shake_hands(taken, peer))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _shake_hands(self, taken: socket.socket, peer: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, taken, ssl=self._context, ssl_handshake_timeout=_SECONDS
            )
        except (OSError, asyncio.CancelledError):
            # Whoever speaks no TLS, or none in time, has no connection.
            taken.close()
        finally:
            self._of[peer] -= 1
            if not self._of[peer]:
                del self._of[peer]
