"""A server's word on when a certificate is to be renewed, as a client takes it."""

from __future__ import annotations

import asyncio
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

import httpd
import keys
from scepkit import AsyncClient, Client, RenewalAdvice
from scepkit.client import clock, renewal_info
from scepkit.client.http import HTTPTransport
from scepkit.errors import BadReply, Malformed, TransportError
from scepkit.protocol.scep import capabilities
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.renewal_info import CertID, RenewalInfo
from waiting import PATIENCE

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SERVER = "http://ca.example/pki/scep/printers"
WINDOW = RenewalInfo(NOW + DAY, NOW + 3 * DAY)


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture(scope="module")
def device():
    value = x509.AuthorityKeyIdentifier(b"the key of the CA", None, None)
    more = [x509.Extension(value.oid, critical=False, value=value)]
    return httpd.certify("dev1", keys.ec_key("d"), httpd.ca(), more=more).certificate


class Server:
    """A transport: one answer, or the lack of one."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def send(self, url, request):
        self.asked.append((request.method, url, request.query, request.body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def said(info=WINDOW, **headers):
    return HTTPResponse(200, info.write(), "application/json", headers)


def fetched(answer, device):
    return Client(SERVER, transport=Server(answer)).get_renewal_info(device)


def test_the_question_is_a_get_beside_the_scep_service(device):
    server = Server(said())
    Client(SERVER, transport=server).get_renewal_info(device)
    url = f"http://ca.example/pki/renewal-info/{CertID.of(device)}"
    assert server.asked == [("GET", url, b"", b"")]


def test_both_clients_take_the_same_advice(device):
    class AsyncServer(Server):
        async def send(self, url, request):
            return super().send(url, request)

    async def asked():
        async with AsyncClient(SERVER, transport=AsyncServer(said())) as client:
            return await client.get_renewal_info(device)

    assert asyncio.run(asked()) == fetched(said(), device)


def test_the_advice_is_the_same_at_each_look_and_in_the_window(device):
    first, second = (fetched(said(), device) for _ in range(2))
    assert first == second
    assert WINDOW.start <= first.at < WINDOW.end


def test_certificates_are_spread_over_their_window(device):
    others = [replace(device, der=b"%d" % number) for number in range(200)]
    found = [fetched(said(), one).at for one in others]
    quarters = [0] * 4
    for at in found:
        quarters[int((at - WINDOW.start) / (WINDOW.end - WINDOW.start) * 4)] += 1
    assert sum(quarters) == 200
    assert all(35 < quarter < 65 for quarter in quarters)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, 6 * HOUR),
        ({"retry-after": "7200"}, 2 * HOUR),
        ({"Retry-After": "7200"}, 2 * HOUR),
        ({"retry-after": "0"}, HOUR),
        ({"retry-after": "-5"}, 6 * HOUR),
        ({"retry-after": "9" * 400}, DAY),
        ({"retry-after": "soon"}, 6 * HOUR),
        (
            {
                "date": "Mon, 01 Jun 2020 00:00:00 GMT",
                "retry-after": "Mon, 01 Jun 2020 03:00:00 GMT",
            },
            3 * HOUR,
        ),
        ({"retry-after": "Mon, 01 Jun 2020 00:00:00 GMT"}, 6 * HOUR),
    ],
)
def test_the_next_look_is_after_an_hour_at_least_and_a_day_at_most(device, headers, pause):
    assert fetched(said(**headers), device).check_again == NOW + pause


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (TransportError("nothing listens"), TransportError),
        (BadReply("not to be believed"), BadReply),
        (HTTPResponse(404, b"{}", "application/problem+json"), TransportError),
        (HTTPResponse(503, b"", headers={"retry-after": "9"}), TransportError),
        (HTTPResponse(200, b"<html>", "text/html"), Malformed),
        (said(RenewalInfo(NOW, NOW)), Malformed),
        (HTTPResponse(200, b" " * 4096 + WINDOW.write()), Malformed),
    ],
)
def test_a_failure_is_an_error_and_is_not_asked_again(device, answer, error):
    server = Server(answer)
    with pytest.raises(error):
        Client(SERVER, transport=server).get_renewal_info(device)
    assert len(server.asked) == 1


def test_a_certificate_without_a_name_cannot_be_asked_for(device):
    server = Server(said())
    with pytest.raises(Malformed):
        Client(SERVER, transport=server).get_renewal_info(httpd.ca().certificate)
    assert not server.asked


def test_an_explanation_is_passed_on(device):
    why = RenewalInfo(WINDOW.start, WINDOW.end, "https://ca.example/why")
    server = Server(said(why))
    found = Client(SERVER, transport=server).get_renewal_info(device)
    assert found.explanation == "https://ca.example/why"
    assert len(server.asked) == 1


times = st.integers(-1000, 1000).map(lambda hours: NOW + hours * HOUR)


@given(times, times, times)
def test_advice_never_makes_it_later(at, earliest, latest):
    found = RenewalAdvice(at, NOW).between(earliest, latest)
    assert found <= latest
    assert found >= min(earliest, latest)
    if earliest <= at <= latest:
        assert found == at


def test_a_window_that_is_past_means_at_once(device):
    past = RenewalInfo(NOW - 3 * DAY, NOW - 2 * DAY)
    assert fetched(said(past), device).between(NOW, NOW + 9 * DAY) == NOW


def test_the_keyword_is_found_whatever_its_case():
    assert capabilities.offers_renewal_info(capabilities.parse(b"AES\nwhenTORENEW"))
    assert not capabilities.offers_renewal_info(frozenset({"renewal"}))


@pytest.fixture
def page():
    """Serve one body at every path; returns the URL, and what was asked for."""
    found = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found.append(self.path)
            self.send_response(200)
            self.send_header("Retry-After", "7200")
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.found = found
    server.url = f"http://127.0.0.1:{server.server_port}/scep"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("length", "is_taken"), [(renewal_info.MAX_BODY, True), (renewal_info.MAX_BODY + 1, False)]
)
def test_over_http_no_more_than_the_bound_is_taken(page, device, length, is_taken):
    page.body = WINDOW.write().ljust(length)
    with closing(HTTPTransport(max_response=renewal_info.MAX_BODY, timeout=PATIENCE)) as transport:
        client = Client(page.url, transport=transport)
        with nullcontext() if is_taken else pytest.raises(TransportError):
            assert client.get_renewal_info(device).check_again == NOW + 2 * HOUR
    assert page.found == [f"/renewal-info/{CertID.of(device)}"]
