"""The types of columns beyond SQLAlchemy's: times, serial numbers and lists of texts.

Each issuance pays for some of them, so what they do to a value is one call (`prepared`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, DateTime, String, TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Dialect


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, always UTC.

    SQLite keeps text without a zone, so UTC is written and UTC is put back; the text then sorts
    as the times do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        """Return what writes a time; for SQLite as SQLAlchemy does, which takes five times as long.

        An issuance has seven. PostgreSQL takes the same text with its zone, which travels from one
        process to another in a tenth of the time that a datetime takes.
        """
        return TIME_WRITERS[dialect.name]

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
    """Return a time as SQLite has it: `2026-11-05 12:00:00.123456`, in UTC.

    `isoformat` asks for the zone, which takes as long as all of this, and so do format strings.
    """
    if time is None:
        return None
    at = time if time.tzinfo is UTC else _in_utc(time)
    parts = at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond
    return "%04d-%02d-%02d %02d:%02d:%02d.%06d" % parts  # noqa: UP031


def _text_with_zone_of(time: datetime | None) -> str | None:
    """Return a time as PostgreSQL takes it: the same text, with its zone."""
    return None if time is None else f"{_text_of(time)}+00"


TIME_WRITERS: Mapping[str, Callable[[datetime | None], Any]] = {
    "sqlite": _text_of,
    "postgresql": _text_with_zone_of,
}
"""By dialect: what makes a time the text that the driver takes."""


def time_of_text(text: str) -> datetime:
    """Return the time that a text of either writer has."""
    return datetime.fromisoformat(f"{text[:26]}+00:00")


def _time_of(text: str | None) -> datetime | None:
    """Return the time that SQLite has as text."""
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


class SerialNumber(TypeDecorator[int]):
    """A certificate's serial number as lower-case hex: 159 bits are too long for SQL integers."""

    impl = String(40)
    cache_ok = True

    def bind_processor(self, _dialect: Dialect) -> Callable[[int | None], str | None]:
        """Return what writes a number: an issuance has several, and one call is enough for each."""
        return hex_of

    def result_processor(
        self, _dialect: Dialect, _coltype: object
    ) -> Callable[[str | None], int | None]:
        """Return what reads a number, in one call as well."""
        return serial_of

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> str | None:
        """Write hex without leading zeros, as operators see it."""
        return hex_of(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> int | None:
        """Read the hex back."""
        return serial_of(value)


def hex_of(serial: int | None) -> str | None:
    """Return a serial number as it is stored."""
    return None if serial is None else f"{serial:x}"


def serial_of(text: str | None) -> int | None:
    """Return the serial number that is stored so."""
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
