"""`scep admin revoke --after` and `--cancel`: revocations at a time to come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.cli.admin.revocation import report
from scepkit.cli.admin.server_directory import who
from scepkit.cli.describe import timestamp
from scepkit.errors import UsageError
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.operations.selection import Selection
    from scepkit.store import CertificateRow, Store

_SOON = timedelta(days=1)


def check(
    reason: Reason, *, after: str | None, cancel: bool, invalidity_date: str | None
) -> timedelta | None:
    """Return how long a revocation is put off; None where it is not.

    Raises:
        UsageError: what is said contradicts itself.
    """
    if cancel and (after is not None or invalidity_date is not None):
        raise UsageError("--cancel goes with neither --after nor --invalidity-date")
    if after is None:
        return None
    if invalidity_date is not None:
        raise UsageError(
            "--after does not go with --invalidity-date",
            hint="a key that may be in wrong hands is revoked at once",
        )
    if reason is Reason.certificateHold:
        raise UsageError(
            "certificateHold cannot be planned", hint="leave --after out, or give another reason"
        )
    return read_duration(after)


def plan(
    store: Store,
    selection: Selection,
    reason: Reason,
    after: timedelta,
    *,
    note: str,
    dry_run: bool,
    ask: bool,
    yes: bool,
    many_only: bool,
    as_json: bool,
) -> None:
    """Plan the revocation of certificates, and report it.

    Args:
        store: where they are.
        selection: the certificates.
        reason: why.
        after: how long from now.
        note: for the record.
        dry_run: only say what would be planned.
        ask: whether to ask first.
        yes: whether that is answered already.
        many_only: whether one certificate goes through where nobody can be asked.
        as_json: for programs.
    """
    from scepkit.operations import planned_revocation
    from scepkit.server.directory.data_directory import utc_now

    due_at = utc_now() + after
    rows = selection.revocable(reason)
    if dry_run:
        for row in rows if as_json else rows[: report.FEW]:
            _tell(row, "would be planned", due_at, as_json=as_json)
        terminal.say(f"would plan to revoke {_count(len(rows))} at {_time(due_at)}")
        return
    if ask:
        what = f"revoked at {_time(due_at)}"
        report.ask_to_plan(selection, what, reason, yes=yes, many_only=many_only)
    if after < _SOON:
        terminal.warn(
            "devices ask every hour to every six hours when to renew: some will not be in time",
            "give them a day or more, or tell them",
        )
    count, total = 0, len(selection.rows)
    with terminal.bar("planning", total, shown=total > report.FEW) as advance:
        for row in planned_revocation.plan_selected(
            store,
            selection,
            due_at=due_at,
            reason=reason,
            by=who(),
            clock=utc_now,
            note=note,
            advance=advance,
        ):
            count += 1
            if as_json or total <= report.FEW:
                _tell(row, "planned", due_at, as_json=as_json)
    left = f"; revoked before: {total - count}" if count < total else ""
    terminal.say(f"{_count(count)} will be revoked at {_time(due_at)}{left}")
    if count:
        terminal.say("scep admin revoke --cancel takes that back; devices are told to renew before")


def cancel(store: Store, selection: Selection, *, note: str, as_json: bool) -> None:
    """Cancel the planned revocation of certificates, and report it.

    Args:
        store: where they are.
        selection: the certificates.
        note: for the record.
        as_json: for programs.

    Raises:
        UsageError: for none of them there is a plan.
    """
    from scepkit.operations import planned_revocation
    from scepkit.server.directory.data_directory import utc_now

    count, total = 0, len(selection.rows)
    for row in planned_revocation.cancel_selected(
        store, selection, by=who(), clock=utc_now, note=note
    ):
        count += 1
        if as_json or total <= report.FEW:
            _tell(row, "cancelled", None, as_json=as_json)
    if not count:
        raise UsageError(
            "no revocation of these certificates is planned",
            hint="scep admin list --state planned shows which are",
        )
    terminal.say(f"cancelled the planned revocation of {_count(count)}")


def _tell(row: CertificateRow, result: str, due_at: datetime | None, *, as_json: bool) -> None:
    if as_json:
        values = {
            "serial": show_serial(row.serial),
            "subject": row.subject,
            "result": result,
            "due": timestamp(due_at),
        }
        terminal.json_lines([values])
    else:
        terminal.say(f"{result}: {show_serial(row.serial)}, {row.subject}")


def _count(number: int) -> str:
    return "1 certificate" if number == 1 else f"{number} certificates"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
