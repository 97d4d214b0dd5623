"""The server's advice on the time of a renewal (RFC 9773), as the state of a directory keeps it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from scepkit.client import clock, renewal_info
from scepkit.client.agent.state import State
from scepkit.client.client import Client, Connection
from scepkit.client.events import RenewalInfoUnknown, Tell
from scepkit.client.folder.record import Record
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.capabilities import offers_renewal_info


def asked(
    state: State, record: Record, certificate: Certificate, connection: Connection, tell: Tell
) -> State:
    """Ask the server when it wants a certificate to be renewed; return the state with its advice.

    Nothing proves what it says: that can bring a renewal forward, and do nothing else.

    Args:
        state: of the directory.
        record: of the server; one that has not said that it gives advice is not asked.
        certificate: the current one.
        connection: how the server is reached.
        tell: takes the event of a server that did not answer.
    """
    if not offers_renewal_info(frozenset(record.capabilities)):
        return state
    found = _advice(record, certificate, connection, tell)
    return replace(
        state,
        advised_at=found.at if found else None,
        advise_again_at=found.check_again if found else clock.now() + renewal_info.USUAL_PAUSE,
        explanation=found.explanation if found else "",
    )


def _advice(
    record: Record, certificate: Certificate, connection: Connection, tell: Tell
) -> RenewalAdvice | None:
    """Return the server's advice; any failure is an event, and means none."""
    way = connection.transport_of(
        record, longest=renewal_info.TIMEOUT, max_response=renewal_info.MAX_BODY
    )
    with closing(way):
        try:
            return Client(record.url, transport=way).get_renewal_info(certificate)
        except ScepError as error:
            tell(RenewalInfoUnknown(error))
            return None
