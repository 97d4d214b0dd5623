"""`scep admin ca install`: the certificate that the CA above has issued comes into force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.ca.operator import (
    AtOnceOption,
    ChainOption,
    NameArgument,
    opened,
    say_unused,
)
from scepkit.cli.admin.server_directory import DEFAULT_DIRECTORY, DirectoryOption, JsonOption
from scepkit.cli.help import Command, examples

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.operations.authorities import Installed


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "install",
        cls=Command,
        short_help="Install the certificate that the CA above has issued.",
        epilog=examples(
            "scep admin ca install default device-ca.pem --chain root.pem",
            "scep admin ca install default device-ca.p7b",
        ),
    )(install)


def install(
    name: NameArgument,
    certificate: Annotated[
        Path, typer.Argument(metavar="CERT", help="PEM, DER or PKCS#7; - for stdin.")
    ],
    *,
    chain: ChainOption = [],  # noqa: B006 - typer's way to say: none
    at_once: AtOnceOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Check the certificate of a CA that was requested, and put it into force.

    A running server takes it over within seconds, all its processes do. A CA that has issued is not
    replaced: the new one becomes the next CA, and `scep admin rollover activate` puts it into force
    when devices have learnt of it. A certificate for the same key replaces the one before.
    """
    with opened(directory, name) as operator:
        from scepkit.operations import authorities

        found = [one for path in (certificate, *chain) for one in read(path)]
        installed = authorities.install(operator, found, at_once=at_once)
        has_endpoint = operator.has_endpoint
    report(installed, name, directory, as_json=as_json)
    if not has_endpoint:
        say_unused(name)


def read(path: Path) -> Sequence[x509.Certificate]:
    """Read the certificates of a file.

    Raises:
        UsageError: it cannot be read.
        SettingsError: it holds none.
    """
    from scepkit.keys.certificate_files import MOST_OCTETS, read_certificates

    return read_certificates(input_file.read(path, MOST_OCTETS), path)


def report(installed: Installed, name: str, directory: Path, *, as_json: bool) -> None:
    """Say what became of a CA certificate, and what to do next."""
    from scepkit.ca.directory.adoption import Place
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.protocol.distinguished_name import Name

    fingerprint = sha256_fingerprint(installed.certificate)
    subject = str(Name.of(installed.certificate.subject))
    if as_json:
        terminal.json_data(
            {
                "subject": subject,
                "fingerprint": fingerprint,
                "place": installed.place.value,
                "in_force": installed.is_in_force,
                "has_root": installed.has_root,
                "doubts": list(installed.doubts),
            }
        )
    else:
        terminal.data(f"fingerprint  {fingerprint}")
    if installed.is_in_force:
        is_new = installed.place is not Place.RENEWED
        terminal.say(f"{subject} is {'the CA now' if is_new else 'renewed'}")
    else:
        options = f" --dir {directory}" + ("" if name == "default" else f" --ca {name}")
        terminal.say(f"{subject} is the next CA; devices can fetch it (GetNextCACert)")
        terminal.say(f"give them time, then: scep admin rollover activate{options}")
    for doubt in installed.doubts:
        terminal.warn(f"strict verifiers refuse the CA's certificate: {doubt}")
    if not installed.has_root:
        terminal.say(
            "warning: no root is known above it; give the certificates up to the root with "
            "--chain, or devices that trust the root alone cannot verify it"
        )
