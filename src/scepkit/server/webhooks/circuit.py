"""A circuit breaker: a service that fails again and again is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from scepkit.errors import ThirdPartyFailed


class RequestNotTaken(ThirdPartyFailed):
    """A service is there, and makes nothing of this request; it may be a stranger's."""


class Circuit:
    """Counts failures of a service in a row; for one event loop.

    Requests that the service does not take count neither way: else a stranger could have a service
    left alone, and all devices with it, by sending what it answers with an error.

    Args:
        failures: how many in a row open it.
        pause: for how long nobody is let through then; after it one request tries.
        now: returns the time as an aware datetime.

    Attributes:
        is_failing: whether it is open; None until it has opened once or a request has succeeded.
        reason: why the last request failed.
    """

    def __init__(self, failures: int, pause: timedelta, now: Callable[[], datetime]) -> None:
        self._most = failures
        self._pause = pause
        self._now = now
        self._count = 0
        self._closed_until: datetime | None = None
        self._is_trying = False
        self.is_failing: bool | None = None
        self.reason = ""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Let a request through, and count whether it fails; one that is given up counts nothing.

        Raises:
            ThirdPartyFailed: the service is left alone.
        """
        tries = self._count >= self._most
        if tries:
            self._begin_trying()
        try:
            yield
        except RequestNotTaken:
            raise
        except ThirdPartyFailed as error:
            self._count += 1
            if self._count >= self._most:
                self.is_failing, self.reason = True, error.message
                self._closed_until = self._now() + self._pause
            raise
        else:
            self._count, self._closed_until = 0, None
            self.is_failing = False
        finally:
            if tries:
                self._is_trying = False

    def _begin_trying(self) -> None:
        if self._is_trying or self._is_left_alone():
            raise ThirdPartyFailed(
                f"it failed {self._count} times in a row and is left alone for "
                f"{self._pause.total_seconds():.0f} s",
                hint="look at the service; the device gets HTTP 503 and comes back",
            )
        self._is_trying = True

    def _is_left_alone(self) -> bool:
        """Say whether its pause lasts; that of a clock that was set back since then is over."""
        until = self._closed_until
        return until is not None and until - self._pause <= self._now() < until
