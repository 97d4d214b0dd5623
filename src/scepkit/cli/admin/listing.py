"""`scep admin list`: issued certificates, and requests that wait for a decision."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
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
    from scepkit.store import RequestRow, Store


class Wanted(StrEnum):
    """The rows to list: certificates, or requests that (still) have none."""

    VALID = "valid"
    REVOKED = "revoked"
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
    None: "no certificate was issued yet",
    Wanted.PENDING: "no request waits for a decision",
}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "list",
        cls=Command,
        short_help="List certificates, or requests.",
        epilog=examples(
            "scep admin list --subject dev1",
            "scep admin list --pending",
            "scep admin list --status expired --json",
        ),
    )(listing)


def listing(
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    pending: Annotated[
        bool, typer.Option("--pending", help="List the requests that wait for a decision.")
    ] = False,
    status: Annotated[
        Wanted | None,
        typer.Option(
            metavar="STATUS",
            help="Certificates: valid, revoked (or on hold), expired. Requests without one: "
            "pending, rejected, lapsed (nobody decided in time).",
            show_default=False,
        ),
    ] = None,
    endpoint: EndpointOption = None,
    subject: SubjectTextOption = None,
    limit: LimitOption = 0,
    json: JsonLinesOption = False,
) -> None:
    """List issued certificates, newest first, or requests, oldest first.

    A certificate is listed with its serial number, a request with a short number: show, approve,
    reject and revoke take them. A request is listed with the SHA-256 of its PKCS#10, too: compare
    it with the one that the device shows.
    """
    wanted = Wanted.PENDING if pending else status
    with records_opened(directory) as (home, store):
        from scepkit.server.data_directory import endpoint_settings

        if wanted in (Wanted.PENDING, Wanted.REJECTED, Wanted.LAPSED):
            columns = _OF_REQUESTS
            rows = _requests(store, wanted, endpoint, subject, limit)
        else:
            columns = _OF_CERTIFICATES
            if not json and len(home.settings.endpoint) == 1:
                columns = tuple(one for one in columns if one != "endpoint")
            rows = _certificates(store, wanted, endpoint, subject, limit)
        if endpoint is not None and not rows:
            # What an endpoint that is gone has issued can still be listed; a typing error is told.
            endpoint_settings(home.settings, endpoint)
    terminal.rows(rows, columns, as_json=json, empty=_EMPTY.get(wanted, "nothing found"))


def _requests(
    store: Store, wanted: Wanted, endpoint: str | None, subject: str | None, limit: int
) -> list[dict[str, str]]:
    from itertools import islice

    from scepkit.server.data_directory import utc_now
    from scepkit.store import Status

    status = {
        Wanted.PENDING: Status.PENDING,
        Wanted.REJECTED: Status.REJECTED,
        Wanted.LAPSED: Status.EXPIRED,
    }[wanted]
    part = (subject or "").lower()
    found = (
        row
        for row in store.requests(endpoint=endpoint, status=status, now=utc_now())
        if part in (row.subject or "").lower()
    )
    return [_request(row) for row in islice(found, limit or None)]


def _request(row: RequestRow) -> dict[str, str]:
    return {
        "id": str(row.id),
        "endpoint": row.endpoint,
        "subject": row.subject or "",
        "requested": timestamp(row.created_at),
        "expires": timestamp(row.expires_at),
        "status": request_status(row),
        "sha256": row.csr_digest.hex() if row.csr_digest else "",
    }


def _certificates(
    store: Store, wanted: Wanted | None, endpoint: str | None, subject: str | None, limit: int
) -> list[dict[str, str]]:
    from scepkit.operations.selection import certificate_status
    from scepkit.server.data_directory import utc_now
    from scepkit.store import CertificateStatus

    now = utc_now()
    found = store.certificates(
        endpoint=endpoint,
        status=CertificateStatus(wanted.value) if wanted else None,
        subject=subject,
        now=now,
        limit=limit or None,
    )
    return [
        {
            "serial": show_serial(row.serial),
            "endpoint": row.endpoint,
            "subject": row.subject,
            "issued": timestamp(row.issued_at),
            "not_after": timestamp(row.not_after),
            "status": certificate_status(row, now),
        }
        for row in found
    ]


def request_status(row: RequestRow) -> str:
    """Return `pending`, `issued`, `rejected` or `lapsed`."""
    return "lapsed" if row.status.value == "expired" else row.status.value
