"""Bounds on how often something is done: by all together, or by each of many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from threading import Lock
from typing import NamedTuple

_MAX_COUNTED = 10_000


class _Bucket(NamedTuple):
    """A token bucket: so many a minute, and as many at once.

    Attributes:
        tokens: how many are left.
        filled: when that was, in seconds.
    """

    tokens: float
    filled: float

    def at(self, now: float, per_minute: int) -> _Bucket:
        """Return the bucket with the inflow since then."""
        # A clock that was set back must not empty it.
        passed = max(0.0, now - self.filled)
        return _Bucket(min(float(per_minute), self.tokens + passed * per_minute / 60), now)


class Limiter:
    """One token bucket. Threads may share it.

    Args:
        per_minute: how many; 0 for none at all.
        now: returns the time as an aware datetime.
    """

    def __init__(self, per_minute: int, now: Callable[[], datetime]) -> None:
        self._per_minute = per_minute
        self._now = now
        self._bucket = _Bucket(per_minute, now().timestamp())
        self._lock = Lock()

    def allows(self) -> bool:
        """Count one more, if there is room."""
        with self._lock:
            self._bucket = bucket = self._bucket.at(self._now().timestamp(), self._per_minute)
            if bucket.tokens < 1:
                return False
            self._bucket = bucket._replace(tokens=bucket.tokens - 1)
            return True


class Limiters:
    """A token bucket for each of many keys, two numbers each. Threads may share it.

    Only the keys that were counted last are remembered: a key that is forgotten begins anew.

    Args:
        now: returns the time as an aware datetime.
        most: how many keys.
    """

    def __init__(self, now: Callable[[], datetime], most: int = _MAX_COUNTED) -> None:
        self._now = now
        self._most = most
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()
        self._lock = Lock()

    def allows(self, key: Hashable, per_minute: int) -> bool:
        """Count one more of a key, if there is room.

        Args:
            key: what is counted.
            per_minute: how many of it.
        """
        with self._lock:
            bucket = self._at(key, per_minute)
            has_room = bucket.tokens >= 1
            left = bucket._replace(tokens=bucket.tokens - 1) if has_room else bucket
            self._buckets[key] = left
            self._buckets.move_to_end(key)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return has_room

    def has_room(self, key: Hashable, per_minute: int) -> bool:
        """Say whether one more of a key would be allowed, without counting it.

        Args:
            key: what is counted.
            per_minute: how many of it.
        """
        with self._lock:
            return self._at(key, per_minute).tokens >= 1

    def _at(self, key: Hashable, per_minute: int) -> _Bucket:
        now = self._now().timestamp()
        known = self._buckets.get(key)
        return _Bucket(per_minute, now) if known is None else known.at(now, per_minute)
