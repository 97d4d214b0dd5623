"""The schedule, and the state that is read back: for whatever certificates and times there are."""

from __future__ import annotations

import contextlib
import json
import string
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.client.agent import schedule, state
from scepkit.client.agent.state import HookState, Standing, State

START = datetime(2026, 1, 1, tzinfo=UTC)
LIVES = st.timedeltas(timedelta(minutes=1), timedelta(days=20_000))
TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
POINTS = st.none() | st.fractions(Fraction(1, 100), Fraction(99, 100))
TEXTS = st.text(string.printable, max_size=40)


def certificate(life, serial=1):
    return SimpleNamespace(validity=(START, START + life), serial=serial, not_after=START + life)


@given(life=LIVES, part=st.floats(0.01, 0.99), at=POINTS, host=TEXTS)
def test_a_renewal_is_within_what_is_left_of_a_life(life, part, at, host):
    got_at = START + life * part
    found = certificate(life)
    when = schedule.own_time(found, got_at, at, host)
    assert got_at < when < found.not_after
    assert when == schedule.own_time(found, got_at, at, host)


@given(life=LIVES, part=st.floats(0.01, 0.99), at=POINTS, advised=TIMES)
def test_advice_only_brings_a_renewal_forward(life, part, at, advised):
    found, got_at = certificate(life), START + life * part
    interval = timedelta(seconds=30)
    own = schedule.renew_at(found, got_at, at=at, interval=interval)
    when = schedule.renew_at(found, got_at, at=at, interval=interval, advised=advised)
    assert got_at + interval <= when <= own


def test_a_certificate_that_is_dated_back_is_not_due_at_once():
    """Its life begins when it was got; else there would be one after the other."""
    found, got_at = certificate(timedelta(days=365)), START + timedelta(days=300)
    when = schedule.own_time(found, got_at, Fraction(2, 3), "a")
    assert when >= got_at + timedelta(days=65) * (2 / 3)


def test_a_fleet_is_spread():
    life = timedelta(days=90)
    times = {schedule.own_time(certificate(life, n), START, None, "a") for n in range(1000)}
    spread = sorted((one - START - timedelta(days=60)) / timedelta(days=3) for one in times)
    assert len(times) == 1000
    assert spread[0] >= 0
    assert spread[-1] < 1
    quarters = [sum(q / 4 <= one < (q + 1) / 4 for one in spread) for q in range(4)]
    assert all(200 < one < 300 for one in quarters)


@given(
    failures=st.integers(0, 10**6),
    left=st.none() | st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    word=TEXTS,
)
def test_a_pause_is_within_bounds(failures, left, word):
    found = schedule.pause(failures, left, word)
    assert schedule.SHORTEST <= found <= schedule.LONGEST
    if left is not None and left > timedelta():
        assert found <= max(schedule.SHORTEST, left / 10)
    if left is not None and left <= timedelta():
        assert found <= schedule.LONGEST_EXPIRED


HOOKS = st.builds(
    HookState,
    done=TEXTS,
    wanted=TEXTS,
    failures=st.integers(0, 10**6),
    running=st.booleans(),
    tried_at=st.none() | TIMES,
    retry_at=st.none() | TIMES,
    exit_status=st.none() | st.integers(-64, 255),
    said=TEXTS,
    output=st.lists(TEXTS, max_size=5).map(tuple),
)
STATES = st.builds(
    State,
    standing=st.sampled_from(Standing),
    since=st.none() | TIMES,
    said=TEXTS,
    got_at=st.none() | TIMES,
    failures=st.integers(0, 10**6),
    running=st.booleans(),
    tried_at=st.none() | TIMES,
    retry_at=st.none() | TIMES,
    asked_at=st.none() | TIMES,
    advise_again_at=st.none() | TIMES,
    hook=HOOKS,
)


@given(STATES)
def test_a_state_comes_back_as_it_was(found):
    assert state.parse(state.text(found).encode()) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*State.__slots__, "x"]), JSON) | JSON)
def test_whatever_is_in_the_file_is_a_state_or_damage(found):
    with contextlib.suppress(ValueError):
        state.parse(json.dumps(found).encode())


@given(st.binary(max_size=200))
def test_so_is_what_is_no_json(content):
    with pytest.raises(ValueError):
        state.parse(b"\xff" + content)


@given(STATES, TIMES)
def test_no_clock_makes_anything_wait_for_long_or_come_at_once(found, now):
    """Whatever times are noted: by any clock the next attempt is at most six hours away, and what
    was done at a time that is not past is as if done now."""
    seen = found.by_clock(now)
    for one, before in ((seen, found), (seen.hook, found.hook)):
        if one.retry_at is not None:
            assert one.retry_at <= now + schedule.LONGEST
            if before.tried_at > now:
                paused = max(before.retry_at - before.tried_at, timedelta())
                assert one.retry_at >= now + min(paused, schedule.LONGEST)
    assert seen.got_at is None or seen.got_at <= now
    assert (seen.got_at is None) == (found.got_at is None)
    assert seen.by_clock(now) == seen
