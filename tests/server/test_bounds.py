"""What strangers may hold or ask for at an endpoint, and what they and the operator hear of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

import keys
from enrolment import devices
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.server.http.bounds import BoundAlarms
from scepkit.server.web import scep
from server import socketless
from server.live import PKI_OPERATION, scep_here
from server.test_app import recipient
from waiting import PATIENCE

MANUAL = {"approval": "manual", "challenge": "none"}


def session(app, *requests):
    """Give an application requests as pairs of an address and a message; return all answers."""

    async def run():
        async with socketless.lifespan(app):
            return [
                await socketless.ask(app, PKI_OPERATION, "POST", message, peer=peer)
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
        alarms.ring("waiting requests", endpoint="default", hint="raise it")
        alarms.ring("waiting requests", endpoint="vpn")
    assert [line["endpoint"] for line in logged] == ["default", "vpn"]
    now += 59
    alarms.ring("waiting requests", endpoint="default")
    assert len(logged) == 2
    now += 1
    alarms.ring("waiting requests", endpoint="default")
    assert [line["times"] for line in logged] == [1, 1, 4]


SECRET = "the secret of all devices"


@pytest.fixture
def static(app, tmp_path):
    """Make a server with one challenge for all; return it and what writes a request to it."""
    file = tmp_path / "secret.txt"
    file.touch(0o600)
    file.write_text(SECRET)

    def static(per_minute):
        settings = {
            "challenge": "static",
            "challenge_file": str(file),
            "wrong_challenges_per_minute": per_minute,
        }
        application, path = app(endpoint={"default": settings})
        ra = recipient(path)
        return (
            application,
            ra,
            lambda challenge, name: devices.pkcs_req(challenge, to=ra, transaction_id=name),
        )

    return static


def test_too_many_wrong_static_challenges(static, logged):
    """429 for that address (of IPv6, the /64), with the right one too; others are served."""
    application, ra, new = static(2)
    before = times("wrong static challenges")
    answers = session(
        application,
        ("2001:db8::1", new("guess", "a")),
        ("2001:db8::2", new("guess", "b")),
        ("2001:db8::3", new(SECRET, "c")),
        ("2001:db8::3", new("guess", "d")),
        ("2001:db8:0:1::1", new(SECRET, "e")),
    )
    assert [one.status for one in answers] == [200, 200, 429, 429, 200]
    assert answers[2].body == answers[3].body
    assert answers[2].headers["retry-after"] == "60"
    assert isinstance(devices.read(answers[4].body, ra).rep, Success)
    assert times("wrong static challenges") == before + 2
    (warning,) = [line for line in logged if line["event"] == "a bound is reached"]
    assert warning["bound"] == "wrong static challenges"
    assert "wrong_challenges_per_minute" in warning["hint"]


def test_guessing_from_many_addresses_is_slowed_down(static, logged, monkeypatch):
    """What is refused is held back, and what is right is not, whoever guesses."""
    held = []

    async def wait(_self):
        held.append(len(held))

    monkeypatch.setattr(scep.RefusalDelay, "wait", wait)
    application, ra, new = static(1)
    guesses = [(f"192.0.2.{number}", new("guess", f"{number}")) for number in range(12)]
    right = ("192.0.2.100", new(SECRET, "right"))
    answers = session(application, *guesses, right)
    assert {one.status for one in answers} == {200}
    assert isinstance(devices.read(answers[-1].body, ra).rep, Success)
    # Ten addresses' worth is none from everywhere yet.
    assert len(held) == 2
    (warning,) = [line for line in logged if line["event"] == "a bound is reached"]
    assert warning["bound"] == "wrong static challenges of all addresses"


def test_no_more_answers_are_held_back_than_memory_is_for(monkeypatch):
    """Beyond so many at once an answer goes out at once; one that is done leaves its place."""

    async def run():
        go = asyncio.Event()

        async def sleep(seconds):
            assert seconds == scep.DELAY_SECONDS
            await go.wait()

        monkeypatch.setattr(scep, "asyncio", SimpleNamespace(sleep=sleep))
        monkeypatch.setattr(scep, "_MOST_DELAYED", 2)
        held = scep.RefusalDelay()
        first = [asyncio.create_task(held.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        third = asyncio.create_task(held.wait())
        await asyncio.sleep(0)
        assert third.done()
        assert not any(one.done() for one in first)
        go.set()
        await asyncio.gather(*first)
        go.clear()
        again = asyncio.create_task(held.wait())
        await asyncio.sleep(0)
        assert not again.done()
        go.set()
        await again

    asyncio.run(run())


def test_who_is_held_back_keeps_nobody_out(static, monkeypatch):
    """An answer that waits is not under way any more: else guessing would fill the server."""
    application, ra, new = static(1)
    monkeypatch.setattr("scepkit.server.web.worker_pool.LIMIT", 1)

    async def run():
        waits, go = asyncio.Event(), asyncio.Event()

        async def sleep(_seconds):
            waits.set()
            await go.wait()

        monkeypatch.setattr(scep, "asyncio", SimpleNamespace(sleep=sleep))

        def ask(peer, message):
            return socketless.ask(application, PKI_OPERATION, "POST", message, peer=peer)

        async with socketless.lifespan(application):
            for number in range(10):
                await ask(f"192.0.2.{number}", new("guess", f"{number}"))
            slowed = asyncio.create_task(ask("192.0.2.66", new("guess", "one more")))
            await asyncio.wait_for(waits.wait(), PATIENCE)
            answer = await asyncio.wait_for(ask("192.0.2.67", new(SECRET, "right")), PATIENCE)
            assert isinstance(devices.read(answer.body, ra).rep, Success)
            assert not slowed.done()
            go.set()
            assert (await slowed).status == 200

    asyncio.run(run())
