"""`scep admin revoke`: take certificates back, for good or for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import revocation_options as its
from scepkit.cli.admin import revocation_report as report
from scepkit.cli.admin import selection as admin_selection
from scepkit.cli.admin.crl import sign_outdated
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.cli.reasons import ReasonName
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.cli.admin.selection import Selection
    from scepkit.protocol.crl import Reason
    from scepkit.store import CertificateRow, Change, Store

# Certificates that are revoked in one transaction, which takes some ten milliseconds, and seconds
# until the next one, so that devices that enrol meanwhile get their turn (SQLite has no queue).
_CHUNK = 100
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The details to record with each revocation.

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
            "scep admin revoke 5a1f... --and-renewals --reason keyCompromise",
            "scep admin revoke --subject CN=dev1,O=Example --dry-run",
            "scep admin revoke --batch serials.txt --reason cessationOfOperation --yes",
        ),
    )(revoke)


def revoke(
    serials: its.Serials = None,
    *,
    subject: its.Subject = None,
    and_renewals: its.AndRenewals = False,
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

    If one of the certificates cannot be found, none is revoked. The same command may be given
    again: a revoked certificate keeps its first reason. Only a certificate on hold
    (certificateHold) can later be revoked for good, or released.

    With --subject, --and-renewals or --batch the command lists the certificates and asks first.
    """
    wanted = _Wanted(reason.reason, note, _since(invalidity_date))
    with records_opened(directory) as (home, store):
        selection = admin_selection.select(
            home,
            store,
            serials=serials or [],
            subject=subject,
            file=file,
            batch=batch,
            and_renewals=and_renewals,
        )
        if dry_run:
            report.tell_over(selection.over, as_json=json)
            report.say_what_would(selection.rows, wanted.reason, as_json=json)
            return
        if batch is not None or selection.is_search:
            _ask(selection.rows, wanted.reason, yes=yes, many_only=batch is None)
        report.tell_over(selection.over, as_json=json)
        issuers = _revoke(store, selection, wanted, as_json=json)
    sign_outdated(directory, issuers, as_json=json)


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


def _ask(rows: Sequence[CertificateRow], reason: Reason, *, yes: bool, many_only: bool) -> None:
    changing = [row for row in rows if report.would_change(row, reason)]
    admin_selection.ask(
        changing,
        what="revoked",
        question=f"Revoke {report.certificates(len(changing))} with the reason {reason.name}?",
        look="look at them with --dry-run",
        yes=yes,
        many_only=many_only,
    )


def _revoke(
    store: Store, selection: Selection, wanted: _Wanted, *, as_json: bool
) -> set[bytes | None]:
    """Revoke, say so, and return whose certificates they were."""
    is_quiet = len(selection.rows) > report.FEW
    new, total, issuers = 0, 0, set()
    for change in _revoked(store, selection, wanted):
        new += change.is_new
        total += 1
        issuers.add(change.certificate.issuer)
        if as_json or not is_quiet:
            report.tell(change, as_json=as_json)
    if is_quiet:
        report.sum_up(new, total, wanted.reason)
    return issuers


def _revoked(store: Store, selection: Selection, wanted: _Wanted) -> Iterator[Change]:
    """Revoke, a chunk after the other; what is done stays done if one fails.

    A chain comes newest first, so that what was renewed from a chunk is revoked by then, but for
    what was renewed at this very moment.
    """
    from scepkit.operations import revocation
    from scepkit.server.data_directory import utc_now

    by, done = who(), 0
    serials = [row.serial for row in selection.rows]
    with terminal.bar("revoking", len(serials), shown=len(serials) > report.FEW) as advance:
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
                    and_renewals=selection.is_search,
                )
                done += len(chunk)
                advance(len(chunk))
                yield from (change for change in changes if change is not None)
        finally:
            if 0 < done < len(serials):
                terminal.warn(
                    f"{done} of {len(serials)} are revoked; the same command does the rest"
                )
