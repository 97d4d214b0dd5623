"""From the options of a command to a client."""

from __future__ import annotations

from pathlib import Path

from scepkit.cli import options, terminal
from scepkit.client.client import Client
from scepkit.client.folder.record import Record
from scepkit.client.http import HTTPTransport
from scepkit.protocol.scep.transaction import Limits


def client(
    url: str,
    *,
    ca_id: str,
    tls_ca: Path | None,
    timeout: float,
    proxy: str | None = None,
    legacy: str = "",
    limits: Limits | None = None,
) -> Client:
    """Return a client that shows on the terminal what it waits for.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: the file with the TLS CA cannot be used.
    """
    options.check_seconds("--timeout", timeout)
    return Client(
        url,
        identifier=ca_id,
        transport=HTTPTransport(timeout=timeout, ca_file=tls_ca, proxy=proxy),
        allowed=options.read_legacy(legacy),
        limits=limits,
        pause=terminal.Progress().pause,
    )


def recorded(
    record: Record, *, timeout: float, proxy: str | None, limits: Limits | None = None
) -> Client:
    """Return a client for the server of a record, reached as that says.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: the file with the TLS CA cannot be used.
    """
    return client(
        record.url,
        ca_id=record.ca_id,
        tls_ca=Path(record.tls_ca) if record.tls_ca else None,
        timeout=timeout,
        proxy=proxy,
        legacy=",".join(record.legacy),
        limits=limits,
    )


def limits(poll_interval: float, max_wait: float) -> Limits:
    """Return the limits of waiting for approval.

    Raises:
        UsageError: an option cannot be meant.
    """
    options.check_seconds("--poll-interval", poll_interval)
    options.check_seconds("--max-wait", max_wait)
    return Limits(poll_interval=poll_interval, max_wait=max_wait)
