"""The patience with a server that is away, which all who ask it share.

When one finds it away or busy, nobody asks for a while, and then one alone does. So a fleet waits
as one, in place of failing device after device.
"""

from __future__ import annotations

import random
import time
from threading import Condition

from scepkit.errors import TransportError

_FIRST, _MOST = 1.0, 60.0  # seconds
_MOST_ASKED = 3600.0  # seconds that a server's Retry-After may ask for


class Availability:
    """The availability of the server. Threads share it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._until = 0.0
        self._pause = 0.0
        self._since = self._noted = 0.0
        self._trying = False
        self._stopped = False
        self.answers = 0
        """How often it answered."""

    def wait(self) -> bool:
        """Wait until it is time to ask; return False if there is nothing to ask any more."""
        with self._changed:
            while not self._stopped:
                left = self._until - time.monotonic()
                if not self._since:
                    return True
                if left <= 0 and not self._trying:
                    self._trying = True
                    return True
                self._changed.wait(left if left > 0 else None)
            return False

    def answered(self) -> bool:
        """Note that it answered; return whether it had been away."""
        with self._changed:
            was_away = bool(self._since)
            self._since = self._pause = 0.0
            self._trying = False
            self.answers += 1
            self._changed.notify_all()
            return was_away

    def away(self, error: TransportError, asked_at: float) -> float | None:
        """Note that it did not answer.

        Args:
            error: why not, and how long it asks to wait.
            asked_at: when it was asked, by time.monotonic().

        Returns:
            The seconds until it is asked again; None where another one has found so already.
        """
        with self._changed:
            now = time.monotonic()
            if self._since and asked_at < self._noted:
                # It was asked before anybody knew.
                return None
            self._trying = False
            self._since, self._noted = self._since or asked_at, now
            self._pause = min(max(_FIRST, 2 * self._pause), _MOST)
            asked = min(error.retry_after or 0.0, _MOST_ASKED)
            # So that two fleets do not come back at the same instant.
            seconds = max(asked, self._pause) * random.uniform(1.0, 1.2)  # noqa: S311
            self._until = now + seconds
            self._changed.notify_all()
            return seconds

    def nothing_learnt(self, asked_at: float) -> None:
        """Note that whoever was to ask learnt nothing of it, so that another one asks.

        Args:
            asked_at: when it was or would have been asked, by time.monotonic().
        """
        with self._changed:
            if asked_at >= self._noted:
                self._trying = False
                self._changed.notify_all()

    def gone_for(self) -> float:
        """Return for how many seconds it has been away; 0 while it answers."""
        with self._changed:
            return time.monotonic() - self._since if self._since else 0.0

    def stop(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
