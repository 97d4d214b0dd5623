"""What strangers can make a server hold, and how it tells that a bound was reached."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

from scepkit.server import metrics
from scepkit.server.peers import Proxies
from scepkit.server.settings import Settings

# Seconds between two lines about one bound: a flood must not become one of the log.
_QUIET = 60.0

# Files that are not connections: the database, keys that are read, the log.
_OTHER_FILES = 128

# Fewer connections serve nobody.
_FEWEST = 16

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What strangers can make a server hold.

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


class Bites:
    """Tells that bounds were reached: each time in the metrics, now and then in the log."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def tell(self, bound: str, setting: str, peer: str) -> None:
        """Count a bound that was reached, and log the first in a minute.

        Args:
            bound: what it bounds, in words; a label of the metric.
            setting: its name in scep.toml; empty where there is none.
            peer: the address that reached it.
        """
        metrics.BOUNDS.labels(bound).inc()
        times = self._since[bound] = self._since.get(bound, 0) + 1
        now = time.monotonic()
        if now - self._told.get(bound, -_QUIET) < _QUIET:
            return
        self._told[bound] = now
        self._since[bound] = 0
        facts = {"setting": setting} if setting else {}
        log.warning("a bound is reached", bound=bound, peer=peer, times=times, **facts)
