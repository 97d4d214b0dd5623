"""Renewal information (RFC 9773): when a server wants a certificate to be renewed.

    if renewal_info.is_offered(ca.capabilities):
        advice = renewal_info.fetch(transport, client.url, certificate)
        when = advice.between(earliest, own_latest) if advice else own_latest

Nothing of it is authenticated where the server is reached by plain HTTP. So it can bring a renewal
forward, and never put one off: whoever makes up an answer gains a renewal, and no outage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepkit.client import clock, events
from scepkit.client.events import RenewalInfoUnknown, Tell
from scepkit.client.transport import Transport, run_flow
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import flow, renewal_info
from scepkit.protocol.scep.capabilities import WHEN_TO_RENEW, Capabilities
from scepkit.protocol.scep.flow import Limits
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.renewal_info import MAX_BODY, CertID, RenewalInfo

__all__ = ["MAX_BODY", "TIMEOUT", "USUAL_PAUSE", "Advice", "fetch", "is_offered"]

TIMEOUT = 5.0
"""Seconds for the question and its answer: a renewal does not need it."""

USUAL_PAUSE = timedelta(hours=6)
"""The time to the next question where the server names none, or did not answer (RFC 9773 4.3.3)."""

_SHORTEST_PAUSE = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(hours=24)

_ONCE = Limits(retries=0)


@dataclass(frozen=True, slots=True)
class Advice:
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

    def between(self, earliest: datetime, latest: datetime) -> datetime:
        """Return when to renew: as advised, but never later than without advice.

        Args:
            earliest: the first time at which a renewal may be.
            latest: the time at which it would be without advice.
        """
        return min(max(self.at, earliest), latest)


def is_offered(capabilities: Capabilities) -> bool:
    """Say whether a server has renewal information."""
    return WHEN_TO_RENEW.lower() in capabilities


def fetch(
    transport: Transport, server: str, certificate: Certificate, tell: Tell = events.ignore
) -> Advice | None:
    """Ask a server when a certificate is to be renewed.

    Any failure is an event and no advice; ask again after `USUAL_PAUSE`.

    Args:
        transport: the way to the server; give it no more than `TIMEOUT` and `MAX_BODY`.
        server: the URL of the SCEP server.
        certificate: the certificate.
        tell: takes the event.
    """
    request = HTTPRequest("GET", b"")

    def read(response: HTTPResponse) -> tuple[RenewalInfo, float | None]:
        return RenewalInfo.read(response.body), flow.retry_after(response)

    try:
        place = renewal_info.place(server, CertID.of(certificate))
        found, pause = run_flow(flow.ask(request, _ONCE, read), transport, place)
    except ScepError as error:
        tell(RenewalInfoUnknown(error))
        return None
    now = clock.now()
    return Advice(_instant(found, certificate), now + _bounded(pause), found.explanation)


def _instant(found: RenewalInfo, certificate: Certificate) -> datetime:
    """Return a time in the window, uniformly, by what no other certificate has in common."""
    digest = hashlib.sha256(certificate.der).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return found.start + (found.end - found.start) * fraction


def _bounded(seconds: float | None) -> timedelta:
    if seconds is None:
        return USUAL_PAUSE
    # Seconds first: a timedelta cannot hold all of them.
    longest = _LONGEST_PAUSE.total_seconds()
    return timedelta(seconds=max(_SHORTEST_PAUSE.total_seconds(), min(seconds, longest)))
