"""`scep admin revoke`: take certificates back, for good or for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scepkit.cli import admin_chosen, terminal
from scepkit.cli import admin_revoke_options as its
from scepkit.cli import admin_revoke_told as told
from scepkit.cli.admin_crl import sign_outdated
from scepkit.cli.admin_home import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.cli.reasons import ReasonName
from scepkit.errors import UsageError
from scepkit.protocol import serial_number

if TYPE_CHECKING:
    from scepkit.protocol.crl_reason import Reason
    from scepkit.store import CertificateRow, Change, Store

# Certificates that are revoked in one transaction, which takes some ten milliseconds, and seconds
# until the next one, so that devices that enrol meanwhile get their turn (SQLite has no queue).
_CHUNK = 100
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be said of each certificate that is revoked.

    Attributes:
        reason: why.
        note: the same in words, for the record.
        since: since when the key is thought to be in wrong hands.
    """

    reason: Reason
    note: str
    since: datetime | None


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "revoke",
        cls=Command,
        short_help="Revoke certificates, or put them on hold.",
        epilog=examples(
            "scep admin revoke 5a1f... --reason keyCompromise",
            "scep admin revoke --subject CN=dev1,O=Example --dry-run",
            "scep admin revoke --batch serials.txt --reason cessationOfOperation --yes",
        ),
    )(revoke)


def revoke(
    serials: its.OptionalSerials = None,
    *,
    subject: its.Subject = None,
    file: its.File = None,
    batch: its.Batch = None,
    reason: its.Reason = ReasonName.UNSPECIFIED,
    invalidity_date: its.InvalidityDate = None,
    note: its.Note = "",
    dry_run: its.DryRun = False,
    yes: its.Yes = False,
    json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Revoke certificates, and sign a new CRL.

    Nothing is revoked if one of them cannot be found. The first reason stands, so that the same
    command may be given again; only what is on hold (certificateHold) can still be revoked for
    good, or released.
    """
    wanted = _Wanted(reason.reason, note, _since(invalidity_date))
    with records_opened(directory) as (_, store):
        rows = _chosen(store, serials or [], subject, file, batch)
        if dry_run:
            told.say_what_would(rows, wanted.reason, as_json=json)
            return
        if batch is not None or (subject is not None and len(rows) > 1):
            _ask(rows, wanted.reason, yes=yes)
        issuers = _revoke(store, rows, wanted, as_json=json)
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
            hint="it says since when the key is thought to be in wrong hands",
        )
    return aware


def _ask(rows: Sequence[CertificateRow], reason: Reason, *, yes: bool) -> None:
    """Ask whether many certificates are meant.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they are not.
    """
    count = sum(told.would_change(row, reason) for row in rows)
    if yes or not count:
        return
    if not terminal.can_ask():
        raise UsageError(
            f"{told.certificates(count)} would be revoked, and there is nobody to ask",
            hint="look at them with --dry-run, then give --yes",
        )
    for row in rows[: told.FEW]:
        terminal.say(f"  {serial_number.show(row.serial)}, {row.subject}")
    if len(rows) > told.FEW:
        terminal.say(f"  and {len(rows) - told.FEW} more")
    if not terminal.confirm(f"Revoke {told.certificates(count)} with the reason {reason.name}?"):
        raise typer.Abort


def _revoke(
    store: Store, rows: Sequence[CertificateRow], wanted: _Wanted, *, as_json: bool
) -> set[bytes | None]:
    """Revoke, say so, and return whose certificates they were."""
    is_quiet = len(rows) > told.FEW
    new, issuers = 0, set()
    for change in _revoked(store, rows, wanted):
        new += change.is_new
        issuers.add(change.certificate.issuer)
        if as_json or not is_quiet:
            told.tell(change, as_json=as_json)
    if is_quiet:
        told.sum_up(new, len(rows), wanted.reason)
    return issuers


def _revoked(store: Store, rows: Sequence[CertificateRow], wanted: _Wanted) -> Iterator[Change]:
    """Revoke, a chunk after the other; what is done stays done if one fails."""
    from scepkit.enrolment import revocation
    from scepkit.server.assembly import utc_now

    by, done = who(), 0
    serials = [row.serial for row in rows]
    with terminal.bar("revoking", len(serials), shown=len(serials) > told.FEW) as advance:
        try:
            for start in range(0, len(serials), _CHUNK):
                if start:
                    time.sleep(_PAUSE)
                chunk = serials[start : start + _CHUNK]
                changes = revocation.revoke_all(
                    store,
                    chunk,
                    reason=wanted.reason,
                    by=by,
                    now=utc_now(),
                    note=wanted.note,
                    invalidity_date=wanted.since,
                )
                done += len(chunk)
                advance(len(chunk))
                yield from (change for change in changes if change is not None)
        finally:
            if 0 < done < len(serials):
                terminal.warn(f"{done} of {len(serials)} are revoked; the same again does the rest")
