"""Hooks that end, while what they have started does not."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import count

from scepkit.client.agent import hooks

LIMIT = timedelta(seconds=60)


def test_what_a_hook_leaves_running_writes_for_ever(monkeypatch):
    """Its own end counts: there is always more to read, and it is not read for ever."""
    times = count()

    def read(*_):
        assert next(times) < 1_000_000, "it goes on reading"
        return b"y\n"

    monkeypatch.setattr(hooks, "_read", read)
    failure = hooks.run(("sh", "-c", "exit 3"), dict(os.environ), LIMIT)
    assert (failure.exit_status, set(failure.output)) == (3, {"y"})


def test_all_that_a_hook_said_is_read():
    """What it said last is kept, however much that was, and although it has ended."""
    command = ("sh", "-c", "seq 5000; echo said; exit 3")
    assert hooks.run(command, dict(os.environ), LIMIT).output[-1] == "said"
