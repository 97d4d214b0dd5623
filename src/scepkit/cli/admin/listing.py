"""`scep admin list`: issued certificates, and requests that have none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
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
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from scepkit.operations.search import Found, Query


class Wanted(StrEnum):
    """The states to list, as `operations.search.State` has them."""

    ISSUED = "issued"
    VALID = "valid"
    SIGNED = "signed"
    REVOKED = "revoked"
    HELD = "held"
    EXPIRED = "expired"
    PENDING = "pending"
    REJECTED = "rejected"
    LAPSED = "lapsed"


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
_EMPTY = {
    Wanted.ISSUED: "no certificate was issued yet",
    Wanted.PENDING: "no request waits for a decision",
}
_HASH = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)
_MAX_FILE = 64 * 1024  # octets of a key, a certificate or a request

StateOption: TypeAlias = Annotated[
    Wanted,
    typer.Option(
        "--state",
        "--status",
        metavar="STATE",
        help="Certificates: issued (all, the default), valid, signed (not delivered yet), revoked "
        "(or on hold), held, expired. Requests without one: pending, rejected, lapsed (nobody "
        "decided in time).",
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
    str | None, options.option(None, "HEX", "Only this serial number.")
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
        short_help="List certificates, or requests.",
        epilog=examples(
            "scep admin list --subject dev1",
            "scep admin list --name dns:dev1.example --state valid",
            "scep admin list --key leaked.pem --json",
            "scep admin list --pending",
        ),
    )(listing)


def listing(
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    pending: Annotated[
        bool, typer.Option("--pending", help="List the requests that wait for a decision.")
    ] = False,
    state: StateOption = Wanted.ISSUED,
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
    it with the one that the device shows.

    Texts are found in any case of ASCII letters. What comes and goes between two lists makes no
    other row come twice, or be left out, with --after.
    """
    wanted = Wanted.PENDING if pending else state
    times = {
        "issued_after": issued_after,
        "issued_before": issued_before,
        "expires_after": expires_after,
        "expires_before": expires_before,
    }
    with records_opened(directory) as (home, store):
        from scepkit.operations import search
        from scepkit.operations.selection import parse_serial
        from scepkit.server.data_directory import endpoint_settings, utc_now

        query = search.Query(
            state=search.State(wanted),
            endpoint=endpoint,
            subject=subject,
            name=name,
            key=None if key is None else _key(key),
            serial=None if serial is None else parse_serial(serial),
            **{one: options.read_time(text) for one, text in times.items()},
        )
        found = search.everything(store, query, now=utc_now(), after=after, limit=limit or None)
        several = len(home.settings.endpoint) > 1
        count = _print(found, query, limit, several=several, as_json=as_json)
        if endpoint is not None and not count:
            # What an endpoint that is gone has issued can still be listed; a typing error is told.
            endpoint_settings(home.settings, endpoint)
    if not count and not as_json:
        is_plain = query == search.Query(state=query.state, endpoint=endpoint)
        terminal.say(_EMPTY.get(wanted, "nothing found") if is_plain else "nothing found")


def _print(
    found: Iterable[Found], query: Query, limit: int, *, several: bool, as_json: bool
) -> int:
    """Write what was found, and how to go on where there may be more; return how much it is."""
    if as_json:
        return _print_json(found)
    of_requests = query.state.is_of_requests
    count, last = _print_table(found, of_requests=of_requests, endpoints=several)
    if limit and count == limit:
        terminal.say(f"go on with --after {last}")
    return count


def _print_json(found: Iterable[Found]) -> int:
    """Write one object a line; return how many."""
    count = 0
    for one in found:
        count += 1
        terminal.data(json.dumps({**_fields(one), **_more(one), "cursor": one.cursor}))
    return count


def _more(one: Found) -> dict[str, object]:
    """Return what programs get beyond the table: of a certificate, its names and its CA."""
    from scepkit.store import CertificateRow

    row = one.row
    if not isinstance(row, CertificateRow):
        return {}
    return {"names": row.names.splitlines(), "issuer_key": row.issuer.hex()}


def _print_table(found: Iterable[Found], *, of_requests: bool, endpoints: bool) -> tuple[int, str]:
    """Write a table; return how many rows it has, and the cursor of the last one.

    Args:
        found: what was found.
        of_requests: whether that is requests.
        endpoints: whether there are several endpoints to tell apart.
    """
    every = _OF_REQUESTS if of_requests else _OF_CERTIFICATES
    is_told = endpoints or of_requests
    columns = [one for one in every if is_told or one != "endpoint"]
    last = ""

    def rows() -> Iterator[dict[str, str]]:
        nonlocal last
        for one in found:
            last = one.cursor
            yield _fields(one)

    return terminal.long_table(rows(), columns), last


def _fields(one: Found) -> dict[str, str]:
    from scepkit.store import CertificateRow

    row = one.row
    if isinstance(row, CertificateRow):
        return {
            "serial": show_serial(row.serial),
            "endpoint": row.endpoint,
            "subject": row.subject,
            "issued": timestamp(row.issued_at),
            "not_after": timestamp(row.not_after),
            "status": one.state,
        }
    return {
        "id": str(row.id),
        "endpoint": row.endpoint,
        "subject": row.subject or "",
        "requested": timestamp(row.created_at),
        "expires": timestamp(row.expires_at),
        "status": one.state,
        "sha256": row.csr_digest.hex() if row.csr_digest else "",
    }


def _key(text: str) -> bytes:
    """Return the hash of a key that is told by it, or by a file."""
    from scepkit.operations.key_file import read_key

    match = _HASH.fullmatch(text)
    if match is not None:
        return bytes.fromhex(match[1].replace(":", ""))
    return read_key(input_file.read(Path(text), _MAX_FILE), text)
