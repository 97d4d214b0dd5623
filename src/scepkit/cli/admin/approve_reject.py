"""`scep admin approve` and `reject`: a person decides on a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    ReasonOption,
    keys_opened,
    records_opened,
    who,
)
from scepkit.cli.failure import of_scep
from scepkit.cli.help import Command, examples
from scepkit.errors import ScepError, UsageError
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from scepkit.store import Answer, RequestRow, Store, StoredOutcome

Ids: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Numbers of requests, from scep admin list --pending."),
]

_NUMBER = re.compile(r"[0-9]{1,15}")
_FAILED, _WRONG_USAGE = 1, 2


class _UnknownRequest(UsageError):
    """There is no such request."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "approve",
        cls=Command,
        short_help="Approve waiting requests.",
        epilog=examples("scep admin approve 1", "scep admin approve 3 4 --reason ticket-17"),
    )(approve)
    app.command(
        "reject",
        cls=Command,
        short_help="Reject waiting requests.",
        epilog=examples("scep admin reject 2 --reason 'not in the inventory'"),
    )(reject)


def approve(
    ids: Ids,
    *,
    reason: ReasonOption = "",
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Approve waiting requests: issue their certificates, and print the serial numbers.

    A device gets its certificate at its next poll.
    """
    numbers = _numbers(ids)
    with keys_opened(directory) as (home, store):
        from scepkit.ca.profiles.cut import cut_from
        from scepkit.server.directory.data_directory import utc_now
        from scepkit.server.endpoints.assembly import approval_of

        def decide(number: int) -> None:
            row = _row(store, number)
            approval = approval_of(home, store, row.endpoint)
            answer = approval.approve(number, by=who(), now=utc_now(), reason=reason)
            issued, outcome = _issued(number, answer)
            serial = show_serial(issued)
            if as_json:
                _tell(row, "issued", serial)
            else:
                terminal.data(serial)
            terminal.say(f"request {number}: issued to {row.subject}")
            for one in cut_from(row.csr, outcome.certificate):
                terminal.say(f"request {number}: asked for, but not in the certificate: {one}")

        _for_each(numbers, decide, as_json=as_json)


def reject(
    ids: Ids,
    *,
    reason: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Reason, sent to the device and for the audit record.",
            show_default=False,
        ),
    ] = "",
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Reject waiting requests for good.

    The device gets the answer at its next poll. It may send a new request.
    """
    numbers = _numbers(ids)
    with records_opened(directory) as (_, store):
        from scepkit.operations import approval
        from scepkit.server.directory.data_directory import utc_now
        from scepkit.store import Status

        def decide(number: int) -> None:
            row = _row(store, number)
            outcome = approval.reject(store, number, reason=reason, by=who(), now=utc_now())
            if outcome.status is not Status.REJECTED or row.status is Status.REJECTED:
                raise _decided(number, outcome.status.value)
            if as_json:
                _tell(row, "rejected", "")
            terminal.say(f"request {number}: rejected, for {row.subject}")

        _for_each(numbers, decide, as_json=as_json)


def _tell(row: RequestRow, result: str, serial: str) -> None:
    values = {
        "id": str(row.id),
        "endpoint": row.endpoint,
        "subject": row.subject or "",
        "result": result,
        "serial": serial,
    }
    terminal.json_lines([values])


def _numbers(ids: list[str]) -> list[int]:
    for text in ids:
        if not _NUMBER.fullmatch(text):
            raise UsageError(
                f"{text!r} is not a request's number",
                hint="scep admin list --pending shows it",
            )
    return [int(text) for text in ids]


def _for_each(numbers: list[int], decide: Callable[[int], None], *, as_json: bool) -> None:
    """Decide on each request; report the error of one, and go on with the others.

    Raises:
        Exit: with the worst of the exit statuses.
    """
    worst = 0
    for number in numbers:
        try:
            decide(number)
        except ScepError as error:
            status = _WRONG_USAGE if isinstance(error, _UnknownRequest) else _FAILED
            terminal.failure(replace(of_scep(error), status=status), as_json=as_json)
            worst = max(worst, status)
    if worst:
        raise typer.Exit(worst)


def _row(store: Store, number: int) -> RequestRow:
    row = store.request(number)
    if row is None:
        raise _UnknownRequest(
            f"there is no request {number}",
            hint="scep admin list --pending shows the waiting requests",
        )
    return row


def _issued(number: int, answer: Answer) -> tuple[int, StoredOutcome]:
    """Return the serial number of the certificate after an approval, and the outcome."""
    from scepkit.store import (
        AlreadyAnswered,
        ChallengeSpent,
        Recorded,
        SignerRevoked,
        SubjectTaken,
    )

    match answer:
        case Recorded(outcome=outcome) if outcome.serial is not None:
            return outcome.serial, outcome
        case AlreadyAnswered(outcome=outcome):
            raise _decided(number, outcome.status.value)
        case ChallengeSpent():
            raise UsageError(
                f"request {number}: its challenge was spent or voided meanwhile",
                hint=f"scep admin reject {number}",
            )
        case SignerRevoked():
            raise UsageError(
                f"request {number}: the certificate that it renews is revoked",
                hint=f"scep admin reject {number}",
            )
        case SubjectTaken():
            raise UsageError(
                f"request {number}: its subject has a valid certificate for another key "
                "(same_subject of the profile)",
                hint=f"revoke that one, or scep admin reject {number}",
            )
    raise UsageError(
        f"request {number} belongs to another key", hint="bug in scepkit; please report it"
    )


def _decided(number: int, status: str) -> UsageError:
    what = "expired" if status == "expired" else f"was {status}"
    return UsageError(
        f"request {number} {what} before", hint=f"scep admin show {number} tells more"
    )
