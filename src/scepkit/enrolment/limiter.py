"""A bound on how often something is done, however many ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock


class Limiter:
    """A token bucket: so many a minute, and as many at once. Threads may share it.

    Args:
        per_minute: how many; 0 for none at all.
        now: returns the time as an aware datetime.
    """

    def __init__(self, per_minute: int, now: Callable[[], datetime]) -> None:
        self._capacity = float(per_minute)
        self._now = now
        self._tokens = float(per_minute)
        self._filled = now()
        self._lock = Lock()

    def allows(self) -> bool:
        """Count one more, if there is room."""
        with self._lock:
            now = self._now()
            # A clock that was set back must not empty the bucket.
            passed = max(0.0, (now - self._filled).total_seconds())
            self._filled = now
            self._tokens = min(self._capacity, self._tokens + passed * self._capacity / 60)
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
