"""A SCEP client for asyncio.

async with AsyncClient("http://ca.example/scep") as client:
    ca = await client.get_ca("sha256:5a1f…")
    key = await asyncio.to_thread(generate_key, "rsa:2048")
    issued = await client.enrol(ca, key, "CN=dev1,O=Example", challenge="…")

It runs the very flows that `Client` runs.
What a flow does between two requests, such as to sign and to decrypt, is done in a thread of the
event loop's own pool, so that the loop is free meanwhile; requests and waits are awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
)

from scepkit.client import flows
from scepkit.client.trust import SCEPServer
from scepkit.errors import SettingsError, TransportError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.scep.flow import Flow, Limits, Wait
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

if TYPE_CHECKING:
    from scepkit.client.aio_http import AsyncHTTPTransport

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AsyncTransport(Protocol):
    """Carries one HTTP request to a server and its answer back, for asyncio."""

    async def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request; the arguments and the answer are those of `Transport.send`.

        Raises:
            TransportError: no answer came that could be used.
        """


AsyncPause: TypeAlias = Callable[[Wait], Awaitable[None]]
"""Awaited for every wait of a flow; returns when the time is over."""


async def sleep(wait: Wait) -> None:
    """Wait as long as a flow asks, and show nothing."""
    # Here and below: `import scepkit` need not load it.
    import asyncio

    await asyncio.sleep(wait.seconds)


async def run_flow_async(
    flow: Flow[_T], transport: AsyncTransport, url: str, pause: AsyncPause = sleep
) -> _T:
    """Run a flow to its end, as `run_flow` does, on the event loop.

    Each step of the flow runs in a thread, one after the other; a key has to bear that.
    Where this is cancelled, a step that is under way ends by itself, and nothing comes after it.

    Args:
        flow: what to do.
        transport: how to reach the server.
        url: where the server is, for the requests that name no other place.
        pause: awaited for every wait.

    Returns:
        What the flow returns.

    Raises:
        ScepError: what the flow raises.
    """
    import asyncio

    step: HTTPRequest | Wait | _End[_T] = await asyncio.to_thread(_resumed, flow.send, None)
    while not isinstance(step, _End):
        if isinstance(step, Wait):
            await pause(step)
            step = await asyncio.to_thread(_resumed, flow.send, None)
            continue
        try:
            response = await transport.send(step.url or url, step)
        except TransportError as error:
            # The flow knows whether that is worth another attempt.
            step = await asyncio.to_thread(_resumed, flow.throw, error)
        else:
            step = await asyncio.to_thread(_resumed, flow.send, response)
    return step.result


@dataclass(frozen=True, slots=True)
class _End(Generic[_T]):
    result: _T


def _resumed(resume: Callable[[Any], HTTPRequest | Wait], value: Any) -> Any:
    """Return the next step of a flow, or its end: no future takes a StopIteration."""
    try:
        return resume(value)
    except StopIteration as stop:
        return _End(stop.value)


def _run(
    flow: Callable[Concatenate[SCEPServer, _P], Flow[_T]],
) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]:
    """Return the method of a client that runs a flow to its end."""

    @wraps(flow)
    async def method(self: AsyncClient, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.run(flow(self, *args, **kwargs))

    return method


class AsyncClient(SCEPServer):
    """Gets certificates from one SCEP server, on an event loop.

    Its methods are the flows of `scepkit.flows`, awaited. It belongs to one event loop; any number
    of its methods may run at once.

    Args:
        url: the server's, such as `http://ca.example/scep`.
        identifier: selects among several CAs, for servers that need it.
        transport: the way to reach it; HTTP(S) by aiohttp unless given. One that is given is its
            owner's to close.
        allowed: legacy algorithms to use with a CA that can do no better.
        limits: the pace of polling, and its end.
        pause: awaited for every wait; see `run_flow_async`.

    Raises:
        UsageError: the URL is none.
        SettingsError: aiohttp is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        identifier: str = "",
        transport: AsyncTransport | None = None,
        allowed: frozenset[Legacy] = NO_LEGACY,
        limits: Limits | None = None,
        pause: AsyncPause = sleep,
    ) -> None:
        super().__init__(url, identifier=identifier, allowed=allowed, limits=limits)
        self._own: AsyncHTTPTransport | None = None
        if transport is None:
            self._own = transport = _http_transport()
        self._transport = transport
        self._pause = pause

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept open; a later request opens one again."""
        if self._own is not None:
            await self._own.close()

    async def run(self, flow: Flow[_T]) -> _T:
        """Run a flow with this server.

        Args:
            flow: of `scepkit.flows` or `scepkit.transaction`, or one of your own.

        Raises:
            ScepError: what the flow raises.
        """
        return await run_flow_async(flow, self._transport, self.url, self._pause)

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


def _http_transport() -> AsyncHTTPTransport:
    try:
        from scepkit.client.aio_http import AsyncHTTPTransport
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"AsyncClient speaks HTTP by aiohttp, and {error.name} is not installed",
            hint="pip install 'scepkit[async]'",
        ) from error
    return AsyncHTTPTransport()
