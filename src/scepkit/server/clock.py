"""The server's only clock."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)
