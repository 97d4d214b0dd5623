"""The schedule of renewals: the time of the next one, and the pauses after failures.

What is drawn at random is drawn from a hash of the certificate and the host: a restart draws the
same again, and a fleet is spread.
"""

from __future__ import annotations

import hashlib
import platform
from datetime import datetime, timedelta
from fractions import Fraction

from scepkit.client.renewal_time import due_within, least_interval
from scepkit.errors import UsageError
from scepkit.protocol.certificate import Certificate

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=6)
"""The bounds of a pause after a failure."""

LONGEST_EXPIRED = timedelta(hours=1)
"""The longest pause when the certificate is over."""

LONGEST_POLL = timedelta(hours=1)
"""The longest pause between two questions for a request that waits for approval."""

# A renewal is put off by up to this share of what is left of the certificate's life.
_SPREAD = 0.1
# Near a certificate's end a pause is at most this share of what is left.
_SHARE = 10
_LONGEST_POINT = 40  # characters


def read_point(text: str) -> Fraction:
    """Read a point of a certificate's life, such as `2/3`, `66%` or `0.66`.

    Raises:
        UsageError: it is none.
    """
    plain = text.strip()
    try:
        # An exponent would make it a number of any length.
        is_short = len(plain) <= _LONGEST_POINT and "e" not in plain.lower()
        number = Fraction(plain.removesuffix("%")) if is_short else Fraction(0)
        found = number / 100 if plain.endswith("%") else number
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if not 0 < found < 1:
        raise UsageError(
            f"{text[:_LONGEST_POINT]!r} is not a point of a certificate's life",
            hint="a share between 0 and 1, such as 2/3, 66% or 0.66",
        )
    return found


def draw(*words: str) -> float:
    """Return a number from 0 to below 1, the same for the same words."""
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def renew_at(
    certificate: Certificate,
    got_at: datetime,
    *,
    at: Fraction | None = None,
    interval: timedelta | None = None,
    advised: datetime | None = None,
) -> datetime:
    """Return when a certificate is to be renewed.

    Args:
        certificate: the certificate.
        got_at: when it was got.
        at: the point of its life; None for the last third, at most 30 days.
        interval: the least time after `got_at`; see `least_interval`.
        advised: when the server wants it: that can only bring the renewal forward.
    """
    own = own_time(certificate, got_at, at)
    earliest = got_at + least_interval(certificate, interval)
    return max(own if advised is None else min(own, advised), earliest)


def own_time(
    certificate: Certificate,
    got_at: datetime,
    at: Fraction | None,
    host: str | None = None,
) -> datetime:
    """Return when a certificate is to be renewed, by the agent's own schedule.

    Its life begins when it was got: a CA may date it back by any length, and a certificate whose
    time had always come already would be renewed without end.

    Args:
        certificate: the certificate.
        got_at: when it was got.
        at: the point of its life; None for the last third, at most 30 days.
        host: name of this machine, unless given.
    """
    start, end = certificate.validity
    if start < got_at < end:
        start = got_at
    earliest = due_within(start, end) if at is None else start + (end - start) * float(at)
    words = (f"{certificate.serial:x}", platform.node() if host is None else host)
    return earliest + (end - earliest) * _SPREAD * draw(*words)


def pause(
    failures: int, left: timedelta | None, *words: str, longest: timedelta = LONGEST
) -> timedelta:
    """Return the time to the next attempt after failures: it doubles, within bounds.

    Args:
        failures: how many there were, one after the other.
        left: of the certificate's life; None where that does not matter. Near its end a pause is
            shorter.
        words: what makes this attempt another one than those of other directories.
        longest: the bound, before that.
    """
    most = longest
    if left is not None:
        most = min(most, left / _SHARE if left > timedelta() else LONGEST_EXPIRED)
    # The exponent is bounded: a timedelta is not.
    doubled = SHORTEST * (1 << min(max(failures, 1) - 1, 20))
    drawn = min(doubled, most) * (0.75 + 0.25 * draw(*words, str(failures)))
    return max(SHORTEST, drawn)
