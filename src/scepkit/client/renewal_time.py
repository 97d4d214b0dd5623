"""The time of a renewal: by a client's own schedule, and by the advice of the server.

The advice (RFC 9773) brings a renewal forward, and never puts one off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scepkit.client.renewal_info import RenewalAdvice
from scepkit.protocol.certificate import Certificate

# Renewing in the last third of a certificate's life leaves time for an approval, and for a CA that
# is away; more than a month of it helps nobody.
_LONGEST = timedelta(days=30)

# What a minimum interval must leave of a short life, where none is set.
_SHARE = 10
_SHORTEST_INTERVAL = timedelta(minutes=1)
_USUAL_INTERVAL = timedelta(hours=1)


def due(certificate: Certificate, before: timedelta | None = None) -> datetime:
    """Return from when on a certificate is to be renewed.

    Args:
        certificate: the certificate.
        before: how long before its end; a third of its life unless given, at most 30 days.
    """
    start, end = certificate.validity
    return due_within(start, end) if before is None else end - before


def due_within(start: datetime, end: datetime) -> datetime:
    """Return from when on a certificate is usually renewed whose life is from start to end."""
    return end - min((end - start) / 3, _LONGEST)


def least_interval(certificate: Certificate, wanted: timedelta | None = None) -> timedelta:
    """Return the least time between two certificates of a directory.

    Args:
        certificate: the current one.
        wanted: what is set; None for an hour, or a tenth of a shorter life.
    """
    if wanted is not None:
        return wanted
    start, end = certificate.validity
    return max(_SHORTEST_INTERVAL, min(_USUAL_INTERVAL, (end - start) / _SHARE))


@dataclass(frozen=True, slots=True)
class RenewalTime:
    """The time of a renewal.

    Attributes:
        at: from then on.
        advice: of the server, where that makes it so early; None where it is the own schedule.
    """

    at: datetime
    advice: RenewalAdvice | None = None

    @classmethod
    def of(
        cls,
        certificate: Certificate,
        got_at: datetime,
        advice: RenewalAdvice | None,
        before: timedelta | None = None,
    ) -> RenewalTime:
        """Return when a certificate is to be renewed, with what its server advises.

        Args:
            certificate: the certificate.
            got_at: when it was got: it is not replaced soon after that, whatever is advised.
            advice: what the server advises; None where that is not known.
            before: as `due` has it.
        """
        own = due(certificate, before)
        if advice is None:
            return cls(own)
        at = advice.between(got_at + least_interval(certificate), own)
        return cls(at, advice if at < own else None)
