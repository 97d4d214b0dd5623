"""The types of columns beyond SQLAlchemy's: times, serial numbers and lists of texts.

Each issuance pays for some of them, so what they do to a value is one call (`prepared`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, DateTime, String, TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, always UTC.

    SQLite keeps text without a zone, so UTC is written and UTC is put back; the text then sorts
    as the times do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Return what writes a time; for SQLite as SQLAlchemy does, which takes five times as long.

        An issuance has seven.
        """
        return _text_of if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return what reads a time."""
        if dialect.name == "sqlite":
            return _time_of
        return super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive time would silently mean local time, so it raises ValueError."""
        return None if value is None else _in_utc(value)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Convert to UTC: PostgreSQL answers in the session's zone."""
        return None if value is None else value.astimezone(UTC)


def _in_utc(time: datetime) -> datetime:
    if time.tzinfo is UTC:
        return time
    if time.utcoffset() is None:
        raise ValueError("a time without a zone cannot be stored")
    return time.astimezone(UTC)


def _text_of(time: datetime | None) -> str | None:
    """Return a time as SQLite has it: `2026-11-05 12:00:00.123456`, in UTC."""
    if time is None:
        return None
    in_utc = time if time.tzinfo is UTC else _in_utc(time)
    return in_utc.isoformat(" ", "microseconds")[:26]


def _time_of(text: str | None) -> datetime | None:
    """Return the time that SQLite has as text."""
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


class SerialNumber(TypeDecorator[int]):
    """A certificate's serial number as lower-case hex: 159 bits are too long for SQL integers."""

    impl = String(40)
    cache_ok = True

    def bind_processor(self, _dialect: Dialect) -> Callable[[int | None], str | None]:
        """Return what writes a number: an issuance has several, and one call is enough for each."""
        return _hex_of

    def result_processor(
        self, _dialect: Dialect, _coltype: object
    ) -> Callable[[str | None], int | None]:
        """Return what reads a number, in one call as well."""
        return _serial_of

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> str | None:
        """Write hex without leading zeros, as operators see it."""
        return _hex_of(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> int | None:
        """Read the hex back."""
        return _serial_of(value)


def _hex_of(serial: int | None) -> str | None:
    return None if serial is None else f"{serial:x}"


def _serial_of(text: str | None) -> int | None:
    return None if text is None else int(text, 16)


class Texts(TypeDecorator[list[str]]):
    """A list of texts, as JSON; most are empty."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return what reads a list; PostgreSQL's driver does it by itself."""
        if dialect.name == "sqlite":
            return _texts_of
        return super().result_processor(dialect, coltype)


def _texts_of(text: str | None) -> list[str] | None:
    if text == "[]":
        return []
    return None if text is None else json.loads(text)
