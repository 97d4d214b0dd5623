"""`scep renew`: get a certificate in place of one before that ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.device import request_options as asks
from scepkit.cli.help import Command
from scepkit.cli.option_groups import (
    ConnectionOptions,
    PollingOptions,
    RenewalChallengeOptions,
    grouped,
)
from scepkit.cli.options import CONNECTION, KEYS, WANTED, flag, option
from scepkit.errors import UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.client.folder import Folder
    from scepkit.client.renewer import NotDue, Outcome, RenewalOptions

_EPILOG = """
\b
Examples, for a daily timer:
  scep renew /etc/www
  scep renew --all /etc/scep

\b
Exit status:
  0  renewed, or not yet time      2  wrong usage, or a file cannot be used
  1  refused, revoked, or failed   3  waiting for approval: run it again
"""

_WHEN = "Time of renewal"

_Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="Directory made by scep enroll --out; with --all one with many of these up to eight "
        "levels down, SCEP_AGENT_ROOT or /etc/scep unless given.",
        show_default=False,
    ),
]

_All = Annotated[
    bool,
    flag(
        _WHEN,
        "Renew all directories below DIR that are due, and wait for none of them.",
        "--all",
    ),
]

_Before = Annotated[
    str,
    option(
        _WHEN,
        "TIME",
        "Renew if the certificate expires within this time: 30d, 12h, … Default: the last third "
        "of its validity, at most 30 days.",
    ),
]

_Force = Annotated[bool, flag(_WHEN, "Renew now, even if it is not due.", "--force")]

_SameKey = Annotated[
    bool,
    flag(
        WANTED,
        "Keep the current key. By default a renewal makes a new one.",
        "--same-key",
    ),
]

_Key = Annotated[str, option(WANTED, "KIND", f"{KEYS}. Default: that of the current key.")]

_Eku = Annotated[
    list[str] | None,
    option(
        WANTED,
        "LIST",
        "Purposes (extended key usages) from now on, as for scep enroll; "
        '"" leaves them to the CA. Default: those of the last request.',
        "--eku",
    ),
]

_NextCA = Annotated[
    bool,
    flag(
        WANTED,
        "Get the certificate from the CA's announced successor, and keep it in DIR/next until "
        "that CA is in force.",
        "--next-ca",
    ),
]

_Message = Annotated[
    str,
    option(
        WANTED,
        "TYPE",
        "Message type of the request: RenewalReq, or PKCSReq for older servers. Default: by the "
        "server's capabilities.",
    ),
]

_Url = Annotated[
    str, option(CONNECTION, "URL", "URL of the SCEP server. Default: the one recorded in DIR.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "renew",
        cls=Command,
        short_help="Renew the certificate in a directory if it is due.",
        epilog=_EPILOG,
    )(grouped(renew))


def renew(
    directory: _Directory = None,
    *,
    every: _All = False,
    before: _Before = "",
    force: _Force = False,
    same_key: _SameKey = False,
    key: _Key = "",
    key_passphrase: asks.KnownKeyPassphrase = None,
    eku: _Eku = None,
    next_ca: _NextCA = False,
    message: _Message = "",
    challenge: RenewalChallengeOptions,
    files: asks.FileChangeOptions,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: options.KnownLegacy = None,
    polling: PollingOptions,
    url: _Url = "",
    ca_id: options.KnownCaId = None,
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Renew the certificate in a directory if it is due; otherwise say when it will be.

    A server that offers it is asked when it wants the renewal: that can only be sooner. A
    certificate that is not due is checked for revocation, if it names an OCSP responder or a CRL.

    The request has the same subject, names and purposes. The old key and certificate stay until
    the new ones are there. Server, CA and algorithms are those recorded in DIR, unless an option
    says otherwise.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, events, hints
    from scepkit.client.folder import Folder
    from scepkit.client.folder.outputs import OutputChanges
    from scepkit.client.folder.record import ServerChanges
    from scepkit.client.renewer import Renewer

    # What can be wrong with the options is said before anything happens.
    if directory is None and not every:
        raise UsageError("no directory is named", hint="scep renew DIR, or scep renew --all")
    wanted = _read(before, key, eku, message, force=force, same_key=same_key, next_ca=next_ca)
    anchor = connection.AnchorOptions(fingerprint, ca_file)
    trusted = anchor.choose if anchor.is_given else None
    patience = replace(polling, max_wait=0) if every else polling
    way = connection.of_options(network, patience)
    shown = connection.client_certificate(network, way.secrets)
    changes = connection.changes(url, ca_id, legacy, network.tls_ca, shown)
    outputs = files.read()
    if directory is None or every:
        from scepkit.cli.device.renew_all import renew_all

        if anchor.is_given or challenge.are_given or changes != ServerChanges():
            raise UsageError("with --all, each directory has its own server, CA and challenge")
        if outputs != OutputChanges():
            raise UsageError("with --all, each directory has its own further files")
        raise typer.Exit(renew_all(directory, wanted, way, as_json=as_json))
    # One that enrolled the device is still in many an environment, and is spent.
    secret = partial(challenges.of_options, challenge, environment=False)
    passphrase = asks.read_source(key_passphrase, "--key-passphrase") if key_passphrase else None
    folder = Folder(directory, way.secrets, passphrase)
    printer = events.EventPrinter()
    renewer = Renewer(folder, way, server=changes, outputs=outputs, trust=trusted, tell=printer)
    with hints.naming_commands(folder, printer):
        outcome = renewer.renew(wanted, challenge=secret)
    _report(outcome, as_json=as_json)


def _read(
    before: str,
    key: str,
    eku: Iterable[str] | None,
    message: str,
    *,
    force: bool,
    same_key: bool,
    next_ca: bool,
) -> RenewalOptions:
    """Read the text of the options.

    Raises:
        UsageError: one cannot be meant.
    """
    from scepkit.client.keys import check_spec
    from scepkit.client.renewer import RenewalOptions
    from scepkit.protocol.scep.attributes import MessageType

    messages = {"": None, "renewalreq": MessageType.RENEWAL_REQ, "pkcsreq": MessageType.PKCS_REQ}
    if same_key and key:
        raise UsageError("--same-key and --key exclude each other")
    if key:
        check_spec(key)
    window = read_duration(before) if before else None
    if message.lower() not in messages:
        raise UsageError(f"--message {message}: no such message", hint="RenewalReq or PKCSReq")
    asked = None if eku is None else options.read_purposes(eku)
    return RenewalOptions(window, key, asked, messages[message.lower()], force, same_key, next_ca)


def _report(outcome: Outcome, *, as_json: bool) -> None:
    """Print what came of a renewal."""
    from scepkit.cli.device import events
    from scepkit.client.renewer import NotDue, WaitsAhead

    if isinstance(outcome, NotDue):
        _report_not_due(outcome, as_json=as_json)
    elif isinstance(outcome, WaitsAhead):
        _report_ahead(outcome.folder, as_json=as_json)
    else:
        events.report_issued(
            outcome.issued,
            outcome.folder,
            as_json=as_json,
            more={"renewed": True},
            ahead=outcome.is_ahead,
        )
        if outcome.is_ahead:
            terminal.say("It is installed by scep renew once the next CA is in force.")


def _report_ahead(folder: Folder, *, as_json: bool) -> None:
    """Say that there is a certificate of the next CA already."""
    from scepkit.cli import describe

    certificate = folder.certificate()
    if as_json and certificate is not None:
        about = describe.summary(certificate)
        terminal.json_data({"renewed": False, "ahead": str(folder.path), **about})
    terminal.say(
        f"{folder.path} already has a certificate of the next CA, which is not in force yet"
    )


def _report_not_due(outcome: NotDue, *, as_json: bool) -> None:
    """Say when the certificate will be renewed."""
    from scepkit.cli import describe
    from scepkit.cli.device import events

    certificate, start = outcome.certificate, outcome.renew_from
    events.warn_if_early(certificate)
    if as_json:
        when = {
            "renewed": False,
            "renew_from": describe.timestamp(start),
            "advised": outcome.advice is not None,
            "explanation": outcome.advice.explanation if outcome.advice else "",
        }
        standing = {"revocation": outcome.standing.value}
        terminal.json_data({**when, **standing, **describe.summary(certificate)})
        return
    advised = f", as the server advises{events.because(outcome.advice)}" if outcome.advice else ""
    terminal.say(
        f"not yet: {describe.subject(certificate)} is valid until "
        f"{certificate.not_after:%Y-%m-%d %H:%M} UTC; "
        f"renewal is due from {start:%Y-%m-%d %H:%M} UTC on{advised} (--force renews now)"
    )
