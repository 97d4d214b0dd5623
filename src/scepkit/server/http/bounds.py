"""The bounds on connections, requests and octets that peers can make a server hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from scepkit.server.http.peers import Proxies
from scepkit.server.settings import Settings

# Files that are not connections: the database, keys that are read, the log.
_OTHER_FILES = 128

# Fewer connections serve nobody.
_FEWEST = 16

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
