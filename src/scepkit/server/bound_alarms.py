"""Alarms in metrics and log when a bound on connections, requests or challenges is reached."""

from __future__ import annotations

import time
from collections import Counter
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
        self._times: Counter[tuple[str, str]] = Counter()

    def ring(self, bound: str, *, peer: str = "", endpoint: str = "", hint: str = "") -> None:
        """Count one more time; warn unless that was done for this bound less than a minute ago.

        Args:
            bound: its name, one of a few.
            peer: the address that reached it, if that was one.
            endpoint: the name of the endpoint where it was reached, if it is one of an endpoint.
            hint: what the operator may do.
        """
        metrics.BOUNDS.labels(bound).inc()
        which, now = (bound, endpoint), self._clock()
        self._times[which] += 1
        last = self._warned.get(which)
        if last is not None and now - last < _SECONDS:
            return
        self._warned[which] = now
        facts = {"peer": peer, "endpoint": endpoint, "hint": hint}
        told = {name: value for name, value in facts.items() if value}
        log.warning("a bound is reached", bound=bound, times=self._times.pop(which), **told)
