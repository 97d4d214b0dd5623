"""The CA that will follow the one of a directory (RFC 8894 sections 4.7 and 5.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from scepkit.cli import describe, failure, terminal
from scepkit.client import renewal_time
from scepkit.client.client import CA, Client
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.client.renewal_time import Found
from scepkit.errors import BadReply, LegacyRefused, NoSuccessor, ScepError, TransportError

# How often a CA is asked for its successor when there is nothing else to ask.
_LOOK_AHEAD = timedelta(days=1)


def look_ahead(client: Client, folder: Folder, record: Record) -> None:
    """Ask for the CA's successor now and then, while the CA that could vouch for it is there."""
    if _was_asked(record):
        return
    try:
        found = renewal_time.find(
            client, client.ask(), folder, record.seen(record.url, record.ca_id)
        )
    except ScepError as error:
        terminal.warn(f"the CA could not be asked for its successor: {error.message}")
        return
    _, asked = learn(client, folder, record, found)
    folder.remember(replace(asked, capabilities=tuple(sorted(found.ca.capabilities))))


def learn(
    client: Client, folder: Folder, record: Record, found: Found, *, must: bool = False
) -> tuple[CA | None, Record]:
    """Trust the CA's successor, if it announces one, and keep its certificates.

    A CA that has answered is not asked again for a day, whether it has a successor or not, unless a
    certificate waits: that one's CA may have been given up for another one since.

    Args:
        client: for the CA's server.
        folder: where they are kept.
        record: when the CA was asked last.
        found: the CA.
        must: ask in any case, and raise what goes wrong, in place of saying it.

    Returns:
        The successor; None also when that is the CA that was found. The record, with the time of
        the answer if there was one.
    """
    waits = folder.ahead.path.exists()
    if found.rolled_over or not (must or waits or not _was_asked(record)):
        return None, record
    asked = replace(record, checked_at=datetime.now(UTC).isoformat(timespec="seconds"))
    if not (must or renewal_time.announces(found.ca)):
        return None, asked
    try:
        following = _ask(client, folder, found)
    except ScepError as error:
        if must:
            raise
        return None, asked if _tell(error) else record
    return following, asked


def _ask(client: Client, folder: Folder, found: Found) -> CA:
    certificates = client.get_next_certificates(found.ca)
    following = client.trust_next(found.ca, certificates)
    if folder.next_ca() != certificates:
        folder.keep_next_ca(certificates)
        anchor = following.certificates.anchor
        terminal.say(
            f"the CA announces its successor: {describe.subject(anchor)}, "
            f"valid from {anchor.not_before:%Y-%m-%d}"
        )
    return following


def _tell(error: ScepError) -> bool:
    """Say why there is no successor to trust.

    Returns:
        Whether that was the CA's answer, and asking it again would get the same one.
    """
    match error:
        case NoSuccessor():
            # As ever, but while it prepares to be replaced.
            return True
        case TransportError():
            terminal.warn(f"the CA could not be asked for its successor: {error.message}")
            return False
    terminal.warn(f"the CA's successor cannot be trusted: {error.message}", failure.hint(error))
    return isinstance(error, LegacyRefused) or (isinstance(error, BadReply) and error.final)


def _was_asked(record: Record) -> bool:
    """Say whether the CA has answered within a day."""
    if not record.checked_at:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(record.checked_at) < _LOOK_AHEAD


def switch(folder: Folder, found: Found) -> bool:
    """Install the certificate of the next CA when it is time.

    Returns:
        Whether it was.
    """
    if not renewal_time.may_switch(folder, datetime.now(UTC), rolled_over=found.rolled_over):
        return False
    folder.switch()
    terminal.say("the next CA is in force: installed the certificate that it issued in advance")
    return True
