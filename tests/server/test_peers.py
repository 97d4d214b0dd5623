"""What an address is counted under."""

from __future__ import annotations

import pytest

from scepkit.server.http import peers
from scepkit.server.http.peers import Peer, Proxies


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
        ("x" * 100_000, "x" * 64),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address, counted):
    assert peers.network(address) == counted


LISTED = Proxies(["192.0.2.1", "198.51.100.0/24", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("address", "is_listed"),
    [
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("192.0.2.2", False),
        ("198.51.100.77", True),
        ("2001:db8::77", True),
        ("", False),
        ("unix", False),
    ],
)
def test_who_is_a_proxy(address, is_listed):
    assert LISTED.include(address) == is_listed
    assert Proxies(["*"]).include(address)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([], None),
        ([""], None),
        (["203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5:1234"], "203.0.113.5"),
        (["[2001:db9::1]:80"], "2001:db9::1"),
        (["2001:db9::1"], "2001:db9::1"),
        (["10.0.0.1, 203.0.113.5"], "203.0.113.5"),
        (["10.0.0.1", "203.0.113.5"], "203.0.113.5"),
        (["10.0.0.1, 203.0.113.5, 198.51.100.1"], "203.0.113.5"),
        (["192.0.2.1, 198.51.100.1"], "192.0.2.1"),
        (["203.0.113.5, unknown"], "unknown"),
        (["fe80::1%eth0"], "fe80::1"),
        (["fe80::1%" + "z" * 60_000], "unknown"),
        (["\xff" * 9], "unknown"),
        ([","], None),
    ],
)
def test_whom_a_proxy_asks_for(values, address):
    """The last address that is no proxy's: whatever stands before it, the peer wrote itself."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    assert LISTED.forwarded([(b"host", b"203.0.113.9"), *headers]) == address


def test_everybody_is_a_proxy():
    assert Proxies(["*"]).forwarded([(b"x-forwarded-for", b"10.0.0.1, 203.0.113.5")]) == (
        "203.0.113.5"
    )


PROXY = {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "https"}


@pytest.mark.parametrize(
    ("host", "headers", "is_private"),
    [
        ("127.0.0.1", {}, True),
        ("127.9.9.9", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.0.2.1", {}, False),
        ("203.0.113.5", {}, False),
        ("", {}, False),
        ("192.0.2.1", PROXY, True),
        ("192.0.2.1", PROXY | {"x-forwarded-proto": "HTTPS , https"}, True),
        ("192.0.2.1", PROXY | {"x-forwarded-proto": "http"}, False),
        ("192.0.2.1", PROXY | {"x-forwarded-proto": "https,http"}, False),
        ("192.0.2.1", PROXY | {"x-forwarded-proto": ""}, False),
        ("192.0.2.1", {"x-forwarded-proto": "https"}, False),
        ("192.0.2.1", {"x-forwarded-for": "203.0.113.5"}, False),
        # Not listed, so it speaks for nobody but itself; nor does this machine for others.
        ("203.0.113.5", PROXY, False),
        ("127.0.0.1", PROXY, False),
        ("127.0.0.1", {"via": "1.1 other"}, False),
        ("127.0.0.1", {"forwarded": "proto=https"}, False),
    ],
)
def test_a_request_is_private_by_tls_or_on_this_machine(host, headers, is_private):
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    peer = Peer(host, 4711, LISTED)
    assert peer.is_private([(b"host", b"pki.example.com"), *sent]) == is_private
