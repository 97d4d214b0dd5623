"""The connections of one worker process: how many there may be, and which have to give way.

At a bound the new connection is let in and the one goes that has kept the server waiting longest:
silent, half-sent, or with an answer that nobody takes. So a stranger who holds connections holds
them from nobody. What is being answered never gives way; if nothing else is there, HTTP 503.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from scepkit.errors import HTTPRefused
from scepkit.server.http.bounds import BoundAlarms, Bounds, LogThrottle
from scepkit.server.http.request_reader import Unreadable
from scepkit.server.http.tally import Tally

# Octets that connections read at once: all of them into the same place, one after another.
_READ = 64 * 1024

# Octets of requests, whole or not, that all connections together hold for their peers; those that
# hold no more than a usual request may go on beyond that.
_MAX_HELD = 64 * 1024 * 1024
_USUAL = 16 * 1024

log = structlog.get_logger()


class Connection(Protocol):
    """A connection that can give way to a new one.

    Attributes:
        address: what it counts under; None for a listed proxy.
        held: octets of requests that it holds.
    """

    address: str | None
    held: int

    def abort(self) -> None:
        """Close at once; received octets are lost."""


class Connections:
    """Counts connections, and makes room; for one event loop.

    Args:
        bounds: how many there may be.
        tally: counts them over all worker processes.

    Attributes:
        bounds: as given.
        alarms: tells that one was reached.
        buffer: what a connection reads into, before it takes that out.
    """

    def __init__(self, bounds: Bounds, tally: Tally) -> None:
        self.bounds = bounds
        self.alarms = BoundAlarms()
        self._refusals = LogThrottle()
        self.buffer = memoryview(bytearray(_READ))
        self._tally = tally
        self._counted: set[Connection] = set()
        # In the order in which the server began to wait for them.
        self._waiting: dict[Connection, None] = {}
        self._waiting_of: dict[str | None, dict[Connection, None]] = {}
        self._held = 0

    def ring(self, bound: str, peer: str, setting: str, more: str = "") -> None:
        """Tell that a bound was reached.

        Args:
            bound: its name, one of a few.
            peer: the address that reached it.
            setting: the setting that raises it.
            more: what else the operator may do, to follow that.
        """
        hint = f"if that is no attack, raise {setting} in scep.toml{more}"
        self.alarms.ring(bound, peer=peer, hint=hint)

    def tell(self, error: HTTPRefused, peer: str) -> None:
        """Say in the log who sent what is no request, once a minute for each way of being none.

        Args:
            error: why it is none.
            peer: the address of whoever sent it.
        """
        times = self._refusals.count(error.message)
        if times:
            detail = f": {error.detail}" if isinstance(error, Unreadable) else ""
            log.warning(
                "an HTTP request is refused",
                peer=peer,
                status=int(error.status),
                reason=f"{error.message}{detail}",
                times=times,
                **({"hint": error.hint} if error.hint else {}),
            )

    def admit(self, connection: Connection, peer: str) -> bool:
        """Count a new connection, and let others give way for it.

        Args:
            connection: the new one.
            peer: its address, for the log.

        Returns:
            Whether there is room.
        """
        address = connection.address
        # First: whoever has too many makes room in all as well, and costs nobody else a connection.
        if address is not None and self._tally.of(address) >= self.bounds.per_address:
            self._ring_for(peer)
            if not self._make_room(self._waiting_of.get(address, {})):
                return False
        if self._tally.total >= self.bounds.connections:
            self.ring("connections", peer, "max_connections")
            if not self._make_room(self._waiting):
                return False
        self._tally.connect(address)
        self._counted.add(connection)
        return True

    @property
    def are_more_than_others(self) -> bool:
        """Say whether another worker process has fewer."""
        return self._tally.is_ahead

    @property
    def of_others(self) -> int:
        """Return how many the other worker processes have."""
        return self._tally.of_others

    def forget(self, connection: Connection) -> None:
        """Count a connection no more; the second time nothing happens."""
        if connection not in self._counted:
            return
        self.answer(connection)
        self._counted.remove(connection)
        self._tally.disconnect(connection.address)
        self._held -= connection.held
        connection.held = 0

    def wait_for(self, connection: Connection) -> None:
        """Note that the server waits for the peer from now on, for this or for something else."""
        if connection in self._waiting:
            self.answer(connection)
        if connection in self._counted:
            self._waiting[connection] = None
            self._waiting_of.setdefault(connection.address, {})[connection] = None

    def answer(self, connection: Connection) -> None:
        """Note that the peer waits for the server from now on."""
        if connection not in self._waiting:
            return
        del self._waiting[connection]
        same = self._waiting_of[connection.address]
        del same[connection]
        if not same:
            del self._waiting_of[connection.address]

    def hold(self, connection: Connection, octets: int) -> None:
        """Note what a connection holds; if all hold too much, one goes that waits with most of it.

        Whoever holds no more than a usual request stays, and so does what is being answered.
        """
        if connection not in self._counted:
            return
        self._held += octets - connection.held
        connection.held = octets
        if self._held <= _MAX_HELD:
            return
        largest = max(self._waiting, key=lambda one: one.held, default=None)
        if largest is not None and largest.held > _USUAL:
            self.alarms.ring("octets of requests", peer=largest.address or "")
            self._drop(largest)

    def enter(self, address: str) -> bool:
        """Count a request that a listed proxy forwards for an address; return if there is room."""
        if self._tally.of(address) >= self.bounds.per_address:
            self._ring_for(address)
            return False
        self._tally.enter(address)
        return True

    def leave(self, address: str) -> None:
        """Take a request that `enter` counted off the count."""
        self._tally.leave(address)

    def _ring_for(self, peer: str) -> None:
        self.ring(
            "connections of one address",
            peer,
            "max_connections_per_address",
            ", or list the proxy in proxies",
        )

    def _make_room(self, waiting: dict[Connection, None]) -> bool:
        """Let the one give way that has been waited for longest; return whether there is one."""
        oldest = next(iter(waiting), None)
        if oldest is None:
            return False
        self._drop(oldest)
        return True

    def _drop(self, connection: Connection) -> None:
        self.forget(connection)
        connection.abort()
