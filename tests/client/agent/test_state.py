"""The state of a directory: whatever its file says, it is read or damaged, and can be shown."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.client.agent import state
from scepkit.client.agent.state import HookState, State

NOW = datetime(2026, 11, 29, tzinfo=UTC)

EXTREME = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]


@pytest.mark.parametrize("text", EXTREME)
def test_a_time_beyond_all_time_is_damage(text):
    """In UTC it is in no year that there is: whoever shows it would fail."""
    with pytest.raises(ValueError, match="no time in UTC"):
        state.parse(json.dumps({"renew_at": text}).encode())


@pytest.mark.parametrize("failures", [-1, -(10**30), 10**30])
def test_failures_are_a_number_that_can_be(failures):
    found = state.parse(json.dumps({"failures": failures, "hook": {"failures": failures}}).encode())
    for number in (found.failures, found.hook.failures):
        assert 0 <= number <= 10**6


@pytest.mark.parametrize("one", ["x", "\0", "é", "\U0001f511", "\udcff"])
def test_whatever_was_said_the_file_can_be_read_again(one):
    said = one * 100_000
    hook = HookState(said, said, said=said, output=(said,) * 1000)
    long = State(said=said, certificate=said, next=said, explanation=said, hook=hook)
    content = state.text(long).encode()
    assert len(content) <= state.MAX_SIZE
    found = state.parse(content)
    assert said.startswith(found.said)
    assert len(found.said) > 200
    assert len(found.hook.output) == state.MOST_LINES
    assert state.text(found).encode() == content


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.sampled_from([*EXTREME, "valid", "renew", [], {}, ["a"], [1], "2026-11-29"]),
)


def objects(kind):
    names = [one.name for one in fields(kind) if one.name != "hook"]
    return st.dictionaries(st.sampled_from(names), anything)


@given(objects(State), objects(HookState) | anything)
def test_what_is_read_can_be_judged_shown_and_written(values, hook):
    content = json.dumps({**values, "hook": hook}).encode()
    try:
        found = state.parse(content).by_clock(NOW)
    except ValueError:
        return
    for when in (found.renew_at, found.next_at, found.advised_at, found.hook.retry_at):
        if when is not None:
            when.astimezone(UTC)
            assert abs((when - NOW).days) < 10**7
    state.parse(state.text(found).encode())
