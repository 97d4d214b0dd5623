"""The server of a fleet, which is asked about its CA once, for all devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from scepkit.client.client import Client, Connection
from scepkit.client.tls import ClientCertificate
from scepkit.client.transport import Transport
from scepkit.client.trust import ChooseAnchor
from scepkit.errors import TransportError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.transaction import CAInformation, Limits

# One attempt and no poll: patience is the fleet's.
_ONCE = Limits(retries=0, max_wait=0.0)


@dataclass(frozen=True, slots=True)
class FleetServer:
    """The server of a fleet, and the way to it.

    Attributes:
        url: the SCEP server's, for all devices whose row has none.
        trust: chooses the CA certificate to trust, once for all devices.
        identifier: selects among several CAs, for servers that need it.
        allowed: legacy algorithms to use with a CA that can do no better.
        tls_ca: file of the certificates to check HTTPS with; None for the system's.
        client_certificate: shown to a server that wants to see one; kept for renewals, too.
        connection: time-out and proxy; its limits and its pause are not used.
    """

    url: str
    trust: ChooseAnchor
    identifier: str = ""
    allowed: frozenset[Legacy] = NO_LEGACY
    tls_ca: Path | None = None
    client_certificate: ClientCertificate | None = None
    connection: Connection = field(default_factory=Connection)


class KnownCA:
    """The CA of a fleet, and what its servers say of it. Threads share it.

    Args:
        trust: chooses the CA certificate to trust, once.
    """

    def __init__(self, trust: ChooseAnchor) -> None:
        self._trust = trust
        self._lock = Lock()
        self._information: dict[str, CAInformation] = {}
        self._anchor: Certificate | None = None

    def information(self, url: str, ask: Callable[[], CAInformation]) -> CAInformation:
        """Return what a server says, which is asked if it was not yet.

        Raises:
            ScepError: what `ask` raises.
            TransportError: it did not say what it can do.
        """
        with self._lock:
            if url not in self._information:
                found = ask()
                if found.unanswered:
                    raise TransportError(found.unanswered, retry_after=found.retry_after)
                self._information[url] = found
            return self._information[url]

    def anchor(self, said: CAInformation) -> Certificate:
        """Return the CA certificate to trust, the same for all servers.

        Raises:
            ScepError: what `trust` raises.
        """
        with self._lock:
            if self._anchor is None:
                self._anchor = self._trust(said)
            return self._anchor

    def forget(self, url: str, known: CAInformation | None) -> None:
        """Have a server asked again, unless another thread has done that: its RA may be another."""
        with self._lock:
            if self._information.get(url) is known:
                self._information.pop(url, None)


class FleetClient(Client):
    """A client that shares what is known of the CA, and asks for everything else once.

    Args:
        server: the fleet's.
        url: of the device's server; "" for the fleet's.
        transport: the way to it.
        known: what is known of the CA.
    """

    def __init__(self, server: FleetServer, url: str, transport: Transport, known: KnownCA) -> None:
        super().__init__(
            url or server.url,
            identifier=server.identifier,
            transport=transport,
            allowed=server.allowed,
            limits=_ONCE,
        )
        self._known = known
        self._used: CAInformation | None = None

    def ask(self) -> CAInformation:
        """Return what is known of the server's CA; see `CAClient.ask`."""
        self._used = self._known.information(self.url, super().ask)
        return self._used

    def forget(self) -> None:
        """Have the server asked again about its CA."""
        self._known.forget(self.url, self._used)
