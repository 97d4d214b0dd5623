"""Renewal information (RFC 9773) as a client takes it: the time at which a server wants a renewal.

    advice = client.get_renewal_info(certificate)
    when = advice.between(earliest, own_latest)

Nothing of it is authenticated where the server is reached by plain HTTP. So it can bring a renewal
forward, and never put one off: whoever makes up an answer gains a renewal, and no outage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.renewal_info import MAX_BODY, RenewalInfo

__all__ = ["LONGEST_PAUSE", "MAX_BODY", "TIMEOUT", "USUAL_PAUSE", "RenewalAdvice"]

TIMEOUT = 5.0
"""Seconds for the question and its answer: a renewal does not need it."""

USUAL_PAUSE = timedelta(hours=6)
"""The time to the next question where the server names none, or did not answer (RFC 9773 4.3.3)."""

LONGEST_PAUSE = timedelta(hours=24)
"""The longest time to the next question, whatever the server names."""

_SHORTEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RenewalAdvice:
    """The time at which a server wants a certificate to be renewed.

    Attributes:
        at: an instant in the server's window, the same for a certificate at each look; what is
            past means now.
        check_again: when to ask again.
        explanation: URL of a page that says why: to be shown to people, and fetched by nobody
            else; "" for none.
    """

    at: datetime
    check_again: datetime
    explanation: str = ""

    @classmethod
    def of(
        cls, found: RenewalInfo, certificate: Certificate, pause: float | None, now: datetime
    ) -> RenewalAdvice:
        """Return the advice in an answer.

        Args:
            found: the answer.
            certificate: the certificate that it is about.
            pause: seconds to the next question, as the server wants it.
            now: an aware datetime.
        """
        return cls(_instant(found, certificate), now + _bounded(pause), found.explanation)

    def between(self, earliest: datetime, latest: datetime) -> datetime:
        """Return when to renew: as advised, but never later than without advice.

        Args:
            earliest: the first time at which a renewal may be.
            latest: the time at which it would be without advice.
        """
        return min(max(self.at, earliest), latest)


def _instant(found: RenewalInfo, certificate: Certificate) -> datetime:
    """Return a time in the window, uniformly, by what no other certificate has in common."""
    digest = hashlib.sha256(certificate.der).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return found.start + (found.end - found.start) * fraction


def _bounded(seconds: float | None) -> timedelta:
    if seconds is None:
        return USUAL_PAUSE
    # Seconds first: a timedelta cannot hold all of them.
    longest = LONGEST_PAUSE.total_seconds()
    return timedelta(seconds=max(_SHORTEST_PAUSE.total_seconds(), min(seconds, longest)))
