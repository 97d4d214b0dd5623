"""The CA that will follow the one of a directory (RFC 8894 sections 4.7 and 5.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from scepkit.cli import describe, terminal
from scepkit.client import renewing
from scepkit.client.client import CA, Client
from scepkit.client.folder import Folder
from scepkit.client.record import Record
from scepkit.client.renewing import Found
from scepkit.errors import ScepError

# How often a CA is asked for its successor when there is nothing else to ask.
_LOOK_AHEAD = timedelta(days=1)


def look_ahead(client: Client, folder: Folder, record: Record) -> None:
    """Ask for the CA's successor now and then, while the CA that could vouch for it is there."""
    now = datetime.now(UTC)
    if record.checked_at and now - datetime.fromisoformat(record.checked_at) < _LOOK_AHEAD:
        return
    try:
        found = renewing.find(client, client.ask(), folder, record.seen(record.url, record.ca_id))
    except ScepError as error:
        terminal.warn(f"the CA could not be asked for its successor: {error.message}")
        return
    learn(client, folder, found)
    folder.remember(
        replace(
            record,
            capabilities=tuple(sorted(found.ca.capabilities)),
            checked_at=now.isoformat(timespec="seconds"),
        )
    )


def learn(client: Client, folder: Folder, found: Found, *, must: bool = False) -> CA | None:
    """Trust the CA's successor, when it has one, and keep its certificates.

    Args:
        client: for the CA's server.
        folder: where they are kept.
        found: the CA.
        must: raise what goes wrong, in place of saying it.

    Returns:
        The successor; None also when that is the CA that was found.
    """
    if found.rolled_over or not (must or renewing.announces(found.ca)):
        return None
    try:
        certificates = client.get_next_certificates(found.ca)
        following = client.trust_next(found.ca, certificates)
    except ScepError as error:
        if must:
            raise
        terminal.warn(f"the CA's successor cannot be trusted: {error.message}")
        return None
    if folder.next_ca() != certificates:
        folder.keep_next_ca(certificates)
        anchor = following.certificates.anchor
        terminal.say(
            f"the CA announces its successor: {describe.subject(anchor)}, "
            f"valid from {anchor.not_valid_before_utc:%Y-%m-%d}"
        )
    return following


def switch(folder: Folder, found: Found) -> bool:
    """Install the certificate of the next CA when it is time.

    Returns:
        Whether it was.
    """
    if not renewing.may_switch(folder, datetime.now(UTC), rolled_over=found.rolled_over):
        return False
    folder.switch()
    terminal.say("the next CA is in force: installed the certificate that was got from it ahead")
    return True
