"""The clock of a device: one function, which all of the client asks for the time."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time by this machine's clock, aware, in UTC."""
    return datetime.now(UTC)
