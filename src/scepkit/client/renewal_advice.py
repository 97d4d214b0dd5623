"""The question for the server's advice on a renewal, as agents and single renewals ask it.

It is asked as often as the server wants it, from once an hour to once a day.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

from scepkit.client import clock, renewal_info
from scepkit.client.client import Client, Connection
from scepkit.client.events import RenewalInfoUnknown, Tell
from scepkit.client.folder.record import Record
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.capabilities import offers_renewal_info


def is_time(record: Record, ask_again: datetime | None) -> bool:
    """Say whether a server is to be asked now: it gives advice, and has not just been asked.

    Args:
        record: of the server.
        ask_again: when it is to be asked again, as `ask` returned it; None for at once.
    """
    if not offers_renewal_info(frozenset(record.capabilities)):
        return False
    now = clock.now()
    # Noted by a clock that was wrong, it must not silence the question for ever.
    return ask_again is None or not now < ask_again <= now + renewal_info.LONGEST_PAUSE


def ask(
    record: Record, certificate: Certificate, connection: Connection, tell: Tell
) -> tuple[RenewalAdvice | None, datetime]:
    """Ask the server when it wants a certificate to be renewed.

    Nothing proves what it says: that can bring a renewal forward, and do nothing else.

    Args:
        record: of the server.
        certificate: the current one.
        connection: how the server is reached.
        tell: takes the event of a server that did not answer, which means no advice.

    Returns:
        The advice, None for none; and when to ask again.
    """
    way = connection.transport_of(
        record, longest=renewal_info.TIMEOUT, max_response=renewal_info.MAX_BODY
    )
    with closing(way):
        try:
            found = Client(record.url, transport=way).get_renewal_info(certificate)
        except ScepError as error:
            tell(RenewalInfoUnknown(error))
            return None, clock.now() + renewal_info.USUAL_PAUSE
    return found, found.check_again
