"""Answers that are held back for a moment, so that guessing takes longer."""

from __future__ import annotations

import asyncio

SECONDS = 2
# Each costs a few kilobytes and no thread. More are answered at once: the bound on memory counts
# more than slowing the last ones down.
_MOST = 256


class Slowing:
    """Holds answers back, a bounded number at once; for one event loop."""

    def __init__(self) -> None:
        self._count = 0

    async def wait(self) -> None:
        """Wait, unless too many do already."""
        if self._count >= _MOST:
            return
        self._count += 1
        try:
            await asyncio.sleep(SECONDS)
        finally:
            self._count -= 1
