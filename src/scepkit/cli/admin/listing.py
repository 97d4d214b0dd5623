"""`scep admin list`: issued certificates, requests that have none, and refused ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    EndpointOption,
    JsonLinesOption,
    LimitOption,
    SubjectTextOption,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.operations.states import State
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.operations.search import Found, Query
    from scepkit.server.settings import Settings
    from scepkit.store import Store


_OF_REQUESTS: tuple[str, ...] = (
    "id",
    "endpoint",
    "subject",
    "requested",
    "expires",
    "status",
    "sha256",
)
_OF_CERTIFICATES: tuple[str, ...] = (
    "serial",
    "endpoint",
    "subject",
    "issued",
    "not_after",
    "status",
)
_OF_REFUSALS: tuple[str, ...] = (
    "last_refused",
    "times",
    "endpoint",
    "sender",
    "subject",
    "rule",
    "attribute",
    "transaction_id",
)
_EMPTY = {
    State.ISSUED: "no certificate was issued yet",
    State.PENDING: "no request waits for a decision",
    State.REFUSED: "no request was refused",
}
_NOTHING = "nothing found"
_HASH = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)
_MAX_FILE = 64 * 1024  # octets of a key, a certificate or a request

PendingOption: TypeAlias = Annotated[
    bool, typer.Option("--pending", help="List the requests that wait for a decision.")
]
StateOption: TypeAlias = Annotated[
    State,
    typer.Option(
        "--state",
        "--status",
        metavar="STATE",
        help="Certificates: issued (all, the default), valid, signed (not delivered yet), revoked "
        "(or on hold), held, expired, planned (to be revoked). Requests without one: pending, "
        "rejected (by an operator), lapsed (nobody decided in time), refused (by a rule).",
        show_default=False,
    ),
]
NameOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None, "TEXT", "Only subject alternative names with this text, such as dns:host.example."
    ),
]
KeyOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None,
        "KEY",
        "Only this key: SHA-256 of its SubjectPublicKeyInfo, or a file with a key, a certificate "
        "or a PKCS#10.",
    ),
]
SerialOption: TypeAlias = Annotated[
    str | None, options.option(None, "SERIAL", "Only this serial number, or SERIAL@CA.")
]
Since: TypeAlias = Annotated[
    str | None,
    options.option(None, "TIME", "Only issued, or requested, from then on: 2026-11-28."),
]
Until: TypeAlias = Annotated[
    str | None, options.option(None, "TIME", "Only issued, or requested, before then.")
]
ExpiresAfter: TypeAlias = Annotated[
    str | None, options.option(None, "TIME", "Only what ends then or later.")
]
ExpiresBefore: TypeAlias = Annotated[
    str | None, options.option(None, "TIME", "Only what ends before then.")
]
After: TypeAlias = Annotated[
    str | None,
    options.option(
        None, "CURSOR", "Go on behind this row of an earlier list; --json shows it for each row."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "list",
        cls=Command,
        short_help="List certificates, requests, or refusals.",
        epilog=examples(
            "scep admin list --subject dev1",
            "scep admin list --name dns:dev1.example --state valid",
            "scep admin list --key leaked.pem --json",
            "scep admin list --pending",
            "scep admin list --state refused --endpoint vpn",
        ),
    )(listing)


def listing(
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    pending: PendingOption = False,
    state: StateOption = State.ISSUED,
    endpoint: EndpointOption = None,
    subject: SubjectTextOption = None,
    name: NameOption = None,
    key: KeyOption = None,
    serial: SerialOption = None,
    issued_after: Since = None,
    issued_before: Until = None,
    expires_after: ExpiresAfter = None,
    expires_before: ExpiresBefore = None,
    limit: LimitOption = 0,
    after: After = None,
    as_json: JsonLinesOption = False,
) -> None:
    """List issued certificates, newest first, or requests, oldest first.

    A certificate is listed with its serial number, a request with a short number: show, approve,
    reject and revoke take them. A request is listed with the SHA-256 of its PKCS#10, too: compare
    it with the one that the device shows. A refused request is listed with its transactionID, which
    show takes; those refused last come first.

    Texts are found in any case of ASCII letters. Times are UTC; --json has their seconds. What
    comes and goes between two lists makes no other row come twice, or be left out, with --after.
    """
    with records_opened(directory) as (home, store):
        from scepkit.operations import search
        from scepkit.server.directory.data_directory import utc_now

        query = search.Query(
            state=State.PENDING if pending else state,
            endpoint=endpoint,
            subject=subject,
            name=name,
            key=_key(key),
            **_certificate(serial),
            issued_after=options.read_time(issued_after),
            issued_before=options.read_time(issued_before),
            expires_after=options.read_time(expires_after),
            expires_before=options.read_time(expires_before),
        )
        found = search.everything(store, query, now=utc_now(), after=after, limit=limit or None)
        due = _due(store) if query.state is State.PLANNED else None
        if as_json:
            count = _print_json(found, due)
        else:
            several = len(home.settings.endpoint) > 1
            count = _print_table(found, query, limit, due, endpoints=several)
        if not count:
            _say_nothing(home.settings, query, as_json=as_json)


def _say_nothing(settings: Settings, query: Query, *, as_json: bool) -> None:
    from scepkit.server.directory.data_directory import endpoint_settings

    if query.endpoint is not None:
        # What an endpoint that is gone has issued can still be listed; a typing error is told.
        endpoint_settings(settings, query.endpoint)
    if not as_json:
        is_plain = query == type(query)(state=query.state, endpoint=query.endpoint)
        terminal.say(_EMPTY.get(query.state, _NOTHING) if is_plain else _NOTHING)


def _due(store: Store) -> Callable[[Found], datetime | None]:
    """Return what tells when a certificate is to be revoked."""
    from scepkit.store import CertificateRow

    def due(one: Found) -> datetime | None:
        planned = None
        if isinstance(one.row, CertificateRow):
            planned = store.planned_revocation(one.row.key)
        return None if planned is None else planned.due_at

    return due


def _print_json(found: Iterable[Found], due: Callable[[Found], datetime | None] | None) -> int:
    """Write one object a line; return how many."""
    from scepkit.cli.admin.refusals import json_fields
    from scepkit.store import RefusalRow

    count = 0
    for one in found:
        count += 1
        planned = {} if due is None else {"revocation_due": timestamp(due(one))}
        fields = (
            json_fields(one.row) if isinstance(one.row, RefusalRow) else _fields(one, timestamp)
        )
        row = {**fields, **_more(one), **planned, "cursor": one.cursor}
        terminal.data(json.dumps(row))
    return count


def _more(one: Found) -> dict[str, object]:
    """Return what programs get beyond the table: of a certificate, its names and its CA."""
    from scepkit.store import CertificateRow

    row = one.row
    if not isinstance(row, CertificateRow):
        return {}
    return {"names": row.names.splitlines(), "issuer_key": row.issuer.hex()}


def _print_table(
    found: Iterable[Found],
    query: Query,
    limit: int,
    due: Callable[[Found], datetime | None] | None,
    *,
    endpoints: bool,
) -> int:
    """Write a table, and how to go on where there may be more; return how many rows it has.

    Args:
        found: what was found.
        query: what was looked for.
        limit: at most so many were; 0 for all.
        due: tells when a certificate is to be revoked; None where that is not shown.
        endpoints: whether there are several endpoints to tell apart.
    """
    last = ""

    def rows() -> Iterator[dict[str, str]]:
        nonlocal last
        for one in found:
            last = one.cursor
            planned = {} if due is None else {"revocation_due": table.minute(due(one))}
            yield _fields(one, table.minute) | planned

    if query.state is State.REFUSED:
        columns = [one for one in _OF_REFUSALS if endpoints or one != "endpoint"]
        count = table.write(rows(), columns, below=("transaction_id", "subject"))
    elif query.state.is_of_requests:
        count = table.write(rows(), _OF_REQUESTS, below=("sha256", "subject"))
    else:
        columns = [one for one in _OF_CERTIFICATES if endpoints or one != "endpoint"]
        if due is not None:
            columns.append("revocation_due")
        count = table.write(rows(), columns, below=("subject", "endpoint"))
    if limit and count == limit:
        terminal.say(f"go on with --after {last}")
    return count


def _fields(one: Found, time: Callable[[datetime | None], str]) -> dict[str, str]:
    from scepkit.cli.admin import refusals
    from scepkit.store import CertificateRow, RefusalRow

    row = one.row
    if isinstance(row, RefusalRow):
        return refusals.columns(row, time)
    if isinstance(row, CertificateRow):
        return {
            "serial": show_serial(row.serial),
            "endpoint": row.endpoint,
            "subject": row.subject,
            "issued": time(row.issued_at),
            "not_after": time(row.not_after),
            "status": one.state,
        }
    return {
        "id": str(row.id),
        "endpoint": row.endpoint,
        "subject": row.subject or "",
        "requested": time(row.created_at),
        "expires": time(row.expires_at),
        "status": one.state,
        "sha256": row.csr_digest.hex() if row.csr_digest else "",
    }


def _certificate(text: str | None) -> dict[str, Any]:
    """Return the part of a query that names a certificate."""
    if text is None:
        return {}
    from scepkit.operations.selection import parse_named

    number, issuer = parse_named(text)
    return {"serial": number, "issuer": issuer}


def _key(text: str | None) -> bytes | None:
    """Return the hash of a key that is told by it, or by a file."""
    if text is None:
        return None
    from scepkit.operations.key_file import read_key

    match = _HASH.fullmatch(text)
    if match is not None:
        return bytes.fromhex(match[1].replace(":", ""))
    return read_key(input_file.read(Path(text), _MAX_FILE), text)
