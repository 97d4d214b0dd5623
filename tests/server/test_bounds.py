"""What strangers may hold or ask for at an endpoint, and what they and the operator hear of it."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

import keys
from enrolment import devices
from scepkit.protocol.messages import Pending
from scepkit.server.bound_alarms import BoundAlarms
from server import asgi
from server.live import PKI_OPERATION, scep_here
from server.test_app import recipient

MANUAL = {"approval": "manual", "challenge": "none"}


def session(app, *requests):
    """Give an application requests as pairs of an address and a message; return all answers."""

    async def run():
        async with asgi.lifespan(app):
            return [
                await asgi.ask(app, PKI_OPERATION, "POST", message, peer=peer)
                for peer, message in requests
            ]

    return asyncio.run(run())


def times(bound):
    return REGISTRY.get_sample_value("scep_bounds_total", {"bound": bound}) or 0


@pytest.fixture
def manual(app):
    """Make a server where two requests of an address, and three of all, may wait."""
    application, path = app(
        endpoint={"default": {**MANUAL, "pending_per_address": 2, "pending_requests": 3}}
    )
    ra = recipient(path)

    def new(name):
        return devices.pkcs_req(
            to=ra,
            signer=keys.device(name),
            subject=f"CN={name}",
            transaction_id=f"transaction {name}",
        )

    return application, path, ra, new


@pytest.mark.rfc("P-78")
def test_too_many_waiting_requests(manual, logged):
    """One more of an address is 429, one more of all is 503; both may come back."""
    application, path, ra, new = manual
    first = new("one")
    of_address, of_all = "waiting requests of one address", "waiting requests"
    before = times(of_address), times(of_all)
    answers = session(
        application,
        ("192.0.2.1", first),
        ("192.0.2.1", new("two")),
        ("192.0.2.1", new("three")),
        ("192.0.2.1", new("four")),
        ("2001:db8::1", new("five")),
        ("2001:db8::2", new("six")),
        ("192.0.2.1", first),
    )
    assert [one.status for one in answers] == [200, 200, 429, 429, 200, 503, 200]
    for index in (0, 1, 4, 6):
        assert isinstance(devices.read(answers[index].body, ra).rep, Pending)
    assert {answers[index].headers["retry-after"] for index in (2, 3, 5)} == {"300"}
    assert answers[2].text.startswith("too many requests from this address wait")
    # One warning for each bound, and a line for each request.
    warnings = [line for line in logged if line["event"] == "a bound is reached"]
    assert [line["bound"] for line in warnings] == [of_address, of_all]
    assert "pending_per_address" in warnings[0]["hint"]
    assert (times(of_address), times(of_all)) == (before[0] + 2, before[1] + 1)
    lines = [line for line in logged if line["event"] == "scep" and line["status"] == 429]
    assert [line["transaction_id"] for line in lines] == ["transaction three", "transaction four"]
    assert all("wait for approval" in line["reason"] for line in lines)
    shown = scep_here("admin", "show", "3", "--dir", path)
    assert "peer            2001:db8::/64\n" in shown.stdout
    told = scep_here("admin", "show", "1", "--dir", path, "--json")
    assert '"peer": "192.0.2.1"' in told.stdout


def test_a_warning_a_minute(logged):
    """A bound that bites again and again is warned of once a minute, each bound by itself."""
    now = 1000.0
    alarms = BoundAlarms(lambda: now)
    for _ in range(3):
        alarms.ring("waiting requests", "default", "raise it")
        alarms.ring("waiting requests", "vpn")
    assert [line["endpoint"] for line in logged] == ["default", "vpn"]
    now += 59
    alarms.ring("waiting requests", "default")
    assert len(logged) == 2
    now += 1
    alarms.ring("waiting requests", "default")
    assert len(logged) == 3
