"""Requests come out as they went in, however the network cuts them, and rubbish is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.errors import HTTPRefused
from scepkit.server.http.request_reader import RequestReader

HOST = b"Host: a\r\n"


class Taken:
    """Requests as they come."""

    def __init__(self):
        self.requests = []

    def begin(self, head):
        self.requests.append([head.method, head.url, bytearray(), False])

    def add(self, body):
        assert not self.requests[-1][3]
        self.requests[-1][2] += body

    def end(self):
        assert not self.requests[-1][3]
        self.requests[-1][3] = True


def read(octets, cuts=()):
    """Feed octets, cut at random, and as far as the reader takes them at a time."""
    taken = Taken()
    reader = RequestReader(taken)
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        piece = octets[start:end]
        while piece:
            piece = piece[reader.feed(piece) :]
    assert reader.has_begun == any(not one[3] for one in taken.requests) or reader.held
    return [(method, url, bytes(body), whole) for method, url, body, whole in taken.requests]


def written(method, path, body, framing):
    """Write a request, its body in one of the ways in which that can be done."""
    head = b"%b %b HTTP/1.1\r\n%b" % (method, path, HOST)
    if framing == "upgrade":
        head += b"Connection: upgrade\r\nUpgrade: h2c\r\n"
    if framing == "chunked":
        chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in body)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"PUT"]),
        st.from_regex(rb"/[a-z0-9?=&]{0,2000}", fullmatch=True),
        st.binary(max_size=3000),
        st.sampled_from(["length", "chunked", "upgrade"]),
    ),
    max_size=5,
)


@given(REQUESTS, st.data())
def test_requests_come_out_as_they_went_in(requests, data):
    octets = b"".join(written(*one) for one in requests)
    places = st.integers(0, len(octets))
    cuts = sorted(data.draw(st.lists(places, max_size=10)))
    assert read(octets, cuts) == [
        (method.decode(), path, body, True) for method, path, body, _ in requests
    ]


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=300).map(lambda b: b"GET /" + b)))
def test_rubbish_is_refused(octets):
    with contextlib.suppress(HTTPRefused):
        read(octets)


@given(REQUESTS.filter(bool), st.data())
def test_damaged_requests_are_read_or_refused(requests, data):
    octets = bytearray(b"".join(written(*one) for one in requests))
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(HTTPRefused):
        read(bytes(octets))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 65534 + b" HTTP/1.1\r\n" + HOST + b"\r\n", None),
        (b"GET /" + b"a" * 65535, 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 90_000, 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a:\r\n" * 128, 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a:\r\n" * 127 + b"\r\n", None),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n1;" + b"a" * 90_000,
            400,
        ),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a HTTP/1.1\r\n" + HOST + b"\r\n", None),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" + HOST, 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + HOST, 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n" + HOST, 400),
    ],
)
def test_heads_that_are_too_much(head, status):
    if status is None:
        assert len(read(head)) == 1
        return
    with pytest.raises(HTTPRefused) as refused:
        read(head + b"\r\n")
    assert refused.value.status == status


def test_a_request_that_arrives_whole_is_read_in_one_piece():
    pieces = []
    taken = Taken()
    taken.add = pieces.append
    whole = written(b"POST", b"/scep", b"x" * 2500, "length")
    assert RequestReader(taken).feed(whole) == len(whole)
    assert pieces == [b"x" * 2500]


def test_a_piece_has_no_more_requests_than_fit_a_kibibyte_and_one():
    """Whoever asks whether more may wait hears of them in time."""
    taken = Taken()
    one = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    end = RequestReader(taken).feed(one * 200)
    assert end == len(one) * len(taken.requests) < 1024 + 2 * len(one)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (HOST + b"HOST: b\r\n", "one Host"),
        (HOST + b"Authorization: a\r\nauthorization: a\r\n", "two headers authorization"),
        (HOST + b"x: 1\r\nIdempotency-Key: a\r\nidempotency-key: b\r\n", "idempotency-key"),
        (HOST + b"x: 1\r\nx: 2\r\n", None),
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_headers_that_come_twice(headers, said, version):
    octets = b"GET / HTTP/" + version + b"\r\n" + headers + b"\r\n"
    if said is None:
        assert len(read(octets)) == 1
        return
    with pytest.raises(HTTPRefused, match=said):
        read(octets)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_the_first_of_several_headers_counts_and_any_expectation(version):
    heads = []
    taken = Taken()
    taken.begin = heads.append
    sent = b"x: 1\r\nX: 2\r\nExpect: other\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n"
    RequestReader(taken).feed(b"POST / HTTP/" + version + b"\r\n" + HOST + sent + b"\r\n")
    (head,) = heads
    assert head.header(b"x") == head.texts()["x"].encode() == b"1"
    assert head.header(b"y") == b""
    assert head.expects_continue == (version == b"1.1")
