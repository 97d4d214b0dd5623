"""`scep revoke`: have the certificate in a directory revoked, by the holder of its key."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command
from scepkit.cli.option_groups import ConnectionOptions, grouped
from scepkit.cli.options import CONNECTION, WANTED, ReasonName, flag, option, read_reason
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.client.folder import Folder
    from scepkit.client.revoker import RevokedCertificate
    from scepkit.protocol.certificate import Certificate

_EPILOG = """
\b
Example:
  scep revoke /etc/www --reason keyCompromise

\b
Exit status:
  0  revoked, now or before        2  wrong usage, or a file cannot be used
  1  refused, or it failed
"""

_Reason = Annotated[
    ReasonName,
    typer.Option(
        metavar="REASON",
        parser=read_reason,
        help=f"Reason of the revocation: {', '.join(ReasonName)}. Only the CA's operator can end "
        "a certificateHold.",
        rich_help_panel=WANTED,
    ),
]

_Yes = Annotated[bool, flag(WANTED, "Do not ask for confirmation.", "--yes")]

_Passphrase = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "Proof in place of a lost key, if the CA allows it: the challenge of the certificate's "
        "enrolment; - reads it from stdin. Other users of this machine can see the command line: "
        "prefer --passphrase-file, - or the environment variable SCEP_PASSPHRASE.",
    ),
]

_PassphraseFile = Annotated[
    Path | None, option(WANTED, "FILE", "Read the passphrase from the first line of this file.")
]

_CmpUrl = Annotated[
    str,
    option(
        CONNECTION,
        "URL",
        "URL of the CA's CMP service, such as http://ca.example/cmp/default. Default: derived "
        "from the URL of its SCEP server.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "revoke",
        cls=Command,
        short_help="Revoke the certificate in a directory.",
        epilog=_EPILOG,
    )(grouped(revoke))


def revoke(
    directory: options.Directory,
    *,
    reason: _Reason = ReasonName.UNSPECIFIED,
    yes: _Yes = False,
    passphrase: _Passphrase = None,
    passphrase_file: _PassphraseFile = None,
    cmp_url: _CmpUrl = "",
    legacy: options.KnownLegacy = None,
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Revoke the certificate in a directory, with its own key as proof (CMP, RFC 9810).

    The holder cannot take a revocation back, and the key is of no more use. The files stay in DIR.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, events, hints
    from scepkit.client.folder import Folder
    from scepkit.client.revoker import Revoker

    way = connection.of_options(network)
    folder = Folder(directory, way.secrets)
    revoker = Revoker(
        folder,
        way,
        url=cmp_url,
        tls_ca=network.tls_ca,
        client_certificate=connection.client_certificate(network, way.secrets),
        allowed=None if legacy is None else options.read_legacy(legacy),
        tell=events.EventPrinter(),
    )
    with hints.naming_commands(folder):
        found = revoker.revoke(
            reason.reason,
            passphrase=partial(challenges.read, passphrase, passphrase_file, what="passphrase"),
            confirm=partial(_ask, yes=yes),
        )
    _report(folder, found, reason, as_json=as_json)


def _ask(certificate: Certificate, *, yes: bool) -> None:
    from scepkit.cli import describe
    from scepkit.protocol.certificate import show_serial

    if yes:
        return
    if not terminal.can_ask():
        if terminal.is_unseen():
            raise UsageError(
                "this cannot be undone, and the question would not be seen: stderr is no terminal",
                hint="give --yes, or do not redirect stderr",
            )
        return
    terminal.say(f"This certificate is about to be revoked: {describe.subject(certificate)}")
    number = show_serial(certificate.serial)
    terminal.fields([("serial", number), ("valid", describe.validity(certificate))])
    if not terminal.confirm("You cannot take this back. Revoke it?"):
        raise typer.Abort


def _report(
    folder: Folder, found: RevokedCertificate, reason: ReasonName, *, as_json: bool
) -> None:
    from scepkit.cli import describe
    from scepkit.cli.device.hints import enroll_command
    from scepkit.protocol.certificate import show_serial

    certificate, was_before = found.certificate, found.answer.was_before
    if as_json:
        terminal.json_data(
            {
                "revoked": True,
                "before": was_before,
                "reason": None if was_before else reason.value,
                **describe.summary(certificate),
            }
        )
        return
    name, number = describe.subject(certificate), show_serial(certificate.serial)
    if was_before:
        terminal.say(f"the certificate of {name} was revoked before, serial {number}")
    else:
        terminal.say(f"revoked the certificate of {name}, serial {number}: {reason}")
    terminal.say(f"for a new one: {enroll_command(folder)}")
