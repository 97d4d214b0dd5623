"""The time-out is for the whole exchange, whatever a server does to draw it out.

Each of these servers needs seconds for what it does and then answers well, so that a client that
waits for it has an answer; the client's time is far shorter. No clock is asked.
"""

from __future__ import annotations

import contextlib
import re
import socket
from types import SimpleNamespace

import pytest

from hostile import Hostile, read_head
from ports import free_port
from scepkit.client import http_bounds as exchange
from scepkit.client.http import HTTPTransport
from scepkit.errors import Hint, TransportError
from scepkit.protocol.scep import http
from scepkit.protocol.scep.http import HTTPRequest, Operation
from waiting import PATIENCE

CAPS = http.get(Operation.GET_CA_CAPS)
LITTLE = 0.3
"""Seconds that the client has."""

_STEP, _STEPS = 0.02, 200
"""How the servers draw things out: 4 seconds, and no wait is as long as LITTLE."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
TOO_SLOW = r"no answer from 127\.0\.0\.1:\d+ within 0\.3 seconds"


def drawn_out(connection, pause, piece, end):
    for _ in range(_STEPS):
        connection.sendall(piece)
        if not pause(_STEP):
            return
    connection.sendall(end)


def head_octet_by_octet(connection, pause):
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: ")
    drawn_out(connection, pause, b"y", b"\r\n\r\nx")


def status_line_octet_by_octet(connection, pause):
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 ")
    drawn_out(connection, pause, b"O", b"\r\nContent-Length: 1\r\n\r\nx")


def interim_answers(connection, pause):
    read_head(connection)
    drawn_out(connection, pause, b"HTTP/1.1 100 Continue\r\n\r\n", OK)


def body_octet_by_octet(connection, pause):
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (_STEPS + 1))
    drawn_out(connection, pause, b"y", b"x")


def trailers_without_end(connection, pause):
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    drawn_out(connection, pause, b"X: y\r\n", b"\r\n")


def redirects(connection, pause):
    """Send on from place to place; each answer comes in time."""
    for _ in range(5):
        read_head(connection)
        if not pause(LITTLE * 0.75):
            return
        place = b"Location: /scep?operation=GetCACaps\r\n"
        connection.sendall(b"HTTP/1.1 307 On\r\n%bContent-Length: 0\r\n\r\n" % place)
    read_head(connection)
    connection.sendall(OK)


def reads_slowly(connection, pause):
    """Take what is sent piece by piece: much is under way in the buffers of the system."""
    left = len(MUCH.body)
    while left > 0 and pause(_STEP):
        piece = connection.recv(len(MUCH.body) // _STEPS)
        if not piece:
            return
        left -= len(piece)
    connection.sendall(OK)


MUCH = HTTPRequest("POST", b"operation=PKIOperation", bytes(64 * 1024 * 1024))


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def asks(request, tls_files, new_transport):
    """Let an impatient client, or one of that patience, ask a hostile server."""

    def asks(behave, question=CAPS, timeout=LITTLE):
        tls = tls_files / "server.pem" if request.param else None
        client = new_transport(timeout=timeout, ca_file=tls_files / "ca.pem")
        with contextlib.closing(client), Hostile(behave, tls=tls) as server:
            return client.send(server.url, question)

    return asks


@pytest.mark.parametrize(
    "behave",
    [head_octet_by_octet, status_line_octet_by_octet, interim_answers, redirects],
)
def test_what_comes_before_an_answer_ends_in_time(asks, behave):
    with pytest.raises(TransportError, match=TOO_SLOW) as caught:
        asks(behave)
    assert caught.value.hint is Hint.NO_ANSWER
    assert caught.value.status is None


@pytest.mark.parametrize("head", [OK[:20], OK[:30], OK[:-3]])
def test_an_answer_that_breaks_off_within_its_head_is_none(asks, head):
    def behave(connection, _pause):
        read_head(connection)
        connection.sendall(head)

    with pytest.raises(TransportError, match="broke off") as caught:
        asks(behave, timeout=PATIENCE)
    assert caught.value.status is None


@pytest.mark.parametrize("behave", [body_octet_by_octet, trailers_without_end])
def test_an_answer_ends_in_time(asks, behave):
    """Where a busy machine is late with the head itself, the client has more time."""
    for timeout in (LITTLE, 1, 3):
        with pytest.raises(TransportError) as caught:
            asks(behave, timeout=timeout)
        if "no answer from" not in str(caught.value):
            break
    assert f"was not complete within {timeout} seconds" in str(caught.value)


def test_sending_ends_in_time(asks):
    with pytest.raises(TransportError, match=TOO_SLOW):
        asks(reads_slowly, MUCH)


def test_interim_answers_end_by_their_number(asks):
    """However much time there is: they come as fast as the client reads."""

    def behave(connection, pause):
        read_head(connection)
        for _ in range(100):
            if not pause(0):
                return
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        connection.sendall(OK)

    with pytest.raises(TransportError, match="has not begun after 262144 octets"):
        asks(behave, timeout=PATIENCE)


def test_a_few_interim_answers_do_no_harm(asks):
    def behave(connection, _pause):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + OK)

    assert asks(behave, timeout=PATIENCE).body == b"x"


def test_the_next_exchange_on_a_connection_has_its_own_time(new_transport):
    """And its own count: more heads than one may be long come by this connection."""

    def behave(connection, _pause):
        connections.append(connection)
        with contextlib.suppress(ConnectionResetError):
            while True:
                read_head(connection)
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000 + OK)

    connections = []
    client = new_transport(timeout=PATIENCE)
    with contextlib.closing(client), Hostile(behave) as server:
        for _ in range(4):
            assert client.send(server.url, CAPS).body == b"x"
    assert len(connections) == 1


@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_a_proxy_answers_ends_in_time(new_transport, tls_files, monkeypatch, scheme, target):
    """What it answers to CONNECT is read before TLS with the server begins."""
    # A proxy that does TLS is checked with the certificates of the system.
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files / "ca.pem"))
    tls = tls_files / "server.pem" if scheme == "https" else None
    with Hostile(head_octet_by_octet, tls=tls) as proxy:
        client = new_transport(timeout=LITTLE, proxy=proxy.origin)
        said = f"no answer from ca.example through the proxy 127.0.0.1:{proxy.port} within 0.3 s"
        with contextlib.closing(client), pytest.raises(TransportError, match=re.escape(said)):
            client.send(f"{target}://ca.example/scep", CAPS)


def test_connecting_shares_the_time_among_the_addresses(monkeypatch):
    """A name with many addresses of which none answers; the clock goes on as they use their time.

    Should urllib3 no longer connect by the method that is replaced, no address is tried here.
    """
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    given = []

    def connect(sock, _address):
        given.append(sock.gettimeout())
        clock.now += sock.gettimeout()
        raise TimeoutError("timed out")

    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))
    monkeypatch.setattr(exchange, "time", clock)
    monkeypatch.setattr(exchange._Socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_how: [address] * 4)
    with (
        contextlib.closing(HTTPTransport(timeout=8)) as client,
        pytest.raises(TransportError, match=r"no answer from ca\.example within 8 seconds"),
    ):
        client.send("http://ca.example/scep", CAPS)
    assert given == [2, 2, 2, 2]


def test_the_first_address_that_answers_is_used(new_transport, serve, monkeypatch):
    site = serve()
    host, _, port = site.origin.removeprefix("http://").partition(":")
    places = [(host, free_port()), (host, int(port))]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_how: found)
    with contextlib.closing(new_transport(timeout=PATIENCE)) as client:
        assert client.send("http://ca.example/scep", CAPS).status == 200


def test_no_time_at_all(new_transport, serve):
    site = serve()
    with (
        contextlib.closing(new_transport(timeout=0)) as client,
        pytest.raises(TransportError, match="within 0 seconds"),
    ):
        client.send(site.url, CAPS)
    assert not site.requests
