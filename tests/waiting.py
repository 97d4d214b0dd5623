"""Waiting for what has to come about.

A test waits for a state, never for a time in which the state should be there: a machine that is
busy with other things takes long, and is right all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 600
"""Seconds after which something hangs: so many that nothing which only takes long comes near."""


def wait_until(condition: Callable[[], T], what: str = "it") -> T:
    """Ask again and again, and return the first answer that is true.

    Args:
        condition: what is asked.
        what: names the state, for the message when it never comes.
    """
    end = time.monotonic() + PATIENCE
    pause = 0.005
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(pause)
        # Asking may cost more than what is waited for, so it is done less and less often.
        pause = min(1.5 * pause, 0.2)
    return found
