"""The bounds on connections, requests and octets that peers can make a server hold.

That one of them is reached shows in the metrics and, now and then, in the log.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from scepkit.server.http.peers import Proxies
from scepkit.server.settings import Settings
from scepkit.server.web import metrics

# Files that are not connections: the database, keys that are read, the log.
_OTHER_FILES = 128

# Fewer connections serve nobody.
_FEWEST = 16

# Between two warnings about the same: whoever reaches a bound does so again and again.
_SECONDS = 60

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds on everything that peers can make a server hold.

    Attributes:
        connections: at once, over all worker processes.
        per_address: of these, of one address, see `peers.network`; listed proxies have none.
        pipelined: requests that wait on one connection behind the one that is being answered.
        request_seconds: in which a request has to arrive whole.
        response_seconds: in which a response, or 64 KiB of it, has to be taken.
        proxies: whose X-Forwarded-For is believed.
    """

    connections: int = 4096
    per_address: int = 256
    pipelined: int = 16
    request_seconds: float = 30.0
    response_seconds: float = 30.0
    proxies: Proxies = field(default_factory=lambda: Proxies(()))

    @classmethod
    def of(cls, settings: Settings, files: int) -> Bounds:
        """Return the bounds of a server.

        Args:
            settings: as they apply.
            files: how many this process may have open; connections have to fit among them.
        """
        connections = settings.max_connections
        fitting = max(_FEWEST, files - _OTHER_FILES)
        if fitting < connections:
            log.warning(
                "fewer connections than max_connections fit under the limit of open files",
                max_connections=connections,
                connections=fitting,
                open_files=files,
                hint="raise the limit: LimitNOFILE in the systemd unit, or ulimit -n",
            )
        return cls(
            connections=min(fitting, connections),
            per_address=settings.max_connections_per_address,
            pipelined=settings.max_pipelined,
            request_seconds=settings.request_seconds,
            response_seconds=settings.response_seconds,
            proxies=Proxies(settings.proxies),
        )


class LogThrottle:
    """Counts events of one kind, and lets one a minute into the log.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._times: Counter[str] = Counter()

    def count(self, what: str) -> int:
        """Count one more time.

        Args:
            what: its name, one of a few.

        Returns:
            How often it happened since it was last told, if it is to be told now; else 0.
        """
        now = self._clock()
        self._times[what] += 1
        last = self._told.get(what)
        if last is not None and now - last < _SECONDS:
            return 0
        self._told[what] = now
        return self._times.pop(what)


class BoundAlarms:
    """Counts how often bounds are reached, and warns of it; for one event loop.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._throttle = LogThrottle(clock)

    def ring(self, bound: str, *, peer: str = "", endpoint: str = "", hint: str = "") -> None:
        """Count one more time; warn unless that was done for this bound less than a minute ago.

        Args:
            bound: its name, one of a few.
            peer: the address that reached it, if that was one.
            endpoint: the name of the endpoint where it was reached, if it is one of an endpoint.
            hint: what the operator may do.
        """
        metrics.BOUNDS.labels(bound).inc()
        times = self._throttle.count(f"{bound} {endpoint}")
        if not times:
            return
        facts = {"peer": peer, "endpoint": endpoint, "hint": hint}
        told = {name: value for name, value in facts.items() if value}
        log.warning("a bound is reached", bound=bound, times=times, **told)
