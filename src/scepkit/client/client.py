"""A SCEP client for other programs.

with Client("http://ca.example/scep") as client:
    ca = client.get_ca("sha256:5a1f…")
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, "CN=dev1,O=Example", challenge="…")
    issued.certificate, issued.chain

    issued = client.renew(ca, key, issued.certificate, generate_key("rsa:2048"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from scepkit.client import flows
from scepkit.client.folder.record import Record
from scepkit.client.secret_source import Secrets
from scepkit.client.tls import ClientCertificate
from scepkit.client.transport import Pause, Transport, run_flow, sleep
from scepkit.client.trust import CA, SCEPServer
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.scep.flow import Flow, Limits

if TYPE_CHECKING:
    from scepkit.client.http import HTTPTransport

__all__ = ["CA", "Client", "Connection"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _run(
    flow: Callable[Concatenate[SCEPServer, _P], Flow[_T]],
) -> Callable[Concatenate[Client, _P], _T]:
    """Return the method of a client that runs a flow to its end."""

    @wraps(flow)
    def method(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self.run(flow(self, *args, **kwargs))

    return method


class Client(SCEPServer):
    """Gets certificates from one SCEP server.

    Its methods are the flows of `scepkit.flows`. It may be used in several threads at once.

    Args:
        url: the server's, such as `http://ca.example/scep`.
        identifier: selects among several CAs, for servers that need it.
        transport: the way to reach it; HTTP(S) by urllib3 unless given. One that is given is its
            owner's to close.
        allowed: legacy algorithms to use with a CA that can do no better.
        limits: the pace of polling, and its end.
        pause: called for every wait; see `run_flow`.

    Raises:
        UsageError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        identifier: str = "",
        transport: Transport | None = None,
        allowed: frozenset[Legacy] = NO_LEGACY,
        limits: Limits | None = None,
        pause: Pause = sleep,
    ) -> None:
        super().__init__(url, identifier=identifier, allowed=allowed, limits=limits)
        self._own: HTTPTransport | None = None
        if transport is None:
            self._own = transport = _http_transport()
        self._transport = transport
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open; a later request opens one again."""
        if self._own is not None:
            self._own.close()

    def run(self, flow: Flow[_T]) -> _T:
        """Run a flow with this server.

        Args:
            flow: of `scepkit.flows` or `scepkit.transaction`, or one of your own.

        Raises:
            ScepError: what the flow raises.
        """
        return run_flow(flow, self._transport, self.url, self._pause)

    get_capabilities = _run(flows.get_capabilities)
    ask = _run(flows.ask)
    get_ca = _run(flows.get_ca)
    get_next_certificates = _run(flows.get_next_certificates)
    get_next_ca = _run(flows.get_next_ca)
    get_renewal_info = _run(flows.get_renewal_info)
    enrol = _run(flows.enrol)
    renew = _run(flows.renew)
    submit = _run(flows.submit)
    resume = _run(flows.resume)
    get_cert = _run(flows.get_cert)
    get_crl = _run(flows.get_crl)
    revoke = _run(flows.revoke)


def _http_transport() -> HTTPTransport:
    # Here, since urllib3 takes as long to import as everything else together.
    from scepkit.client.http import HTTPTransport

    return HTTPTransport()


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to servers, as far as no record keeps it.

    Attributes:
        timeout: seconds for one HTTP request and its answer.
        proxy: URL of an HTTP proxy; "" for none, None for the environment's.
        limits: the pace of polling, and its end.
        pause: called for every wait.
        secrets: reads the passphrase of a TLS client certificate's key.
    """

    timeout: float = 30.0
    proxy: str | None = None
    limits: Limits | None = None
    pause: Pause = sleep
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    def client(self, record: Record) -> Client:
        """Return a client for the server of a record; its `with` block closes the connections.

        Raises:
            SettingsError: a file for TLS cannot be used, or the record is damaged.
        """
        return _RecordedClient(record, self)

    def transport_of(
        self,
        record: Record,
        tls_ca: Path | None = None,
        *,
        longest: float = inf,
        max_response: int | None = None,
    ) -> HTTPTransport:
        """Return the transport to the server of a record.

        Args:
            record: says what HTTPS is checked with, and what is shown by it.
            tls_ca: what it is checked with in place of that.
            longest: seconds that an exchange may take where `timeout` allows more.
            max_response: octets that an answer may have; as is usual unless given.

        Raises:
            SettingsError: a file for TLS cannot be used.
        """
        recorded = Path(record.tls_ca) if record.tls_ca else None
        return self.transport(
            tls_ca or recorded,
            client_certificate=record.client_certificate(self.secrets),
            longest=longest,
            max_response=max_response,
        )

    def transport(
        self,
        tls_ca: Path | None = None,
        *,
        client_certificate: ClientCertificate | None = None,
        longest: float = inf,
        max_response: int | None = None,
    ) -> HTTPTransport:
        """Return the transport to a server.

        Args:
            tls_ca: file of the certificates to check HTTPS with; None for the system's.
            client_certificate: shown to a server that wants to see one.
            longest: seconds that an exchange may take where `timeout` allows more.
            max_response: octets that an answer may have; as is usual unless given.

        Raises:
            SettingsError: a file for TLS cannot be used.
        """
        # Here, since urllib3 takes as long to import as everything else together.
        from scepkit.client.http import HTTPTransport
        from scepkit.client.http_policy import MAX_RESPONSE

        return HTTPTransport(
            timeout=min(self.timeout, longest),
            ca_file=tls_ca,
            client_certificate=client_certificate,
            proxy=self.proxy,
            max_response=max_response or MAX_RESPONSE,
        )


class _RecordedClient(Client):
    """A client for the server of a record, with a transport of its own."""

    def __init__(self, record: Record, connection: Connection) -> None:
        transport = connection.transport_of(record)
        super().__init__(
            record.url,
            identifier=record.ca_id,
            transport=transport,
            allowed=record.allowed,
            limits=connection.limits,
            pause=connection.pause,
        )
        self._own = transport
