"""`scep admin release`: take certificates off hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

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
from scepkit.cli.reasons import reason_name
from scepkit.errors import UsageError
from scepkit.protocol import serial_number

if TYPE_CHECKING:
    from scepkit.store import CertificateRow

_CHUNK = 100  # certificates that are released in one transaction


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "release",
        cls=Command,
        short_help="Release certificates from hold.",
        epilog=examples(
            "scep admin release 5a1f... --note 'found again'",
            "scep admin release 5a1f... --and-renewals",
        ),
    )(release)


def release(
    serials: its.Serials = None,
    *,
    subject: its.Subject = None,
    and_renewals: its.AndRenewals = False,
    note: its.Note = "",
    yes: its.Yes = False,
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
        from scepkit.server.data_directory import utc_now

        selection = admin_selection.select(
            home, store, serials=serials or [], subject=subject, and_renewals=and_renewals
        )
        if selection.is_search:
            _ask(selection.rows, yes=yes)
        else:
            _refuse_revoked(selection.rows)
        report.tell_over(selection.over, as_json=json)
        found = [row.serial for row in selection.rows]
        for start in range(0, len(found), _CHUNK):
            chunk = found[start : start + _CHUNK]
            changes = revocation.release_all(store, chunk, by=who(), now=utc_now(), note=note)
            for change in changes:
                if change is not None:
                    report.tell_released(change, as_json=json)
    sign_outdated(directory, {row.issuer for row in selection.rows}, as_json=json)


def _refuse_revoked(rows: Sequence[CertificateRow]) -> None:
    for row in rows:
        if row.revoked_at is not None and not report.is_held(row):
            raise UsageError(
                f"{serial_number.show(row.serial)} is revoked for good "
                f"({reason_name(row.revocation_reason)})",
                hint="only a certificate on hold can be released; nothing was changed",
            )


def _ask(rows: Sequence[CertificateRow], *, yes: bool) -> None:
    held = [row for row in rows if report.is_held(row)]
    admin_selection.ask(
        held,
        what="released",
        question=f"Release {report.certificates(len(held))}?",
        look="look at them with scep admin list --status revoked",
        yes=yes,
        many_only=True,
    )
