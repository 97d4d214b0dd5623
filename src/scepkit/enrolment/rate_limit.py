"""Bounds on how often something is done, or guessed at: by all together, or by each of many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from scepkit.errors import BoundReached

_MAX_COUNTED = 10_000
# So many addresses at their bound are taken for one that guesses from everywhere.
_ADDRESSES = 10
_REMEMBERED = timedelta(minutes=1)


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


class WrongGuesses:
    """Counts wrong guesses at one kind of secret, in this process. Threads may share it.

    An address that was wrong too often is not judged any more, right or wrong, until time has
    passed: else the answer would still tell. What several threads judge at the same moment is
    counted after it is judged, so an address may have as many more as there are threads, once.

    Args:
        per_minute: how many one address may send.
        now: returns the time as an aware datetime.
        refusal: makes the refusal of an address that was wrong too often.
    """

    def __init__(
        self, per_minute: int, now: Callable[[], datetime], refusal: Callable[[], BoundReached]
    ) -> None:
        self._per_minute = per_minute
        self._now = now
        self._refusal = refusal
        self._by_address = Limiters(now)
        self._in_all = Limiter(per_minute * _ADDRESSES, now)
        self._flooded_at: datetime | None = None

    @property
    def is_flood(self) -> bool:
        """Say whether in the last minute there were too many, of all addresses together."""
        return self._flooded_at is not None and self._now() - self._flooded_at < _REMEMBERED

    def check(self, peer: str) -> None:
        """Refuse to judge a guess of an address that was wrong too often.

        Args:
            peer: what the address is counted under; an unknown one is nobody's.

        Raises:
            BoundReached: it was.
        """
        if peer and not self._by_address.has_room(peer, self._per_minute):
            raise self._refusal()

    def count(self, peer: str) -> None:
        """Count a wrong guess.

        Args:
            peer: as in `check`.
        """
        if peer:
            self._by_address.allows(peer, self._per_minute)
        if not self._in_all.allows():
            self._flooded_at = self._now()
