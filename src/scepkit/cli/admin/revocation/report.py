"""The report of `scep admin revoke` and `release`, and the question before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.cli.describe import timestamp
from scepkit.cli.options import reason_name
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason

if TYPE_CHECKING:
    from scepkit.operations.selection import Selection
    from scepkit.store import CertificateRow, Change

# As many are told one by one, if not as JSON; of more only how many they were.
FEW = 20


def tell(
    change: Change, *, as_json: bool, done: str = "", before: str = "was revoked before"
) -> None:
    """Report the revocation of one certificate.

    Args:
        change: what became of it.
        as_json: for programs.
        done: what that is called; by how it is revoked unless given.
        before: what is said of one that was so before.
    """
    row = change.certificate
    held = row.revocation_reason == Reason.certificateHold
    done = done or ("put on hold" if held else "revoked")
    if as_json:
        _row(row, done if change.is_new else "unchanged")
    elif change.is_new:
        terminal.say(f"{done} {show_serial(row.serial)}, {row.subject}")
    elif row.revoked_at is None:
        terminal.say(f"{show_serial(row.serial)} {before}")
    else:
        what = "was put on hold before" if held else before
        terminal.say(f"{show_serial(row.serial)} {what}, {row.revoked_at:%Y-%m-%d %H:%M} UTC")


def tell_released(change: Change, *, as_json: bool) -> None:
    """Report the release of one certificate."""
    row = change.certificate
    if row.revoked_at is None or as_json:
        tell(change, as_json=as_json, done="released", before="was not on hold")
    else:
        why = reason_name(row.revocation_reason)
        terminal.say(f"{show_serial(row.serial)} is revoked for good ({why})")


def _row(row: CertificateRow, result: str) -> None:
    values = {
        "serial": show_serial(row.serial),
        "subject": row.subject,
        "result": result,
        "reason": reason_name(row.revocation_reason),
        "revoked": timestamp(row.revoked_at),
    }
    terminal.json_lines([values])


def tell_over(rows: Sequence[CertificateRow], *, as_json: bool) -> None:
    """Say which certificates of a chain have expired and are left alone."""
    if as_json:
        for row in rows:
            _row(row, "expired")
    elif len(rows) > FEW:
        terminal.say(f"{_certificates(len(rows))} had expired")
    else:
        for row in rows:
            terminal.say(
                f"{show_serial(row.serial)} had expired, {row.not_after:%Y-%m-%d %H:%M} UTC"
            )


def say_revocable(selection: Selection, reason: Reason, *, as_json: bool) -> None:
    """Say which certificates would be revoked, and how many."""
    changing = selection.revocable(reason)
    keys = {row.key for row in changing}
    if as_json:
        for row in selection.rows:
            _row(row, "would be revoked" if row.key in keys else "unchanged")
    else:
        for row in changing[:FEW]:
            terminal.say(f"would revoke {show_serial(row.serial)}, {row.subject}")
    rest = len(selection.rows) - len(changing)
    terminal.say(
        f"would revoke {_certificates(len(changing))}" + (f"; unchanged: {rest}" if rest else "")
    )


def tell_revoked(
    changes: Iterable[Change], count: int, reason: Reason, *, as_json: bool
) -> set[bytes]:
    """Report what became of certificates while they are revoked, and return their issuers.

    Args:
        changes: one by one.
        count: how many were selected; of many only the number is told.
        reason: why.
        as_json: for programs.
    """
    is_quiet = count > FEW
    new, total, issuers = 0, 0, set()
    for change in changes:
        new += change.is_new
        total += 1
        issuers.add(change.certificate.issuer)
        if as_json or not is_quiet:
            tell(change, as_json=as_json)
    if is_quiet:
        done = "put on hold" if reason is Reason.certificateHold else "revoked"
        before = f"; {total - new} were revoked before" if new < total else ""
        terminal.say(f"{done} {_certificates(new)}{before}")
    return issuers


def ask_to_revoke(selection: Selection, reason: Reason, *, yes: bool, many_only: bool) -> None:
    """Show the certificates that would be revoked, and ask; args and exceptions as in `_ask`."""
    changing = selection.revocable(reason)
    question = f"Revoke {_certificates(len(changing))} with the reason {reason.name}?"
    look = "look at them with --dry-run"
    _ask(changing, "revoked", question, look, yes=yes, many_only=many_only)


def ask_to_plan(
    selection: Selection, what: str, reason: Reason, *, yes: bool, many_only: bool
) -> None:
    """Show the certificates that would be revoked later, and ask; the rest as in `_ask`.

    Args:
        selection: the certificates.
        what: what would be done with them, to follow "would be".
        reason: why.
        yes: whether it is answered already.
        many_only: whether one certificate goes through where nobody can be asked.
    """
    rows = selection.revocable(reason)
    question = f"Have {_certificates(len(rows))} {what} with the reason {reason.name}?"
    _ask(rows, what, question, "look at them with --dry-run", yes=yes, many_only=many_only)


def ask_to_release(selection: Selection, *, yes: bool) -> None:
    """Show the certificates that would be released, and ask; args and exceptions as in `_ask`."""
    held = selection.held()
    question = f"Release {_certificates(len(held))}?"
    look = "look at them with scep admin list --status revoked"
    _ask(held, "released", question, look, yes=yes, many_only=True)


def _ask(
    rows: Sequence[CertificateRow],
    what: str,
    question: str,
    look: str,
    *,
    yes: bool,
    many_only: bool,
) -> None:
    """Show certificates and ask whether they are meant.

    Args:
        rows: those that would change.
        what: what would be done with them, to follow "would be".
        question: what is asked.
        look: how to see them first, for who cannot be asked.
        yes: whether it is answered already.
        many_only: whether one certificate goes through where nobody can be asked.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they are not meant.
    """
    lines = [
        f"{show_serial(row.serial)}, {row.subject}, until {row.not_after:%Y-%m-%d %H:%M} UTC"
        for row in rows
    ]
    goes_through = many_only and len(rows) == 1 and not terminal.can_ask()
    terminal.ask_before(
        f"{_certificates(len(rows))} would be {what}",
        lambda: terminal.say_first(lines, FEW),
        question,
        look=look,
        yes=yes or not rows or goes_through,
    )


def _certificates(count: int) -> str:
    """Return so many certificates in words."""
    return "1 certificate" if count == 1 else f"{count} certificates"
