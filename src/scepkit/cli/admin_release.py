"""`scep admin release`: take certificates off hold."""

from __future__ import annotations

import typer

from scepkit.cli import admin_chosen
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
from scepkit.cli.reasons import reason_name
from scepkit.errors import UsageError
from scepkit.protocol import serial_number


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "release",
        cls=Command,
        short_help="Take certificates off hold.",
        epilog=examples("scep admin release 5a1f... --note 'found again'"),
    )(release)


def release(
    serials: its.Serials,
    *,
    note: its.Note = "",
    json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Take certificates off hold, and sign a new CRL, in which they are no more.

    Only a certificate that was revoked with the reason certificateHold can be released.
    """
    with records_opened(directory) as (_, store):
        from scepkit.enrolment import revocation
        from scepkit.server.assembly import utc_now

        rows = admin_chosen.by_serial(store, serials)
        for row in rows:
            if row.revoked_at is not None and not told.is_held(row):
                raise UsageError(
                    f"{serial_number.show(row.serial)} is revoked for good "
                    f"({reason_name(row.revocation_reason)})",
                    hint="only what is on hold can be released; nothing was changed",
                )
        issuers = set()
        for row in rows:
            change = revocation.release(store, row.serial, by=who(), now=utc_now(), note=note)
            if change is not None:
                issuers.add(change.certificate.issuer)
                told.tell(change, as_json=json, done="released", before="was not on hold")
    sign_outdated(directory, issuers)
