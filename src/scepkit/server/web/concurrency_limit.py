"""Requests that are under way at once, bounded, for one event loop."""

from __future__ import annotations

from types import TracebackType

from scepkit.errors import HTTPRefused

# Of one protocol. More would only time out while they wait for a thread; 503 makes them come back
# (checklist P-78).
LIMIT = 512


class UnderWay:
    """Counts the requests that are inside its `with` block."""

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> None:
        """Count one more.

        Raises:
            HTTPRefused: there are too many already; HTTP 503.
        """
        if self._count >= LIMIT:
            raise HTTPRefused(503, "busy, try again later")
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Count one less."""
        self._count -= 1
