"""What the HTTP layer does to peers that never come to an end, and to all others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import uvloop

from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.http import connection as wire
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.connections import Connections
from scepkit.server.http.exchange import ClientGone
from scepkit.server.http.peers import Proxies
from scepkit.server.http.serving import HTTPServer
from scepkit.server.http.tally import Tally
from server.live import read_answer
from waiting import PATIENCE, wait_until

HEAD = b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: a\r\n"
REQUEST = HEAD + b"Content-Length: 100\r\n\r\n"
SMALL = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
WAITS = b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n"

# More than the network between two processes holds.
LARGE_BODY = bytes(32 * 1024 * 1024)
LARGE_SIZE = 1_000_000_000

GENEROUS = Bounds(request_seconds=PATIENCE, response_seconds=PATIENCE)


class Serving:
    """A server with our protocol, in a thread.

    Attributes:
        connections: what it counts; None before it has started.
        release: lets requests of /waits go on.
        heard: that a peer has gone, or sends nothing more, by a request of /listens.
        gives_up: whether that request then has no answer.
        asked: the paths that were asked for.
        told: the bounds that were reached.
    """

    def __init__(self, bounds, loop):
        self._bounds = bounds
        self._loop = loop
        self.connections = None
        self.release = threading.Event()
        self.heard = threading.Event()
        self.gives_up = False
        self.asked = []
        self.told = []
        self.before = lambda _: None

    async def answer(self, exchange):
        """Answer with the size of the body, once it is whole; or as the path says."""
        path = exchange.head.path
        self.asked.append(path)
        if path == "/early":
            await exchange.send(HTTPResponse(404, b"early"))
            return
        if path == "/begins":
            await exchange.send(HTTPResponse(200, LARGE_BODY))
            return
        size = len(await exchange.body(LARGE_SIZE))
        if path == "/silent":
            return
        if path == "/listens":
            await exchange.gone()
            self.heard.set()
        if path in ("/listens", "/waits"):
            await asyncio.to_thread(self.release.wait, PATIENCE)
        if self.gives_up:
            raise ClientGone
        if path == "/fails":
            raise ZeroDivisionError
        body = LARGE_BODY if path == "/large" else str(size).encode()
        headers = {"x": "a\r\nb: c"} if path == "/fails-by-header" else {}
        await exchange.send(HTTPResponse(200, body, headers=headers))

    @contextmanager
    def run(self):
        """Serve; `before` is what peers did before anybody was let in."""
        started = threading.Event()

        async def serve():
            self.connections = Connections(self._bounds, Tally())
            self.connections.alarms.ring = lambda bound, **_: self.told.append(bound)
            server, loop = HTTPServer(self.answer, self.connections), asyncio.get_running_loop()
            self.stop = lambda: loop.call_soon_threadsafe(server.stop)
            started.set()
            await server.serve(listener)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._address = listener.getsockname()

            def run():
                with asyncio.Runner(loop_factory=self._loop) as runner:
                    runner.run(serve())

            thread = threading.Thread(target=run)
            self.before(self)
            thread.start()
            assert started.wait(PATIENCE)
            try:
                yield self
            finally:
                self.release.set()
                with contextlib.suppress(RuntimeError):  # it has stopped
                    self.stop()
                thread.join()

    def connect(self, source="127.0.0.1", **options):
        return socket.create_connection(
            self._address, timeout=PATIENCE, source_address=(source, 0), **options
        )


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def serving(request):
    """Start a server with these bounds, on either event loop."""

    def serving(before=None, **bounds):
        server = Serving(replace(GENEROUS, **bounds), request.param)
        server.before = before or server.before
        return stack.enter_context(server.run())

    with contextlib.ExitStack() as stack:
        yield serving


def ended(connection):
    """Read to the end of a connection; return what came."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def bodies(connection):
    """Read answers to the end of a connection; return their bodies."""
    with connection.makefile("rb") as stream:
        found = []
        while stream.readline() == b"HTTP/1.1 200 OK\r\n":
            lines = list(iter(stream.readline, b"\r\n"))
            (length,) = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
            found.append(stream.read(length))
    return found


def status(connection, request=SMALL):
    """Ask, and return the status."""
    connection.sendall(request)
    return read_answer(connection).status


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /sc", REQUEST[:-2], REQUEST, REQUEST + b"x" * 99])
def test_a_request_that_never_becomes_whole(serving, sent):
    """A connection whose request does not arrive in time is closed, wherever it stopped."""
    server = serving(request_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(sent)
        assert ended(connection) == b""
    assert server.told == (["slow request"] if sent else [])


def test_a_request_that_drips(serving):
    """Each octet comes soon after the one before, and the time is over all the same."""
    server = serving(request_seconds=0.2)
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b"x")
    assert server.told == ["slow request"]


def test_a_request_that_is_whole_has_no_deadline(serving):
    """What is answered slowly is answered, while what is sent slowly is given up beside it."""
    server = serving(request_seconds=0.2, response_seconds=0.2)
    with server.connect() as patient, server.connect() as silent:
        patient.sendall(WAITS)
        assert ended(silent) == b""
        server.release.set()
        assert read_answer(patient).status == 200


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_a_response_that_nobody_takes(serving, more):
    """Whoever does not read is not kept, be it that the connection was to end anyhow."""
    server = serving(response_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(LARGE[:-2] + more + b"\r\n")
        wait_until(lambda: server.told, "the end of patience")
        # What had been on its way is all that there is.
        assert len(ended(connection)) < len(LARGE_BODY)
    assert server.told == ["slow reader"]


def test_a_connection_without_a_further_request(serving, monkeypatch):
    monkeypatch.setattr(wire, "KEEP_ALIVE", 0.2)
    server = serving()
    with server.connect() as connection:
        assert status(connection) == 200
        assert ended(connection) == b""


# --- pipelining -----------------------------------------------------------------------------------


def test_no_more_is_read_than_may_wait(serving):
    """Thousands of requests at once: few of them are held at a time, and all are answered."""
    server, times = serving(pipelined=4), 5000
    with server.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(WAITS + SMALL * times,))
        sender.start()
        wait_until(lambda: server.told and server.asked, "the bound, and the first request")
        (served,) = server.connections._counted
        assert len(served._queue) < 50
        assert served.held < 3 * 65536
        assert server.asked == ["/waits"]
        server.release.set()
        with connection.makefile("rb") as stream:
            for _ in range(times + 1):
                assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
                while stream.readline() != b"\r\n":
                    pass
                assert stream.read(1) == b"0"
        sender.join()
    assert set(server.told) == {"pipelined requests"}


def test_bodies_that_wait_are_bounded(serving):
    """Requests with bodies wait in the network, not in the server."""
    server = serving(pipelined=1000)
    request = HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 60000
    with server.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(WAITS + request * 200,))
        sender.start()
        wait_until(lambda: server.connections._held > 65536, "two of them")
        assert server.connections._held < 5 * 65536
        server.release.set()
        with connection.makefile("rb") as stream:
            answers = 0
            while answers < 201:
                answers += b"HTTP/1.1 200" in stream.readline()
        sender.join()


def test_answers_before_the_refusal_of_what_follows(serving):
    """Octets that are no request end the connection after the answers to those that are."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(WAITS + SMALL + b"\x16\x03\x01\x02\x00\x01\x00")
        server.release.set()
        received = ended(connection)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"400"]


# --- how many -------------------------------------------------------------------------------------


def test_connections_of_one_address(serving):
    """The one that has been waited for longest gives way; other addresses do not matter."""
    server = serving(per_address=3)
    with contextlib.ExitStack() as stack:
        first, *others = (stack.enter_context(server.connect("127.0.0.2")) for _ in range(3))
        elsewhere = stack.enter_context(server.connect("127.0.0.3"))
        assert [status(one) for one in (*others, first, elsewhere)] == [200] * 4
        newest = stack.enter_context(server.connect("127.0.0.2"))
        assert ended(others[0]) == b""
        assert [status(one) for one in (newest, others[1], first, elsewhere)] == [200] * 4
    assert server.told == ["connections of one address"]


def test_connections_in_all(serving):
    """At the bound whoever keeps the server waiting gives way, and whoever is answered does not."""
    server = serving(connections=3)
    with contextlib.ExitStack() as stack:
        busy, silent, half = (
            stack.enter_context(server.connect(f"127.0.0.{n}")) for n in range(2, 5)
        )
        busy.sendall(WAITS)
        wait_until(lambda: server.asked, "the first request")
        half.sendall(REQUEST)
        newest = [stack.enter_context(server.connect(f"127.0.1.{n}")) for n in (1, 2)]
        assert ended(silent) == ended(half) == b""
        for one in newest:
            one.sendall(WAITS)
        wait_until(lambda: len(server.asked) == 3 + server.asked.count("/scep"), "all of them")
        refused = read_answer(stack.enter_context(server.connect("127.0.1.3")))
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        server.release.set()
        assert [read_answer(one).status for one in (busy, *newest)] == [200] * 3
    assert server.told == ["connections"] * 3


@pytest.mark.parametrize(("same", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "::2")])
def test_addresses_behind_a_proxy(serving, same, other):
    """Requests that a listed proxy forwards are counted by the address that it names."""
    server = serving(per_address=2, proxies=Proxies(["127.0.0.0/24"]))

    def forwarded(address, request):
        header = f"X-Forwarded-For: 203.0.113.9, {address}\r\n\r\n".encode()
        return request[:-2] + header

    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(4)]
        for number in range(2):
            connections[number].sendall(forwarded(same, WAITS))
        wait_until(lambda: len(server.asked) == 2, "both requests")
        assert status(connections[2], forwarded(same, SMALL)) == 503
        assert status(connections[2], forwarded(other, SMALL)) == 200
        assert status(connections[3], SMALL) == 200
        server.release.set()
        assert [read_answer(one).status for one in connections[:2]] == [200] * 2
        assert status(connections[2], forwarded(same, SMALL)) == 200
    assert server.told == ["connections of one address"]


def test_what_is_gone_is_not_counted(serving):
    server = serving(per_address=2)
    for reset in (True, False) * 10:
        with server.connect("127.0.0.2") as connection:
            assert status(connection) == 200
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not server.connections._counted, "the end of the connection")
    assert server.connections._tally.total == server.connections._tally.of("127.0.0.2") == 0
    assert server.connections._held == 0
    assert not server.connections._waiting_of
    assert server.told == []


def test_peers_that_are_gone_before_their_turn(serving):
    """Nobody waits while they are answered: what they asked is not even looked at."""

    def hang_up(server):
        for _ in range(20):
            with server.connect("127.0.0.2") as connection:
                connection.sendall(LARGE)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = serving(before=hang_up)
    with server.connect() as connection:
        assert status(connection) == 200
    assert server.asked == ["/small"]
    assert server.connections._tally.of("127.0.0.2") == 0


def test_octets_in_all(serving, monkeypatch):
    """Whoever holds most gives way when all together hold too much."""
    monkeypatch.setattr("scepkit.server.http.connections._MAX_HELD", 50_000)
    server = serving()
    head = HEAD + b"X: "
    with server.connect() as most, server.connect() as little:
        most.sendall(head + b"a" * 30_000)
        wait_until(lambda: server.connections._held > 30_000, "its octets")
        little.sendall(head + b"a" * 25_000)
        assert ended(most) == b""
        assert server.connections._held < 30_000
        assert status(little, b"\r\n\r\n") == 200
    assert server.told == ["octets of requests"]
    wait_until(lambda: not server.connections._counted, "the end of both")
    assert server.connections._held == 0


# --- HTTP -----------------------------------------------------------------------------------------


def test_a_peer_that_has_finished_sending(serving):
    """What arrived before the end of the peer's side is answered (`nc -N`)."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(WAITS + SMALL + SMALL[:9])
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.asked, "the request")
        server.release.set()
        assert ended(connection).count(b"200 OK") == 2


@pytest.mark.parametrize("sent", [b"", SMALL[:9], REQUEST + b"x"])
def test_a_peer_that_hangs_up_in_between(serving, sent):
    server = serving()
    with server.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert ended(connection) == b""
    wait_until(lambda: not server.connections._counted, "the end of the connection")


def test_a_peer_that_goes_while_it_is_answered(serving):
    """The application that listens for it hears of it then, and not before."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"GET /listens HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: server.asked, "the request")
        with server.connect() as other:
            assert status(other) == 200
        assert not server.heard.is_set()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert server.heard.wait(PATIENCE)


@pytest.mark.parametrize("how", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_peer_that_sends_nothing_more_while_it_is_answered(serving, how, is_last):
    """The application hears of it; whether there is an answer is its business."""
    server = serving()
    server.gives_up = is_last
    with server.connect() as connection:
        connection.sendall(b"GET /listens HTTP/1.1\r\nHost: a\r\n" + how + b"\r\n")
        wait_until(lambda: server.asked, "the request")
        assert not server.heard.is_set()
        connection.shutdown(socket.SHUT_WR)
        assert server.heard.wait(PATIENCE)
        server.release.set()
        assert ended(connection)[:12] == (b"" if is_last else b"HTTP/1.1 200")
    wait_until(lambda: not server.connections._counted, "the end of the connection")


def test_behind_the_last_request_no_more_is_read_than_fits_a_buffer(serving):
    """What a peer goes on sending while it is answered is held, and bounded."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(WAITS.replace(b"Host", b"Connection: close\r\nHost"))
        wait_until(lambda: server.asked, "the request")
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(bytes(65536))
        (one,) = server.connections._counted
        assert one.held <= 2 * len(server.connections.buffer)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_another_protocol_that_is_offered(serving, body):
    """Java's client offers HTTP/2 with its first request, body and all; it is ignored."""
    server = serving()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    last = SMALL[:-2] + b"Connection: close\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(HEAD + offer + body + SMALL[:-2] + offer + b"\r\n" + last)
        assert bodies(connection) == [b"5", b"0", b"0"]
    assert server.asked == ["/scep", "/small", "/small"]


@pytest.mark.parametrize("size", [1, 7, 1000, 5000])
def test_a_body_in_pieces(serving, size):
    """A chunked body is read, however it is cut, and its trailers are ignored."""
    server = serving()
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (n, b"x" * n) for n in range(1, 100))
    request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX: y\r\n\r\n"
    request += SMALL[:-2] + b"Connection: close\r\n\r\n"
    with server.connect() as connection:
        for at in range(0, len(request), size):
            connection.sendall(request[at : at + size])
        assert bodies(connection) == [b"4950", b"0"]


@pytest.mark.parametrize("path", ["/fails", "/silent", "/fails-by-header"])
def test_an_application_that_fails(serving, path):
    """What fails before its first octet is HTTP 500, and the connection goes on."""
    server = serving()
    with server.connect() as connection:
        assert status(connection, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == 500
        assert status(connection) == 200


def test_an_answer_without_its_body(serving):
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"HEAD /small HTTP/1.1\r\nHost: a\r\n\r\n" + SMALL)
        with connection.makefile("rb") as stream:
            assert b"content-length: 1\r\n" in list(iter(stream.readline, b"\r\n"))
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"


def test_more_headers_than_anybody_needs(serving):
    server = serving()
    with server.connect() as connection:
        assert status(connection, SMALL[:-2] + b"a:\r\n" * 200 + b"\r\n") == 400
        assert ended(connection) == b""


CHUNKED = b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(size, each=1000):
    """Write a body of octets in chunks."""
    return b"%x\r\n%b\r\n" % (each, b"x" * each) * (size // each) + b"0\r\n\r\n"


@pytest.mark.parametrize("before", [b"", WAITS, SMALL * 8])
@pytest.mark.parametrize("size", [70_000, 130_000, 1_000_000])
def test_a_large_body_at_once(serving, size, before):
    """It is more than is held at a time: what was kept back is news when it comes."""
    server = serving()
    length = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
    with server.connect() as connection:
        requests = before + b"POST /a" + CHUNKED + chunks(size) + b"POST /b" + length + b"x" * size
        sender = threading.Thread(target=connection.sendall, args=(requests,))
        sender.start()
        wait_until(lambda: server.asked, "the first request")
        server.release.set()
        assert bodies(connection)[-2:] == [b"%d" % size] * 2
        sender.join()


def test_a_body_that_breaks_after_its_answer(serving):
    """One request has one answer."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"POST /early" + CHUNKED + b"5\r\n")
        assert read_answer(connection).status == 404
        connection.sendall(b"helloZZZ\r\n")
        assert ended(connection) == b""


def test_a_body_that_breaks_within_its_answer(serving):
    """Nothing is written into it."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"POST /begins" + CHUNKED + b"5\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(b"helloZZZ\r\n")
        received = ended(connection)
    assert len(received) < len(LARGE_BODY)
    assert b"HTTP" not in received


def test_blanks_around_a_header(serving):
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: \t3 \t\r\n")
        connection.sendall(b"Expect: 100-continue \r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert read_answer(connection).body == b"3"


def test_the_time_for_a_request_begins_with_it(serving):
    """Not with the request before, whose answer did not wait for its end."""
    server = serving()
    with server.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert read_answer(connection).status == 404
        (served,) = server.connections._counted
        served._deadline = 0.0
        connection.sendall(b"hello" + SMALL[:9])
        wait_until(lambda: served._deadline, "another deadline")
        assert status(connection, SMALL[9:]) == 200


def test_a_timer_that_comes_early(serving):
    """It was set for another deadline: nobody is given up, and it is set again."""
    server = serving()
    with server.connect() as connection:
        assert status(connection) == 200
        (served,) = server.connections._counted
        connection.sendall(SMALL[:9])
        wait_until(lambda: served._state is wire._State.READING, "the next request")
        looked = threading.Event()
        served._loop.call_soon_threadsafe(lambda: (served._look(), looked.set()))
        assert looked.wait(10)
        assert served._timer.when() >= served._deadline
        assert status(connection, SMALL[9:]) == 200


def test_a_stranger_does_not_hold_up_the_end(serving, monkeypatch):
    """Who sends or reads slowly has some seconds left when the server is stopped."""
    monkeypatch.setattr(wire, "_LAST", 0.2)
    server = serving()
    with contextlib.ExitStack() as stack:
        half, unread, idle = (stack.enter_context(server.connect()) for _ in range(3))
        half.sendall(REQUEST)
        unread.sendall(LARGE)
        wait_until(lambda: len(server.asked) == 2, "both requests")
        assert status(idle) == 200
        server.stop()
        assert [ended(one) for one in (half, idle)] == [b"", b""]
        wait_until(lambda: not server.connections._counted, "the end of all")


@pytest.mark.parametrize("value", [b"unknown", b"192.0.2.1, unknown", b"_hidden", b"127.0.0.1"])
def test_a_proxy_that_names_no_address(serving, value):
    """All whom it does not name share what one address may have."""
    server = serving(per_address=1, proxies=Proxies(["127.0.0.1"]))
    header = b"X-Forwarded-For: " + value + b"\r\n\r\n"
    with server.connect() as first, server.connect() as second:
        first.sendall(WAITS[:-2] + header)
        wait_until(lambda: server.asked, "the request")
        assert status(second, SMALL[:-2] + header) == 503


def test_a_large_body_that_waits_is_bounded(serving):
    """One body that nobody takes yet waits in the network as well, all but its beginning."""
    server, size = serving(), 10_000_000
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
    with server.connect() as connection:
        request = WAITS + head + b"x" * size
        sender = threading.Thread(target=connection.sendall, args=(request,))
        sender.start()
        (served,) = wait_until(lambda: tuple(server.connections._counted), "the connection")
        wait_until(lambda: served._is_paused or served.held > 5 * 65536, "the bound")
        assert served.held < 5 * 65536
        server.release.set()
        assert bodies(connection) == [b"0", b"%d" % size]
        sender.join()


def refused_lines(logged):
    return [line for line in logged if line["event"] == "an HTTP request is refused"]


def test_what_is_no_request_is_in_the_log(serving, logged):
    """With its peer and the reason, once a minute for each; a request of TLS has a hint."""
    server = serving()
    sent = [b"\x16\x03\x01\x02\x00\x01\x00", b"FOO / HTTP/1.1\r\n", b"G\0T / HTTP/1.1\r\n"]
    sent += [SMALL[:-2] + b"a:\r\n" * 200 + b"\r\n", b"GET /small HTTP/1.1\r\n\r\n"]
    for octets in sent:
        with server.connect() as connection:
            assert status(connection, octets) == 400
    lines = refused_lines(logged)
    assert [line["peer"] for line in lines] == ["127.0.0.1"] * 3
    assert [line["reason"] for line in lines] == [
        "not an HTTP request: it begins like TLS",
        "the request has more than 128 headers",
        "HTTP/1.1 needs one Host",
    ]
    assert [(line["status"], line["times"]) for line in lines] == [(400, 1)] * 3
    assert [line.get("hint", "")[:28] for line in lines] == ["the server speaks plain http", "", ""]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"FOO / HTTP/1.1\r\n", "Invalid method encountered"),
        (b"GET http://[secret HTTP/1.1\r\nHost: a\r\n\r\n", "its URL cannot be read"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "its URL cannot be read"),
    ],
)
def test_why_it_is_no_request(serving, logged, octets, reason):
    server = serving()
    with server.connect() as connection:
        assert status(connection, octets) == 400
    (line,) = refused_lines(logged)
    assert line["reason"] == f"not an HTTP request: {reason}"


def test_behind_a_proxy_the_peer_is_the_one_that_it_names(serving, logged):
    """Where it got so far; what comes before its header is the proxy's own."""
    server = serving(proxies=Proxies(("127.0.0.1",)))
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\n"
    with server.connect() as connection:
        assert status(connection, head + b"\r\n") == 400
    with server.connect() as connection:
        assert status(connection, b"FOO / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n") == 400
    assert [line["peer"] for line in refused_lines(logged)] == ["192.0.2.7", "127.0.0.1"]
