"""From the options of a command to a server and its CA."""

from __future__ import annotations

from pathlib import Path

from scepkit.cli import options, terminal
from scepkit.client.client import Client, Connection
from scepkit.client.folder.record import ServerChanges
from scepkit.protocol.scep.transaction import Limits


def of_options(
    timeout: float,
    proxy: str | None,
    poll_interval: float | None = None,
    max_wait: float | None = None,
) -> Connection:
    """Return the way to a server, which shows on the terminal what is waited for.

    Raises:
        UsageError: an option cannot be meant.
    """
    limits = None
    if poll_interval is not None and max_wait is not None:
        options.check_seconds("--poll-interval", poll_interval)
        options.check_seconds("--max-wait", max_wait)
        limits = Limits(poll_interval=poll_interval, max_wait=max_wait)
    options.check_seconds("--timeout", timeout)
    return Connection(timeout, proxy, limits, terminal.Progress().pause)


def client(
    url: str, way: Connection, *, ca_id: str, tls_ca: Path | None, legacy: str = ""
) -> Client:
    """Return a client for the server of a URL.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: the file with the TLS CA cannot be used.
    """
    return Client(
        url,
        identifier=ca_id,
        allowed=options.read_legacy(legacy),
        transport=way.transport(tls_ca),
        limits=way.limits,
        pause=way.pause,
    )


def changes(url: str, ca_id: str | None, legacy: str | None, tls_ca: Path | None) -> ServerChanges:
    """Return what the options say anew of a server.

    Raises:
        UsageError: an option cannot be meant.
    """
    allowed = None if legacy is None else options.read_legacy(legacy)
    return ServerChanges(url, ca_id, allowed, tls_ca)
