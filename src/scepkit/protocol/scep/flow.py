"""The parts of a client's flows: requests, waits, limits, and repeated requests until an answer.

A flow is a generator: it yields `HTTPRequest` and is sent the `HTTPResponse`, or yields `Wait` and
is resumed when the time is over; a driver of a few lines runs it over any transport.
A driver that gets no answer throws `TransportError` into the flow, which decides what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar

from scepkit.errors import BadReply, TransportError
from scepkit.protocol.scep import http
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

_T = TypeVar("_T")

# Request Timeout, Too Early, Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout.
_BUSY = frozenset({408, 425, 429, 502, 503, 504})

BUSY_HINT = "the server is busy, or a proxy before it cannot reach it; ask again later"
"""The hint where one of these was the answer."""

_HINTS = dict.fromkeys(_BUSY, BUSY_HINT) | dict.fromkeys(
    (401, 403), "the server, or a proxy before it, lets only some in: ask its operator"
)
_HINT = "the server's own log may say more: ask its operator"

# Each poll waits half as long again as the one before it.
_BACK_OFF = 1.5


@dataclass(frozen=True, slots=True)
class Wait:
    """Resume the flow after this time.

    Attributes:
        seconds: how long.
        reason: for a progress display.
        pending: whether the CA is thinking, rather than the network failing.
    """

    seconds: float
    reason: str
    pending: bool = False


Flow: TypeAlias = Generator[HTTPRequest | Wait, HTTPResponse | None, _T]


@dataclass(frozen=True, slots=True)
class Limits:
    """The pace of polling, and its end.

    Attributes:
        retries: how often a request that got no usable answer is sent again.
        retry_after: seconds before the first repetition; each next one waits twice as long.
        max_retry_after: seconds at most before a repetition, if the server asks for more time
            (Retry-After).
        poll_interval: seconds before the first CertPoll; each next one waits half as long again.
        max_poll_interval: seconds between CertPolls at most, unless `poll_interval` is more.
        max_polls: CertPolls at most.
        max_wait: seconds spent waiting between CertPolls at most, all together.
    """

    retries: int = 3
    retry_after: float = 1.0
    max_retry_after: float = 300.0
    poll_interval: float = 60.0
    max_poll_interval: float = 600.0
    max_polls: int = 1000
    max_wait: float = 86_400.0

    def before_retry(self, attempt: int, asked: float | None) -> float:
        """Return the seconds to wait before a repetition.

        Args:
            attempt: how many attempts failed before this one.
            asked: what the server asked for.
        """
        own = self.retry_after * 2.0 ** min(attempt, 64)
        return own if asked is None else max(own, min(asked, self.max_retry_after))

    def before_poll(self, polls: int) -> float:
        """Return the seconds to wait before the next CertPoll, after `polls` of them."""
        slowest = max(self.poll_interval, self.max_poll_interval)
        # The exponent is bounded: a float is not.
        return min(self.poll_interval * _BACK_OFF ** min(polls, 64), slowest)


def ask(
    request: HTTPRequest,
    limits: Limits,
    read: Callable[[HTTPResponse], _T],
    again: Callable[[TransportError | BadReply], bool] | None = None,
) -> Flow[_T]:
    """Send a request until its answer can be used or the repetitions are used up (P-52, P-79).

    The repetition is the same bytes, so that the server can tell (P-43).
    An answer that must not be believed counts as none: anybody on the way can send one.

    Args:
        request: what to send.
        limits: for repetitions.
        read: makes something of an answer with status 200; raises BadReply when it must not be
            believed.
        again: says after which failures to repeat; `worth_repeating` unless given.

    Raises:
        TransportError, BadReply: the reason why the last attempt failed.
    """
    again = again or worth_repeating
    for attempt in range(limits.retries + 1):
        try:
            return read(_usable((yield request)))
        except (TransportError, BadReply) as error:
            if attempt == limits.retries or not again(error):
                raise
            asked = error.retry_after if isinstance(error, TransportError) else None
            pause = Wait(limits.before_retry(attempt, asked), error.message)
        yield pause
    raise TransportError("no attempt was allowed")


def worth_repeating(error: TransportError | BadReply) -> bool:
    """Say whether the same request may do better later: not when the server faults the request."""
    if isinstance(error, BadReply):
        return not error.final
    if error.status is None:
        return True
    return error.status >= 500 or error.status in (408, 425, 429)  # noqa: PLR2004


def is_busy(error: TransportError | BadReply) -> bool:
    """Say whether the server, or a proxy before it, only has no time now (RFC 9110 section 15).

    500 is not among these: it is what servers answer that do not know what they are asked for.
    """
    return isinstance(error, TransportError) and error.status in _BUSY


def _usable(response: HTTPResponse | None) -> HTTPResponse:
    if response is None:
        raise TransportError("no answer came")
    if response.status != 200:  # noqa: PLR2004
        said = response.body[:200].decode("utf-8", "replace").strip()
        detail = f": {said}" if said and response.content_type.startswith(http.TEXT) else ""
        raise TransportError(
            f"the server answered HTTP {response.status}{detail}",
            status=response.status,
            hint=_HINTS.get(response.status, _HINT),
            retry_after=retry_after(response),
        )
    return response


def retry_after(response: HTTPResponse) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110 section 10.2.3)."""
    # A transport of somebody's own may write the names as it likes.
    headers = {name.lower(): value for name, value in response.headers.items()}
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    # A date counts from the server's own, since this machine's clock may be wrong.
    pause = _date(text, headers.get("date", ""))
    return None if pause is None else max(0.0, pause.total_seconds())


def _date(until: str, start: str) -> timedelta | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(until) - parsedate_to_datetime(start)
    except (TypeError, ValueError, IndexError, OverflowError):
        # OverflowError: a time zone of more hours than there are.
        return None
