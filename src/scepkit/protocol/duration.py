"""Lengths of time as people write them: `90s`, `30m`, `1h`, `7d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta

from scepkit.errors import UsageError

_DURATION = re.compile(r"(\d{1,6})([smhdw])")
# From today that ends, or began, in a year of four digits.
_MOST_YEARS = 100
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `1h`, `7d`, `2w` or several of them together.

    Raises:
        UsageError: it is none, or nothing, or longer than anybody can mean.
    """
    plain = text.strip().lower()
    parts = _DURATION.findall(plain)
    total = sum((timedelta(**{_UNITS[unit]: int(n)}) for n, unit in parts), timedelta())
    if "".join(n + unit for n, unit in parts) != plain or not total:
        raise UsageError(
            f"{text!r} is not a duration",
            hint="a number with s, m, h, d or w, more than 0, such as 30m, 1h or 7d",
        )
    if total > timedelta(days=365 * _MOST_YEARS):
        raise UsageError(
            f"{text!r} is more than {_MOST_YEARS} years", hint=f"at most {_MOST_YEARS * 365}d"
        )
    return total
