"""The report of `scep admin revoke` and `release`: on each certificate, or on their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.cli.reasons import reason_name
from scepkit.protocol import serial_number
from scepkit.protocol.crl import Reason

if TYPE_CHECKING:
    from scepkit.store import CertificateRow, Change

# As many are told one by one, if not as JSON; of more only how many they were.
FEW = 20

_COLUMNS = ("serial", "subject", "result", "reason", "revoked")


def is_held(row: CertificateRow) -> bool:
    """Say whether a certificate is on hold."""
    return row.revocation_reason == Reason.certificateHold


def would_change(row: CertificateRow, reason: Reason) -> bool:
    """Say whether revoking with a reason changes anything: the first reason stands."""
    return row.revoked_at is None or (is_held(row) and reason is not Reason.certificateHold)


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
    held = is_held(row)
    done = done or ("put on hold" if held else "revoked")
    if as_json:
        _row(row, done if change.is_new else "unchanged")
    elif change.is_new:
        terminal.say(f"{done} {serial_number.show(row.serial)}, {row.subject}")
    elif row.revoked_at is None:
        terminal.say(f"{serial_number.show(row.serial)} {before}")
    else:
        what = "was put on hold before" if held else before
        terminal.say(
            f"{serial_number.show(row.serial)} {what}, {row.revoked_at:%Y-%m-%d %H:%M} UTC"
        )


def tell_released(change: Change, *, as_json: bool) -> None:
    """Report the release of one certificate."""
    row = change.certificate
    if row.revoked_at is None or as_json:
        tell(change, as_json=as_json, done="released", before="was not on hold")
    else:
        why = reason_name(row.revocation_reason)
        terminal.say(f"{serial_number.show(row.serial)} is revoked for good ({why})")


def _row(row: CertificateRow, result: str) -> None:
    values = {
        "serial": serial_number.show(row.serial),
        "subject": row.subject,
        "result": result,
        "reason": reason_name(row.revocation_reason),
        "revoked": row.revoked_at.isoformat(timespec="seconds") if row.revoked_at else "",
    }
    terminal.rows([values], _COLUMNS, as_json=True, empty="")


def tell_over(rows: Sequence[CertificateRow], *, as_json: bool) -> None:
    """Say which certificates of a chain have expired and are left alone."""
    if as_json:
        for row in rows:
            _row(row, "expired")
    elif len(rows) > FEW:
        terminal.say(f"{certificates(len(rows))} had expired")
    else:
        for row in rows:
            terminal.say(
                f"{serial_number.show(row.serial)} had expired, {row.not_after:%Y-%m-%d %H:%M} UTC"
            )


def say_what_would(rows: Sequence[CertificateRow], reason: Reason, *, as_json: bool) -> None:
    """Say which certificates would be revoked, and how many."""
    count = 0
    for row in rows:
        changes = would_change(row, reason)
        count += changes
        if as_json:
            _row(row, "would be revoked" if changes else "unchanged")
        elif changes and count <= FEW:
            terminal.say(f"would revoke {serial_number.show(row.serial)}, {row.subject}")
    rest = len(rows) - count
    terminal.say(f"would revoke {certificates(count)}" + (f"; unchanged: {rest}" if rest else ""))


def sum_up(new: int, total: int, reason: Reason) -> None:
    """Say how many were revoked, of many.

    Args:
        new: how many were revoked just now.
        total: and with those that were revoked before.
        reason: why.
    """
    done = "put on hold" if reason is Reason.certificateHold else "revoked"
    before = f"; {total - new} were revoked before" if new < total else ""
    terminal.say(f"{done} {certificates(new)}{before}")


def certificates(count: int) -> str:
    """Return so many certificates in words."""
    return "1 certificate" if count == 1 else f"{count} certificates"
