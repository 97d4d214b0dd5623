"""The transport: what comes through, what does not, and what is said about it."""

from __future__ import annotations

import base64
import contextlib
import email
import socket

import pytest

from hostile import Hostile, read_head
from httpd import DROP, HANG
from ports import free_port
from scepkit.client import http_policy
from scepkit.client.http import HTTPTransport
from scepkit.errors import Hint, SettingsError, TransportError, UsageError
from scepkit.protocol.scep import http
from scepkit.protocol.scep.http import HTTPResponse, Operation
from waiting import PATIENCE

CAPS = http.get(Operation.GET_CA_CAPS)
MESSAGE = http.pki_operation(b"\x30\x00", post=True)


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


def redirect(place, status=302):
    return HTTPResponse(status, b"", headers={"Location": place})


def test_status_body_and_media_type_come_back(serve, transport):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTTPResponse(418, b"x", "Text/Plain; charset=utf-8"))
    answer = transport.send(site.url, CAPS)
    assert (answer.status, answer.body, answer.content_type) == (418, b"x", "text/plain")


def test_a_query_in_the_url_stays(serve, transport):
    site = serve()
    transport.send(f"{site.url}?profile=a", CAPS)
    assert site.requests[0].query == b"profile=a&operation=GetCACaps"


def test_one_connection_carries_several_requests(serve):
    site = serve()
    with HTTPTransport() as transport:
        for _ in range(3):
            assert transport.send(site.url, CAPS).status == 200
        (manager,) = transport._managers.values()
        assert manager.connection_from_url(site.url).num_connections == 1


def test_nobody_listens(transport):
    with pytest.raises(TransportError, match="connection refused") as caught:
        transport.send(f"http://127.0.0.1:{free_port()}/", CAPS)
    assert caught.value.status is None
    assert "port" in caught.value.hint


def test_an_unknown_host(transport, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransportError, match=r"host name nowhere\.invalid is not known") as caught:
        transport.send("http://nowhere.invalid/", CAPS)
    assert "DNS" in caught.value.hint


@pytest.mark.parametrize("name", ["a..example", f"{'a' * 64}.example", "\u2603.example"])
def test_a_host_name_that_cannot_be(transport, monkeypatch, name):
    def fail(host, *args, **kwargs):
        host.encode("idna")
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransportError, match=f"the host name {name} is not known"):
        transport.send(f"http://{name}/", CAPS)


def test_a_server_that_does_not_answer_in_time(new_transport, serve):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HANG)
    with (
        contextlib.closing(new_transport(timeout=0.1)) as impatient,
        pytest.raises(TransportError, match=r"no answer from 127\.0\.0\.1:\d+ within 0\.1 seconds"),
    ):
        impatient.send(site.url, CAPS)


def test_a_connection_that_breaks(serve, transport):
    site = serve()
    site.next(Operation.GET_CA_CAPS, DROP)
    with pytest.raises(TransportError, match="broke off") as caught:
        transport.send(site.url, CAPS)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nAES",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nAE",
        b"AES\r\n\r\n",
    ],
)
def test_a_broken_answer_is_no_status_of_the_servers(new_transport, answer):
    def behave(connection, pause):
        read_head(connection)
        connection.sendall(answer)

    with (
        Hostile(behave) as server,
        contextlib.closing(new_transport(timeout=PATIENCE)) as transport,
        pytest.raises(TransportError, match="broke off") as caught,
    ):
        transport.send(server.url, CAPS)
    assert caught.value.status is None
    said = caught.value.message.partition("broke off")[2]
    assert "400" not in said
    assert "<" not in said


def test_a_body_that_is_too_long(new_transport, serve):
    """One octet above the bound is refused, the longest is read, and the next request is sent."""
    assert http_policy.MAX_RESPONSE == 32 * 1024 * 1024
    site = serve()
    site.next(Operation.GET_CA_CAPS, *(HTTPResponse(200, bytes(n)) for n in (100_001, 100_000)))
    with contextlib.closing(new_transport(timeout=PATIENCE, max_response=100_000)) as transport:
        with pytest.raises(TransportError, match="longer than 100000 octets"):
            transport.send(site.url, CAPS)
        assert len(transport.send(site.url, CAPS).body) == 100_000
        assert transport.send(site.url, CAPS).status == 200


def test_a_get_follows_redirects(serve, transport):
    site = serve()
    site.next(Operation.GET_CA_CAPS, redirect("/elsewhere?operation=GetCACaps"))
    assert transport.send(site.url, CAPS).status == 200
    assert site.paths == ["/scep", "/elsewhere"]


def test_no_cookie_comes_back(transport):
    """What one exchange leaves behind is no part of the next."""

    def behave(connection, _pause):
        for _ in range(2):
            heads.append(read_head(connection).lower())
            head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 1\r\n\r\nx"
            connection.sendall(head)

    heads = []
    with Hostile(behave) as server:
        for _ in range(2):
            # A name, since cookies are not kept for addresses.
            url = server.url.replace("127.0.0.1", "localhost")
            assert transport.send(url, CAPS).status == 200
    assert [b"\r\ncookie:" in head for head in heads] == [False, False]


def test_redirects_end(serve, transport):
    site = serve()
    site.next(Operation.GET_CA_CAPS, *[redirect("/round?operation=GetCACaps")] * 10)
    with pytest.raises(TransportError, match="redirects more than 5 times") as caught:
        transport.send(site.url, CAPS)
    assert "log-in page" in caught.value.hint
    assert len(site.requests) == 6


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_does_not_follow_what_may_make_a_get_of_it(serve, transport, status):
    site = serve()
    site.next(Operation.PKI_OPERATION, redirect("https://other.example/scep?x", status))
    with pytest.raises(TransportError, match="redirects a POST") as caught:
        transport.send(site.url, MESSAGE)
    assert caught.value.hint.endswith("https://other.example/scep")
    assert caught.value.status == status


@pytest.mark.parametrize("status", [307, 308])
def test_a_post_follows_what_asks_for_the_same_elsewhere(serve, transport, status):
    site = serve()
    place = "/elsewhere?operation=PKIOperation"
    site.next(Operation.PKI_OPERATION, redirect(place, status))
    transport.send(site.url, MESSAGE)
    first, second = site.requests
    assert (second.method, second.body) == (first.method, first.body) == ("POST", MESSAGE.body)
    assert site.paths == ["/scep", "/elsewhere"]


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("file:///etc/passwd", "neither HTTP nor HTTPS"),
        ("ftp://127.0.0.1/", "neither HTTP nor HTTPS"),
        ("http://[::1", "redirects to what is no URL of a server"),
        ("http://127.0.0.1:99999/", "redirects to what is no URL of a server"),
        ("http://127.0.0.1:0/", "redirects to what is no URL of a server"),
        ("ftp://user:hunter2@127.0.0.1/", "redirects to ftp://127.0.0.1/, which"),
    ],
)
@pytest.mark.parametrize("request_", [CAPS, MESSAGE])
def test_a_redirect_stays_with_http(serve, transport, place, match, request_):
    site = serve()
    for operation in (Operation.GET_CA_CAPS, Operation.PKI_OPERATION):
        site.next(operation, redirect(place))
    with pytest.raises(TransportError, match=match) as caught:
        transport.send(site.url, request_)
    assert "log-in page" in caught.value.hint
    assert "127.0.0.1" not in caught.value.hint


def test_a_redirect_is_told_without_a_password(serve, transport):
    site = serve()
    site.next(Operation.PKI_OPERATION, redirect("http://user:hunter2@other.example/scep"))
    with pytest.raises(TransportError) as caught:
        transport.send(site.url, MESSAGE)
    assert caught.value.hint == "use the URL that it points to: http://other.example/scep"


@pytest.mark.parametrize(
    ("place", "request_"),
    [
        (f"ftp://x/{'y' * 60_000}", CAPS),
        (f"http://x/{'y' * 60_000}", MESSAGE),
        (f"http://{'y' * 60_000}/", CAPS),
    ],
)
def test_an_error_repeats_the_beginning_of_a_long_redirect(serve, transport, place, request_):
    site = serve()
    for operation in (Operation.GET_CA_CAPS, Operation.PKI_OPERATION):
        site.next(operation, redirect(place))
    with pytest.raises(TransportError) as caught:
        transport.send(site.url, request_)
    assert len(caught.value.message) < 1000
    assert len(caught.value.hint) < 1000


def test_an_error_repeats_the_beginning_of_what_is_no_http(transport):
    with (
        Hostile(lambda connection, _pause: connection.sendall(b"y" * 60_000 + b"\r\n")) as server,
        pytest.raises(TransportError, match="broke off") as caught,
    ):
        transport.send(server.url, CAPS)
    assert len(caught.value.message) < 1000


def test_a_proxy_of_the_environment_is_used(serve, transport, monkeypatch):
    site = serve()
    monkeypatch.setenv("http_proxy", site.origin)
    assert transport.send("http://ca.example/scep", CAPS).status == 200
    assert site.paths == ["http://ca.example/scep"]


def test_a_proxy_of_the_environment_may_be_a_host_and_a_port(serve, transport, monkeypatch):
    site = serve()
    monkeypatch.setenv("all_proxy", f"user:hunter2@{site.origin.removeprefix('http://')}")
    assert transport.send("http://ca.example/scep", CAPS).status == 200
    assert site.paths == ["http://ca.example/scep"]


def test_a_proxy_of_ones_own_goes_before_the_environments(new_transport, serve, monkeypatch):
    site = serve()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with contextlib.closing(new_transport(proxy=site.origin)) as transport:
        assert transport.send("http://ca.example/scep", CAPS).status == 200
    assert site.paths == ["http://ca.example/scep"]


def test_no_proxy_at_all(new_transport, serve, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with contextlib.closing(new_transport(proxy="")) as transport:
        assert transport.send(serve().url, CAPS).status == 200


@pytest.mark.parametrize("proxy", ["proxy.example", "socks5://user:hunter2@x:1", "http://", "::"])
def test_what_is_no_proxy(new_transport, proxy):
    with pytest.raises(UsageError, match="not the URL of an HTTP proxy") as caught:
        new_transport(proxy=proxy)
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_no_proxy_is_obeyed(serve, transport, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert transport.send(serve().url, CAPS).status == 200


def test_a_dead_proxy_is_named_without_its_password(transport, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:hunter2@127.0.0.1:{free_port()}")
    with pytest.raises(TransportError, match="proxy") as caught:
        transport.send("http://ca.example/scep", CAPS)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("user:hunter2@", b"user:hunter2"),
        ("user:p%40ss%3Aw%2Frd@", b"user:p@ss:w/rd"),
        ("us%C3%A9r:%E2%82%AC@", "usér:€".encode()),
        ("user@", b"user:"),
        ("", None),
    ],
)
def test_a_proxy_is_told_user_and_password(new_transport, scheme, user, said):
    told = []

    def behave(connection, pause):
        head = email.message_from_bytes(read_head(connection).partition(b"\r\n")[2])
        told.append(head["Proxy-Authorization"])
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with Hostile(behave) as server:
        proxy = server.origin.replace("//", f"//{user}")
        with (
            contextlib.closing(new_transport(timeout=PATIENCE, proxy=proxy)) as transport,
            contextlib.suppress(TransportError),
        ):
            transport.send(f"{scheme}://ca.example/scep", CAPS)
    assert told == [said and f"Basic {base64.b64encode(said).decode()}"]


@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_says_nothing_is_named(new_transport, scheme, hangs):
    """Who does not know of it looks for the fault at the server."""

    def behave(connection, pause):
        read_head(connection)
        while hangs and pause(0.1):
            pass

    with Hostile(behave) as server:
        proxy = server.origin.replace("//", "//user:hunter2@")
        timeout = 0.5 if hangs else PATIENCE
        with (
            contextlib.closing(new_transport(timeout=timeout, proxy=proxy)) as transport,
            pytest.raises(TransportError, match=r"proxy") as caught,
        ):
            transport.send(f"{scheme}://ca.example/scep", CAPS)
    assert caught.value.hint is Hint.PROXY
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_says_no_is_named_without_its_password(new_transport, scheme):
    def behave(connection, pause):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")

    with Hostile(behave) as server:
        proxy = server.origin.replace("//", "//user:hunter2@")
        with (
            contextlib.closing(new_transport(timeout=PATIENCE, proxy=proxy)) as transport,
            pytest.raises(TransportError, match="the proxy on the way to") as caught,
        ):
            transport.send(f"{scheme}://ca.example/scep", CAPS)
    assert caught.value.hint is Hint.PROXY
    assert "hunter2" not in caught.value.message
    assert "url=" not in caught.value.message


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://user:hunter2@127.0.0.1:1",
        "http://user:hunter2@127.0.0.1:99999",
        "http://user:hunter2/@127.0.0.1:1",
    ],
)
def test_a_proxy_that_is_none(transport, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(TransportError, match="the proxy that the environment names") as caught:
        transport.send("http://ca.example/scep", CAPS)
    assert caught.value.hint is Hint.PROXY
    assert "hunter2" not in caught.value.message


# --- TLS ------------------------------------------------------------------------------------------


def test_https_with_a_ca_of_ones_own(new_transport, serve, tls_files):
    site = serve(tls=tls_files / "server.pem")
    with contextlib.closing(new_transport(ca_file=tls_files / "ca.pem")) as transport:
        assert transport.send(site.url, CAPS).status == 200


def test_https_with_a_stranger_is_refused(serve, tls_files, transport):
    site = serve(tls=tls_files / "server.pem")
    with pytest.raises(TransportError, match="is not trusted: unable to get local") as caught:
        transport.send(site.url, CAPS)
    assert caught.value.hint is Hint.UNTRUSTED_TLS
    assert not site.requests


@pytest.mark.parametrize("request_", [CAPS, MESSAGE])
def test_https_never_follows_to_http(new_transport, serve, tls_files, request_):
    """Nor is anybody told to use the URL without it."""
    site = serve(tls=tls_files / "server.pem")
    for operation in (Operation.GET_CA_CAPS, Operation.PKI_OPERATION):
        site.next(operation, redirect("http://127.0.0.1/?operation=x"))
    with (
        contextlib.closing(new_transport(ca_file=tls_files / "ca.pem")) as transport,
        pytest.raises(TransportError, match="away from HTTPS") as caught,
    ):
        transport.send(site.url, request_)
    assert "http:" not in caught.value.hint


def test_https_where_http_is_spoken(serve, transport):
    url = serve().url.replace("http:", "https:")
    with pytest.raises(TransportError, match="TLS with") as caught:
        transport.send(url, CAPS)
    assert "http://" in caught.value.hint


def test_a_file_without_certificates(new_transport, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="no certificates"):
        new_transport(ca_file=tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match="No such file"):
        new_transport(ca_file=tmp_path / "missing.pem")
