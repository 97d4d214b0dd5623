"""`scep get …`: look at a SCEP server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command, Group, examples
from scepkit.cli.option_groups import ConnectionOptions, grouped
from scepkit.errors import TransportError

group = typer.Typer(
    name="get",
    cls=Group,
    help="Look at a SCEP server.",
    epilog=examples("scep get ca http://ca.example/scep", "scep get crl --dir dev1 --out crl.pem"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command(
    cls=Command,
    short_help="Print the server's capabilities.",
    epilog=examples("scep get caps http://ca.example/scep"),
)
@grouped
def caps(
    url: options.Url,
    *,
    ca_id: options.CaId = "",
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Print the server's capabilities (GetCACaps), one keyword a line."""
    from scepkit.cli import describe
    from scepkit.cli.device import connection
    from scepkit.protocol.scep import transaction

    client = connection.client(url, connection.of_options(network), network, ca_id=ca_id)
    flow = transaction.ca_capabilities(client.identifier, client.limits, _warn)
    keywords = describe.keywords(client.run(flow))
    if as_json:
        terminal.json_data({"url": client.url, "capabilities": keywords})
        return
    if not keywords:
        terminal.say("the server lists no capabilities")
    for keyword in keywords:
        terminal.data(terminal.escape(keyword))


def _warn(error: TransportError) -> None:
    terminal.warn(
        f"GetCACaps: {error.message}",
        "to a client it is a server without capabilities; is it the right URL?",
    )


@group.command(
    cls=Command,
    short_help="Print the CA's and the RA's certificates.",
    epilog=examples(
        "scep get ca http://ca.example/scep",
        "scep get ca http://ca.example/scep --fingerprint sha256:5a1f... --out ca.pem",
    ),
)
@grouped
def ca(
    url: options.Url,
    *,
    fingerprint: options.Fingerprint = "",
    out: Annotated[
        Path | None,
        options.option(
            options.OUTPUT, "FILE", "Write the certificates to this file instead of stdout."
        ),
    ] = None,
    ca_id: options.CaId = "",
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Print the server's CA and RA certificates (GetCACert): PEM on stdout, a summary on stderr.

    Without --fingerprint the certificates are not authenticated.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection
    from scepkit.cli.device.get import deliver
    from scepkit.protocol.scep import ca_certificates

    anchor = connection.AnchorOptions(fingerprint)
    client = connection.client(url, connection.of_options(network), network, ca_id=ca_id)
    found = client.ask().certificates
    if anchor.fingerprint:
        ca_certificates.find(found, anchor.fingerprint)
    roles = [*zip(describe.roles(found), found, strict=True)]
    about: list[About] = [describe.with_role(role, one) for role, one in roles]
    if anchor.fingerprint:
        about.append(("The fingerprint is the expected one.", ()))
    listed = [{**role.details(), **describe.whole(one)} for role, one in roles]
    details = {"url": client.url, "certificates": listed}
    deliver(describe.pem(found), out, about, details, as_json=as_json)


# A line, and names and values that belong to it.
About: TypeAlias = tuple[str, Sequence[tuple[str, str]]]


def deliver(
    pem: str,
    out: Path | None,
    about: Sequence[About],
    details: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    """Deliver certificates, or a revocation list.

    Args:
        pem: what was asked for.
        out: the file to write it to; None for stdout.
        about: what to say of it.
        details: all of that for programs, with the PEM.
        as_json: print those, in place of the PEM and of what there is to say.

    Raises:
        SettingsError: the file system refuses.
    """
    if out is not None:
        _write(out, pem.encode("ascii"))
    if as_json:
        terminal.json_data(details)
        return
    for line, rows in about:
        terminal.say(line)
        terminal.fields(rows)
    if out is None:
        terminal.data(pem)


def _write(out: Path, content: bytes) -> None:
    """Write a file, or into a device or a pipe, which must not be replaced by a file.

    Raises:
        SettingsError: the file system refuses.
    """
    from scepkit.keys.files import refusals, write_file
    from scepkit.keys.pem import CERTIFICATE_MODE

    with refusals(f"cannot write {out}"):
        if not out.exists() or out.is_file():
            write_file(out, content, mode=CERTIFICATE_MODE)
            return
        # A pipe that nobody reads would keep the command for ever.
        descriptor = os.open(out, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
