"""`scep revoke`: have the certificate in a directory revoked, by the holder of its key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command
from scepkit.cli.options import CONNECTION, WANTED, ReasonName, flag, option, read_reason
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record
    from scepkit.client.revocation import Revoked
    from scepkit.protocol import cmp
    from scepkit.protocol.algorithms import Legacy
    from scepkit.protocol.certificate import Certificate
    from scepkit.protocol.scep.ca_certificates import TrustedCA

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
    )(revoke)


def revoke(
    directory: options.Directory,
    *,
    reason: _Reason = ReasonName.UNSPECIFIED,
    yes: _Yes = False,
    passphrase: _Passphrase = None,
    passphrase_file: _PassphraseFile = None,
    cmp_url: _CmpUrl = "",
    legacy: options.KnownLegacy = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Revoke the certificate in a directory, with its own key as proof (CMP, RFC 9810).

    The holder cannot take a revocation back, and the key is of no more use. The files stay in DIR.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, events, hints
    from scepkit.client import revocation
    from scepkit.client.trust import normalize_url

    way = connection.of_options(timeout, proxy)
    folder = events.existing(directory)
    with folder.locked(), hints.naming_commands(folder):
        folder.recover()
        certificate = folder.require_certificate("that could be revoked")
        record = folder.record()
        secret = challenges.read(passphrase, passphrase_file, what="passphrase")
        url = normalize_url(cmp_url) if cmp_url else _url(folder, record)
        protector = _protector(folder, certificate, secret)
        trusted = _trusted(folder)
        _ask(certificate, yes=yes)
        found = revocation.revoke(
            url,
            certificate,
            protector,
            trusted,
            reason=reason.reason,
            allowed=_allowed(legacy, record),
            transport=way.transport(_tls_ca(tls_ca, record)),
            pause=way.pause,
        )
        _note(folder, certificate, found, reason)
    _report(folder, certificate, found, reason, as_json=as_json)


def _url(folder: Folder, record: Record | None) -> str:
    from scepkit.client import revocation

    if record is None:
        raise SettingsError(
            f"the server of the certificate in {folder.path} is not recorded",
            hint="name the CA's CMP service: --cmp-url, such as http://ca.example/cmp/default",
        )
    return revocation.cmp_url(record.url, record.ca_id)


def _allowed(option: str | None, record: Record | None) -> frozenset[Legacy]:
    if option is None and record is not None:
        return record.allowed
    return options.read_legacy(option or "")


def _tls_ca(option: Path | None, record: Record | None) -> Path | None:
    if option is None and record is not None and record.tls_ca:
        return Path(record.tls_ca)
    return option


def _protector(
    folder: Folder, certificate: Certificate, passphrase: str | None
) -> Callable[[], cmp.Protector]:
    from scepkit.client import revocation

    if passphrase is not None:
        return lambda: revocation.by_passphrase(passphrase, certificate)
    key = folder.key()
    return lambda: revocation.by_key(key, certificate)


def _trusted(folder: Folder) -> TrustedCA:
    from scepkit.protocol.scep import ca_certificates

    anchor = folder.ca()
    return ca_certificates.trust([*folder.chain(), anchor], anchor, datetime.now(UTC))


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


def _note(folder: Folder, certificate: Certificate, found: Revoked, reason: ReasonName) -> None:
    """Keep it in the folder; what was said the first time stays."""
    from scepkit.client.folder.record import RevocationNote
    from scepkit.protocol.certificate import show_serial

    if found.was_before and folder.revocation() is not None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    why = "" if found.was_before else reason.value
    folder.note_revocation(RevocationNote(show_serial(certificate.serial), now, why))


def _report(
    folder: Folder,
    certificate: Certificate,
    found: Revoked,
    reason: ReasonName,
    *,
    as_json: bool,
) -> None:
    from scepkit.cli import describe
    from scepkit.cli.device.hints import enroll_command
    from scepkit.protocol.certificate import show_serial

    if as_json:
        terminal.json_data(
            {
                "revoked": True,
                "before": found.was_before,
                "reason": None if found.was_before else reason.value,
                **describe.summary(certificate),
            }
        )
        return
    name, number = describe.subject(certificate), show_serial(certificate.serial)
    if found.was_before:
        terminal.say(f"the certificate of {name} was revoked before, serial {number}")
    else:
        terminal.say(f"revoked the certificate of {name}, serial {number}: {reason}")
    terminal.say(f"for a new one: {enroll_command(folder)}")
