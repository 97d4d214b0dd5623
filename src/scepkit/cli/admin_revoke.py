"""`scep admin revoke` and `release`: take certificates back, for good or for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import admin_chosen, terminal
from scepkit.cli.admin_crl import sign_outdated
from scepkit.cli.admin_home import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    records_opened,
    who,
)
from scepkit.cli.help import Command
from scepkit.cli.reasons import ReasonName, reason_name
from scepkit.errors import UsageError
from scepkit.protocol.crl_reason import Reason

if TYPE_CHECKING:
    from scepkit.store import CertificateRow, Change, Store

# Certificates that are revoked in one transaction, which takes some ten milliseconds, and seconds
# until the next one, so that devices that enrol meanwhile get their turn (SQLite has no queue).
_CHUNK = 100
_PAUSE = 0.01
# As many are told one by one, if not as JSON; of more only how many they were.
_FEW = 20

_COLUMNS = ("serial", "subject", "result", "reason", "revoked")

Note: TypeAlias = Annotated[
    str, typer.Option("--note", metavar="TEXT", help="Why, for the record.", show_default=False)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("revoke", cls=Command, short_help="Revoke certificates, or put them on hold.")(
        revoke
    )
    app.command("release", cls=Command, short_help="Take certificates off hold.")(release)


def revoke(
    serials: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERIAL", help="Serial numbers in hex.", show_default=False),
    ] = None,
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="DN",
            help="All that have this subject, in place of SERIAL.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="CERT", help="The one in this file, in place of SERIAL.", show_default=False
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="All whose serial numbers this file lists, one a line; - is stdin.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        ReasonName,
        typer.Option(metavar="REASON", case_sensitive=False, help=f"Why: {', '.join(ReasonName)}."),
    ] = ReasonName.UNSPECIFIED,
    invalidity_date: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Since when the key is thought to be in wrong hands, such as 2026-11-20 or "
            "2026-11-20T14:30; UTC unless it says otherwise.",
            show_default=False,
        ),
    ] = None,
    note: Note = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be revoked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Revoke certificates, and sign a new CRL.

    Nothing is revoked if one of them cannot be found. The first reason stands, so that the same
    command may be given again; only what is on hold (certificateHold) can still be revoked for
    good, or released.
    """
    from scepkit.server.assembly import utc_now

    since = None if invalidity_date is None else _time(invalidity_date, utc_now())
    with records_opened(directory) as (_, store):
        rows = _chosen(store, serials or [], subject, file, batch)
        if dry_run:
            _say_what_would(rows, reason.reason, as_json=json)
            return
        if batch is not None or (subject is not None and len(rows) > 1):
            _ask(rows, reason.reason, yes=yes)
        is_quiet = len(rows) > _FEW
        new, issuers = 0, set()
        for change in _revoked(store, rows, reason.reason, note, since):
            new += change.is_new
            issuers.add(change.certificate.issuer)
            if json or not is_quiet:
                _tell(change, as_json=json)
        if is_quiet:
            _sum_up(new, len(rows), reason.reason)
    sign_outdated(directory, issuers)


def release(
    serials: Annotated[
        list[str],
        typer.Argument(metavar="SERIAL", help="Serial numbers in hex.", show_default=False),
    ],
    *,
    note: Note = "",
    json: Json = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Take certificates off hold, and sign a new CRL, in which they are no more.

    Only a certificate that was revoked with the reason certificateHold can be released.
    """
    from scepkit.enrolment import revocation
    from scepkit.server.assembly import utc_now

    with records_opened(directory) as (_, store):
        rows = admin_chosen.by_serial(store, serials)
        for row in rows:
            if row.revoked_at is not None and not _is_held(row):
                raise UsageError(
                    f"{row.serial:x} is revoked for good ({reason_name(row.revocation_reason)})",
                    hint="only what is on hold can be released; nothing was changed",
                )
        issuers = set()
        for row in rows:
            change = revocation.release(store, row.serial, by=who(), now=utc_now(), note=note)
            if change is not None:
                issuers.add(change.certificate.issuer)
                _tell(change, as_json=json, done="released", before="was not on hold")
    sign_outdated(directory, issuers)


def _chosen(
    store: Store,
    serials: Sequence[str],
    subject: str | None,
    file: Path | None,
    batch: Path | None,
) -> list[CertificateRow]:
    if sum(map(bool, (serials, subject, file, batch))) != 1:
        raise UsageError(
            "which certificates? say it in one way",
            hint="by SERIAL…, --subject, --file or --batch",
        )
    if subject is not None:
        return admin_chosen.by_subject(store, subject)
    if file is not None:
        return [admin_chosen.by_file(store, file)]
    if batch is not None:
        return admin_chosen.by_list(store, batch)
    return admin_chosen.by_serial(store, serials)


def _time(text: str, now: datetime) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time", hint="write it like 2026-11-20 or 2026-11-20T14:30"
        ) from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    if aware > now:
        raise UsageError(
            f"the invalidity date {text} lies ahead",
            hint="it says since when the key is thought to be in wrong hands",
        )
    return aware


def _is_held(row: CertificateRow) -> bool:
    return row.revocation_reason == Reason.certificateHold


def _would_change(row: CertificateRow, reason: Reason) -> bool:
    return row.revoked_at is None or (_is_held(row) and reason is not Reason.certificateHold)


def _ask(rows: Sequence[CertificateRow], reason: Reason, *, yes: bool) -> None:
    """Ask whether many certificates are meant.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they are not.
    """
    count = sum(_would_change(row, reason) for row in rows)
    if yes or not count:
        return
    if not terminal.can_ask():
        raise UsageError(
            f"{_certificates(count)} would be revoked, and there is nobody to ask",
            hint="look at them with --dry-run, then give --yes",
        )
    for row in rows[:_FEW]:
        terminal.say(f"  {row.serial:x}, {row.subject}")
    if len(rows) > _FEW:
        terminal.say(f"  and {len(rows) - _FEW} more")
    if not terminal.confirm(f"Revoke {_certificates(count)} with the reason {reason.name}?"):
        raise typer.Abort


def _revoked(
    store: Store,
    rows: Sequence[CertificateRow],
    reason: Reason,
    note: str,
    since: datetime | None,
) -> Iterator[Change]:
    """Revoke, a chunk after the other; what is done stays done if one fails."""
    from scepkit.enrolment import revocation
    from scepkit.server.assembly import utc_now

    by, done = who(), 0
    serials = [row.serial for row in rows]
    with terminal.bar("revoking", len(serials), shown=len(serials) > _FEW) as advance:
        try:
            for start in range(0, len(serials), _CHUNK):
                if start:
                    time.sleep(_PAUSE)
                chunk = serials[start : start + _CHUNK]
                changes = revocation.revoke_all(
                    store,
                    chunk,
                    reason=reason,
                    by=by,
                    now=utc_now(),
                    note=note,
                    invalidity_date=since,
                )
                done += len(chunk)
                advance(len(chunk))
                yield from (change for change in changes if change is not None)
        finally:
            if 0 < done < len(serials):
                terminal.warn(f"{done} of {len(serials)} are revoked; the same again does the rest")


def _tell(
    change: Change, *, as_json: bool, done: str = "", before: str = "was revoked before"
) -> None:
    row = change.certificate
    is_held = _is_held(row)
    done = done or ("put on hold" if is_held else "revoked")
    if as_json:
        _row(row, done if change.is_new else "unchanged")
    elif change.is_new:
        terminal.say(f"{done} {row.serial:x}, {row.subject}")
    elif row.revoked_at is None:
        terminal.say(f"{row.serial:x} {before}")
    else:
        what = "was put on hold before" if is_held else before
        terminal.say(f"{row.serial:x} {what}, {row.revoked_at:%Y-%m-%d %H:%M} UTC")


def _row(row: CertificateRow, result: str) -> None:
    values = {
        "serial": f"{row.serial:x}",
        "subject": row.subject,
        "result": result,
        "reason": reason_name(row.revocation_reason),
        "revoked": row.revoked_at.isoformat(timespec="seconds") if row.revoked_at else "",
    }
    terminal.rows([values], _COLUMNS, as_json=True, empty="")


def _say_what_would(rows: Sequence[CertificateRow], reason: Reason, *, as_json: bool) -> None:
    count = 0
    for row in rows:
        changes = _would_change(row, reason)
        count += changes
        if as_json:
            _row(row, "would be revoked" if changes else "unchanged")
        elif changes and count <= _FEW:
            terminal.say(f"would revoke {row.serial:x}, {row.subject}")
    rest = len(rows) - count
    terminal.say(f"would revoke {_certificates(count)}" + (f"; {rest} are so now" if rest else ""))


def _sum_up(new: int, total: int, reason: Reason) -> None:
    done = "put on hold" if reason is Reason.certificateHold else "revoked"
    before = f"; {total - new} were revoked before" if new < total else ""
    terminal.say(f"{done} {_certificates(new)}{before}")


def _certificates(count: int) -> str:
    return "1 certificate" if count == 1 else f"{count} certificates"
