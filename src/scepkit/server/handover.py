"""From the threads that work back to the event loop that answers.

asyncio.wrap_future wakes the loop up for every single result: a system call, and the GIL changes
hands twice. Results come in groups here, because many issuances share one commit; so one wake-up
fetches all that have arrived until the loop looks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Handover:
    """Runs calls of other threads on the event loop, in their order.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[Callable[[], None]] = deque()
        self._woken = False

    def is_for(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Say whether this is the event loop."""
        return loop is self._loop

    def put(self, settle: Callable[[], None]) -> None:
        """Have a function called on the event loop; from any thread."""
        # In this order: who finds the loop woken already is in time for its look (_fetch).
        self._arrived.append(settle)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        self._woken = False
        while self._arrived:
            self._arrived.popleft()()
