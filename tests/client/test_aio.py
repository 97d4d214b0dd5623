"""AsyncClient where it differs from Client: the event loop, cancellation, many at once, its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading

import pytest

import keys
from hostile import Hostile, read_head
from httpd import HANG
from pair import grant
from scepkit import AsyncClient, Client, Legacy, flows, run_flow_async
from scepkit.client.aio_http import AsyncHTTPTransport
from scepkit.errors import TransportError, UsageError
from scepkit.protocol.scep import http
from scepkit.protocol.scep.flow import Wait
from scepkit.protocol.scep.http import HTTPResponse, Operation
from waiting import PATIENCE, wait_until

CAPS = http.get(Operation.GET_CA_CAPS)
KEY = keys.rsa_key("client")


class Script:
    """A transport that answers what it was told to, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def send(self, url, request):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


# --- both clients ---------------------------------------------------------------------------------


def test_both_clients_have_the_same_methods():
    """Every flow is a method of both, with the same arguments but for the server."""
    public = {n: f for n, f in vars(flows).items() if inspect.isgeneratorfunction(f)}
    assert {"enrol", "get_ca", "revoke"} <= public.keys()
    for name, flow in public.items():
        for client in (Client, AsyncClient):
            method = getattr(client, name)
            assert method.__doc__ == flow.__doc__
            assert inspect.signature(method) == inspect.signature(flow)
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name))

    def methods(client):
        return {n for n, f in vars(client).items() if callable(f) and not n.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_an_argument_that_cannot_be_meant():
    with pytest.raises(UsageError):
        AsyncClient("ftp://ca.example/")
    assert AsyncClient("http://ca.example/scep", allowed=frozenset({Legacy.SHA1})).allowed


# --- the driver -----------------------------------------------------------------------------------


def test_the_flow_decides_what_a_lost_answer_means():
    def flow():
        try:
            yield CAPS
        except TransportError as error:
            yield Wait(3, error.message)
        return (yield CAPS).status

    waits = []

    async def pause(wait):
        waits.append(wait)

    transport = Script(TransportError("lost"), HTTPResponse(200, b""))
    assert asyncio.run(run_flow_async(flow(), transport, "http://x/", pause)) == 200
    assert waits == [Wait(3, "lost")]


def test_a_flow_without_any_step():
    def flow():
        return 7
        yield

    assert asyncio.run(run_flow_async(flow(), Script(), "http://x/")) == 7


def test_the_loop_is_free_while_a_key_is_used():
    """Each step of a flow is somewhere else; the loop goes on meanwhile, or this hangs."""
    at_work, go_on = threading.Event(), threading.Event()
    threads = []

    def flow():
        threads.append(threading.get_ident())
        at_work.set()
        assert go_on.wait(PATIENCE)
        yield CAPS
        threads.append(threading.get_ident())
        yield Wait(0, "")
        threads.append(threading.get_ident())

    async def main():
        running = asyncio.create_task(
            run_flow_async(flow(), Script(HTTPResponse(200, b"")), "http://x/")
        )
        await asyncio.to_thread(at_work.wait, PATIENCE)
        go_on.set()
        await running
        return threading.get_ident()

    assert asyncio.run(main()) not in threads
    assert len(threads) == 3


# --- cancellation ---------------------------------------------------------------------------------


def tasks():
    return asyncio.all_tasks() - {asyncio.current_task()}


async def cancelled(running, when):
    """Cancel a task when something has happened, and make sure that it is over."""
    await asyncio.to_thread(wait_until, when)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()
    assert not tasks()


@pytest.mark.parametrize("operation", [Operation.GET_CA_CAPS, Operation.PKI_OPERATION])
def test_cancelled_while_the_server_thinks(serve, operation):
    """The connection is closed, and the next call has one of its own."""
    site = serve(grant, grant)

    async def main():
        async with AsyncClient(site.url) as client:
            ca = await client.get_ca(site.fingerprint)
            before = len(site.requests)
            site.next(operation, HANG)
            running = asyncio.create_task(
                client.get_capabilities()
                if operation is Operation.GET_CA_CAPS
                else client.enrol(ca, KEY, "CN=dev1")
            )
            await cancelled(running, lambda: len(site.requests) > before)
            assert not client._transport._session.connector._acquired
            return await client.enrol(ca, KEY, "CN=dev1")

    assert str(asyncio.run(main()).certificate.subject_name) == "CN=dev1"


def test_cancelled_while_it_waits(serve):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTTPResponse(503, b"busy"))
    waits = []

    async def pause(wait):
        waits.append(wait)
        await asyncio.Event().wait()

    async def main():
        async with AsyncClient(site.url, pause=pause) as client:
            await cancelled(asyncio.create_task(client.get_capabilities()), lambda: waits)

    asyncio.run(main())
    assert len(site.requests) == 1


def test_cancelled_while_a_key_is_used(serve):
    """What is under way ends by itself, and sends nothing."""
    at_work, go_on = threading.Event(), threading.Event()

    def flow():
        at_work.set()
        assert go_on.wait(PATIENCE)
        yield CAPS

    transport = Script()

    async def main():
        running = asyncio.create_task(run_flow_async(flow(), transport, "http://x/"))
        await cancelled(running, at_work.is_set)
        go_on.set()

    asyncio.run(main())


def test_cancelled_while_others_wait_for_their_turn(serve):
    """One that gives up takes no turn with it."""
    site = serve()

    async def main():
        async with AsyncHTTPTransport(max_connections=1) as transport:
            site.next(Operation.GET_CA_CAPS, HANG)
            first = asyncio.create_task(transport.send(site.url, CAPS))
            second = asyncio.create_task(transport.send(site.url, CAPS))
            third = asyncio.create_task(transport.send(site.url, CAPS))
            await asyncio.to_thread(wait_until, lambda: site.requests)
            second.cancel()
            first.cancel()
            assert (await third).status == 200
            await asyncio.gather(first, second, return_exceptions=True)

    asyncio.run(main())


# --- its bounds -----------------------------------------------------------------------------------


def test_waiting_for_a_turn_takes_no_time_of_the_exchange(serve, monkeypatch):
    site = serve()
    begun, timeout = [], asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda s: begun.append(s) or timeout(s))

    async def main():
        async with AsyncHTTPTransport(max_connections=1, timeout=PATIENCE) as transport:
            site.next(Operation.GET_CA_CAPS, HANG)
            first = asyncio.create_task(transport.send(site.url, CAPS))
            second = asyncio.create_task(transport.send(site.url, CAPS))
            await asyncio.to_thread(wait_until, lambda: site.requests)
            assert begun.count(PATIENCE) == 1
            first.cancel()
            assert (await second).status == 200
            assert begun.count(PATIENCE) == 2
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(main())


def test_a_half_answer(serve):
    def behave(connection, _pause):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async def ask(url):
        async with AsyncHTTPTransport(timeout=PATIENCE) as transport:
            await transport.send(url, CAPS)

    with Hostile(behave) as server, pytest.raises(TransportError, match="broke off"):
        asyncio.run(ask(server.url))


def test_what_is_compressed_stays_so(serve):
    """Nobody asked for it, and a bomb would be larger than any bound on what is read."""
    site = serve()
    bomb = HTTPResponse(200, b"\x1f\x8b not opened", headers={"Content-Encoding": "gzip"})
    site.next(Operation.GET_CA_CAPS, bomb)

    async def ask():
        async with AsyncHTTPTransport() as transport:
            return await transport.send(site.url, CAPS)

    assert asyncio.run(ask()).body == b"\x1f\x8b not opened"


# --- its end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_closing_closes_every_connection(serve, tls_files, tls):
    """Nothing warns afterwards: what is left open would, and pytest makes an error of it."""
    site = serve(tls=tls_files / "server.pem" if tls else None)

    async def main():
        async with (
            AsyncHTTPTransport(ca_file=tls_files / "ca.pem") as transport,
            AsyncClient(site.url, transport=transport) as client,
        ):
            await asyncio.gather(*(client.get_capabilities() for _ in range(5)))
            connector = transport._session.connector
        assert connector.closed
        # Of somebody else's transport the client's end is not the end.
        assert (await transport.send(site.url, CAPS)).status == 200
        await transport.close()

    asyncio.run(main())
    gc.collect()


def test_a_given_transport_is_its_owners():
    closed = []

    class Own(Script):
        async def close(self):
            closed.append(self)

    async def main():
        async with AsyncClient("http://x/", transport=Own()):
            pass

    asyncio.run(main())
    assert not closed


def test_a_client_that_was_closed_may_be_used_and_closed_again(serve):
    site = serve()

    async def main():
        client = AsyncClient(site.url)
        for _ in range(2):
            assert await client.get_capabilities()
            await client.close()

    asyncio.run(main())
    gc.collect()
    with Client(site.url) as client:
        assert client.get_capabilities()
        (manager,) = client._transport._managers.values()
        assert len(manager.pools) == 1
    assert len(manager.pools) == 0
