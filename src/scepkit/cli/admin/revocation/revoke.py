"""`scep admin revoke` and `release`: take certificates back, for good or for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.revocation import later, report
from scepkit.cli.admin.revocation.crl import sign_outdated
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    moment_of,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.cli.options import ReasonName, flag, option, read_reason
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.operations.selection import Selection
    from scepkit.protocol.crl import Reason as CRLReason
    from scepkit.server.directory.data_directory import Home
    from scepkit.store import Change, Store

_MAX_FILE = 64 * 1024  # octets of a certificate
_MAX_LIST = 64 * 1024 * 1024  # octets of a list, a million serial numbers or so

Serials = Annotated[
    list[str] | None,
    typer.Argument(metavar="SERIAL", help="Serial numbers in hex.", show_default=False),
]

Subject = Annotated[
    str | None,
    option(
        None,
        "DN",
        "All usable certificates with exactly this subject, in place of SERIAL.",
    ),
]

AndRenewals = Annotated[
    bool,
    flag(
        None,
        "Their whole renewal chains, too: the certificates that they renewed, and their own "
        "renewals.",
        "--and-renewals",
    ),
]

File = Annotated[
    Path | None, option(None, "CERT", "The certificate in this file, in place of SERIAL.")
]

Batch = Annotated[
    Path | None,
    option(None, "FILE", "All serial numbers in this file, one a line; - is stdin."),
]

Reason = Annotated[
    ReasonName,
    typer.Option(
        metavar="REASON",
        parser=read_reason,
        help=f"Reason of the revocation: {', '.join(ReasonName)}.",
    ),
]

InvalidityDate = Annotated[
    str | None,
    option(
        None,
        "WHEN",
        "Time at which the key may have been compromised, such as 2026-11-20 or "
        "2026-11-20T14:30; UTC unless it names a zone.",
    ),
]

Note = Annotated[str, option(None, "TEXT", "Remark for the record.", "--note")]

After = Annotated[
    str | None,
    option(
        None,
        "TIME",
        "Revoke that much later, such as 3d: devices that ask for renewal information renew before "
        "that.",
        "--after",
    ),
]

Cancel = Annotated[bool, flag(None, "Cancel the revocation that --after has planned.", "--cancel")]

DryRun = Annotated[bool, flag(None, "List the certificates, and revoke none.", "--dry-run")]

Yes = Annotated[bool, flag(None, "Do not ask for confirmation.", "--yes", "-y")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "revoke",
        cls=Command,
        short_help="Revoke certificates, or put them on hold.",
        epilog=examples(
            "scep admin revoke 5a1f... --reason keyCompromise",
            "scep admin revoke 5a1f... --and-renewals --reason keyCompromise",
            "scep admin revoke --subject CN=dev1,O=Example --dry-run",
            "scep admin revoke 5a1f... --after 3d --reason superseded",
            "scep admin revoke 5a1f... --cancel",
            "scep admin revoke --batch serials.txt --reason cessationOfOperation --yes",
        ),
    )(revoke)
    app.command(
        "release",
        cls=Command,
        short_help="Release certificates from hold.",
        epilog=examples(
            "scep admin release 5a1f... --note 'found again'",
            "scep admin release 5a1f... --and-renewals",
        ),
    )(release)


def revoke(
    serials: Serials = None,
    *,
    subject: Subject = None,
    and_renewals: AndRenewals = False,
    file: File = None,
    batch: Batch = None,
    reason: Reason = ReasonName.UNSPECIFIED,
    invalidity_date: InvalidityDate = None,
    note: Note = "",
    after: After = None,
    cancel: Cancel = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Revoke certificates, and sign a new CRL.

    If one of the certificates cannot be found, none is revoked. The same command may be given
    again: a revoked certificate keeps its first reason. Only a certificate on hold
    (certificateHold) can later be revoked for good, or released.

    With --after the server revokes them later, whether they are renewed by then or not. Until then
    they are good, and --cancel takes it back.

    With --subject, --and-renewals or --batch the command lists the certificates and asks first.
    """
    why, since = reason.reason, _since(invalidity_date)
    delay = later.check(why, after=after, cancel=cancel, invalidity_date=invalidity_date)
    with records_opened(directory) as (home, store):
        selection = _select(home, store, serials or [], subject, file, batch, renewals=and_renewals)
        if cancel:
            later.cancel(store, selection, note=note, as_json=json)
            return
        if delay is not None:
            later.plan(
                *(store, selection, why, delay),
                note=note,
                dry_run=dry_run,
                ask=batch is not None or selection.is_search,
                yes=yes,
                many_only=batch is None,
                as_json=json,
            )
            return
        if dry_run:
            report.tell_over(selection.over, as_json=json)
            report.say_revocable(selection, why, as_json=json)
            return
        if batch is not None or selection.is_search:
            report.ask_to_revoke(selection, why, yes=yes, many_only=batch is None)
        report.tell_over(selection.over, as_json=json)
        changes = _revoked(store, selection, why, note, since)
        issuers = report.tell_revoked(changes, len(selection.rows), why, as_json=json)
        sign_outdated(home, store, issuers, as_json=json)


def release(
    serials: Serials = None,
    *,
    subject: Subject = None,
    and_renewals: AndRenewals = False,
    note: Note = "",
    yes: Yes = False,
    json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Release certificates from hold, and sign a new CRL without them.

    Only a certificate that was revoked with the reason certificateHold can be released. With
    --subject or --and-renewals the command lists the certificates and asks first; those that are
    not on hold stay as they are.
    """
    with records_opened(directory) as (home, store):
        from scepkit.operations import revocation
        from scepkit.server.directory.data_directory import utc_now

        selection = _select(home, store, serials or [], subject, renewals=and_renewals)
        if selection.is_search:
            report.ask_to_release(selection, yes=yes)
        report.tell_over(selection.over, as_json=json)
        for change in revocation.release_selected(
            store, selection, by=who(), clock=utc_now, note=note
        ):
            report.tell_released(change, as_json=json)
        sign_outdated(home, store, {row.issuer for row in selection.rows}, as_json=json)


def _select(
    home: Home,
    store: Store,
    serials: Sequence[str],
    subject: str | None,
    file: Path | None = None,
    batch: Path | None = None,
    *,
    renewals: bool,
) -> Selection:
    """Find the certificates that an operator means.

    Raises:
        UsageError: they are told in no way or in several, or one cannot be found.
        StoreError: the database cannot be read.
    """
    from scepkit.operations import selection
    from scepkit.protocol.rfc4514 import parse_subject

    if sum(map(bool, (serials, subject, file, batch))) != 1:
        raise UsageError(
            "name the certificates in exactly one way",
            hint="by SERIAL…, --subject, --file or --batch",
        )
    moment = moment_of(home)
    if subject is not None:
        rows = selection.by_subject(store, parse_subject(subject), moment)
        if not rows:
            raise UsageError(
                f"no certificate for {subject} is valid",
                hint="give the whole subject; scep admin list --subject TEXT finds parts of it",
            )
    elif file is not None:
        rows = [selection.by_certificate(store, input_file.read(file, _MAX_FILE), str(file))]
    elif batch is not None:
        rows = selection.by_list(store, input_file.read(batch, _MAX_LIST), str(batch))
    else:
        rows = selection.by_serial(store, serials)
    if renewals:
        return selection.along_renewals(store, rows, moment)
    return selection.Selection(rows, is_search=subject is not None)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time", hint="write it like 2026-11-20 or 2026-11-20T14:30"
        ) from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    if aware > datetime.now(UTC):
        raise UsageError(
            f"the invalidity date {text} lies ahead",
            hint="give the past time at which the key may have been compromised",
        )
    return aware


def _revoked(
    store: Store, selection: Selection, reason: CRLReason, note: str, since: datetime | None
) -> Iterator[Change]:
    """Revoke, show how far that is, and say so where it ends too early."""
    from scepkit.operations import revocation
    from scepkit.server.directory.data_directory import utc_now

    done, total = 0, len(selection.rows)
    with terminal.bar("revoking", total, shown=total > report.FEW) as advance:

        def count(number: int) -> None:
            nonlocal done
            done += number
            advance(number)

        try:
            yield from revocation.revoke_selected(
                store,
                selection,
                reason=reason,
                by=who(),
                clock=utc_now,
                note=note,
                invalidity_date=since,
                advance=count,
            )
        finally:
            if 0 < done < total:
                terminal.warn(f"{done} of {total} are revoked; the same command does the rest")
