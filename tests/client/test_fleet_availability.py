"""The patience that a fleet's threads share: while the server is away, one asks for all."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from scepkit import TransportError
from scepkit.client.fleet import availability
from scepkit.client.fleet.availability import Availability
from waiting import PATIENCE

AWAY = TransportError("nobody is there")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(availability, "_FIRST", 0.01)
    monkeypatch.setattr(availability, "_MOST", 0.04)
    return Availability()


@pytest.fixture
def pool(server):
    with ThreadPoolExecutor(3) as pool:
        yield pool
        # Whoever waits still would keep a failed test from its end.
        server.stop()


def first(asking):
    """Return whoever may ask, and those who wait."""
    done, waiting = wait(asking, PATIENCE, FIRST_COMPLETED)
    (one,) = done
    assert one.result() is True
    return [*waiting]


def test_one_asks_for_all_and_the_others_go_on_with_its_answer(server, pool):
    assert server.wait()
    server.away(AWAY, time.monotonic())
    waiting = first([pool.submit(server.wait) for _ in range(3)])
    # It is away still, so that the next one asks.
    assert server.away(AWAY, time.monotonic())
    waiting = first(waiting)
    assert len(waiting) == 1
    assert server.answered()
    assert waiting[0].result(PATIENCE) is True
    assert not server.answered()
    assert server.wait()


def test_each_pause_is_longer_than_the_one_before_up_to_a_bound(server):
    pauses = []
    for _ in range(6):
        assert server.wait()
        pauses.append(server.away(AWAY, time.monotonic()))
    # Random within a fifth, so that fleets do not come back together.
    for pause, least in zip(pauses, (0.01, 0.02, 0.04, 0.04, 0.04, 0.04), strict=True):
        assert least <= pause <= 1.2 * least
    server.answered()
    assert server.away(AWAY, time.monotonic()) < 0.02


@pytest.mark.parametrize(("asked", "most"), [(30.0, 36.0), (1e9, 4320.0)])
def test_a_server_may_ask_for_more_time_within_bounds(server, asked, most):
    busy = TransportError("busy", status=503, retry_after=asked)
    assert min(asked, 3600) <= server.away(busy, time.monotonic()) <= most


def test_who_asked_before_it_was_known_says_nothing_new(server):
    early = time.monotonic()
    assert server.away(AWAY, time.monotonic())
    assert server.away(AWAY, early) is None


def test_who_learns_nothing_leaves_it_to_the_next(server, pool):
    assert server.wait()
    server.away(AWAY, time.monotonic() - 5)
    waiting = first([pool.submit(server.wait) for _ in range(2)])
    early = time.monotonic() - 5
    server.nothing_learnt(early)
    # The one who asks is not done.
    assert server._trying
    server.nothing_learnt(time.monotonic())
    assert waiting[0].result(PATIENCE) is True
    assert server.gone_for() >= 5
    assert server.answers == 0
    assert server.answered()


def test_it_is_known_for_how_long_it_is_away(server):
    assert server.gone_for() == 0
    server.away(AWAY, time.monotonic() - 5)
    server.away(AWAY, time.monotonic())
    assert 5 <= server.gone_for() < 5 + PATIENCE
    server.answered()
    assert server.gone_for() == 0


def test_nobody_waits_when_it_is_over(server, pool):
    server.away(TransportError("busy", retry_after=PATIENCE), time.monotonic())
    asking = pool.submit(server.wait)
    server.stop()
    assert asking.result(PATIENCE) is False
    assert server.wait() is False
