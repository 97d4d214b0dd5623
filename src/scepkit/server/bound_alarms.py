"""What metrics and log say when a bound on what strangers may hold is reached."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from scepkit.server import metrics

# Between two warnings about the same: whoever reaches a bound does so again and again.
_SECONDS = 60

log = structlog.get_logger()


class BoundAlarms:
    """Counts how often bounds are reached, and warns of it; for one event loop.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warned: dict[tuple[str, str], float] = {}

    def ring(self, bound: str, endpoint: str, hint: str = "") -> None:
        """Count one more time; warn unless that was done for this bound less than a minute ago.

        Args:
            bound: its name, one of a few.
            endpoint: the name of the endpoint where it was reached.
            hint: what the operator may do.
        """
        metrics.BOUNDS.labels(bound).inc()
        now = self._clock()
        last = self._warned.get((bound, endpoint))
        if last is None or now - last >= _SECONDS:
            self._warned[bound, endpoint] = now
            log.warning("a bound is reached", bound=bound, endpoint=endpoint, hint=hint)
