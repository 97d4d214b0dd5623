"""Guessing at a static challenge: bounded for each address, noticed for all together.

A static challenge is the same for all devices and does not expire, so there is time to guess. An
address that was wrong too often is not judged any more, right or wrong, until time has passed: else
the answer would still tell. Other addresses are never refused for its sake, since then any stranger
could stop everybody; guesses of many addresses together are slowed down and told to the operator.

A challenge that opens an envelope, where the CA has no RSA key, is guessed at in the same way. It
counts as wrong when the envelope cannot be read, whatever the reason: if a wrong password alone
counted, the bound would tell it from damaged content, which no sender may learn (P-54).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from scepkit.enrolment.rate_limit import Limiter, Limiters
from scepkit.errors import BoundReached

OF_ALL = "wrong static challenges of all addresses"
"""The name of the bound that only slows and alarms."""

_TOO_MANY_REQUESTS = 429
_RETRY_SECONDS = 60
# So many addresses at their bound are taken for one that guesses from everywhere.
_ADDRESSES = 10
_REMEMBERED = timedelta(minutes=1)


class WrongChallenges:
    """Counts wrong challenges at one endpoint, in this process. Threads may share it.

    What several threads judge at the same moment is counted after it is judged, so an address may
    have as many more as there are threads, once.

    Args:
        per_minute: how many one address may send.
        now: returns the time as an aware datetime.
    """

    def __init__(self, per_minute: int, now: Callable[[], datetime]) -> None:
        self._per_minute = per_minute
        self._now = now
        self._by_address = Limiters(now)
        self._in_all = Limiter(per_minute * _ADDRESSES, now)
        self._flooded_at: datetime | None = None

    @property
    def is_flood(self) -> bool:
        """Say whether in the last minute there were too many, of all addresses together."""
        return self._flooded_at is not None and self._now() - self._flooded_at < _REMEMBERED

    def check(self, peer: str) -> None:
        """Refuse to judge a challenge of an address that was wrong too often.

        Args:
            peer: what the address is counted under; an unknown one is nobody's.

        Raises:
            BoundReached: it was; HTTP 429, since FAILURE would tell that the challenge is wrong.
        """
        if peer and not self._by_address.has_room(peer, self._per_minute):
            raise BoundReached(
                _TOO_MANY_REQUESTS,
                "too many wrong challenges from this address, try again later",
                bound="wrong static challenges",
                retry_after=_RETRY_SECONDS,
                hint="see in the log which devices there have a wrong challenge, or raise "
                "wrong_challenges_per_minute",
            )

    def count(self, peer: str) -> None:
        """Count a wrong challenge.

        Args:
            peer: as in `check`.
        """
        if peer:
            self._by_address.allows(peer, self._per_minute)
        if not self._in_all.allows():
            self._flooded_at = self._now()
