"""`scep get …`: look at a SCEP server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command, Group

group = typer.Typer(
    name="get",
    cls=Group,
    help="Look at a SCEP server.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command(cls=Command, short_help="Print what the server can do.")
def caps(
    url: options.Url,
    *,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print what the server can do (GetCACaps), one keyword a line."""
    from scepkit.cli import connection, describe

    client = connection.client(url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy)
    keywords = describe.keywords(client.get_capabilities())
    if as_json:
        terminal.json_data({"url": client.url, "capabilities": keywords})
        return
    if not keywords:
        terminal.say("the server lists no capabilities")
    for keyword in keywords:
        terminal.data(terminal.escape(keyword))


@group.command(cls=Command, short_help="Print the CA's and the RA's certificates.")
def ca(
    url: options.Url,
    *,
    fingerprint: options.Fingerprint = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the certificates to this file instead of stdout.",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ] = None,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the server's CA and RA certificates (GetCACert): PEM on stdout, about them on stderr.

    Without --fingerprint nothing about them is authenticated.
    """
    from scepkit.ca.certificates import CERTIFICATE_MODE
    from scepkit.ca.files import write_file
    from scepkit.cli import connection, describe, trust
    from scepkit.protocol import cacerts

    trust.check_options(fingerprint)
    client = connection.client(url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy)
    found = client.ask().certificates
    if fingerprint:
        cacerts.find(found, fingerprint)
    roles = describe.roles(found)
    if out is not None:
        write_file(out, describe.pem(found).encode("ascii"), mode=CERTIFICATE_MODE)
    if as_json:
        listed = [
            {"role": role, **describe.summary(one), "pem": describe.pem([one])}
            for role, one in zip(roles, found, strict=True)
        ]
        terminal.json_data({"url": client.url, "certificates": listed})
        return
    for role, one in zip(roles, found, strict=True):
        terminal.say(f"{role}: {describe.subject(one)}")
        terminal.fields(
            [("valid", describe.validity(one)), ("fingerprint", describe.fingerprint(one))]
        )
    if fingerprint:
        terminal.say("The fingerprint is the expected one.")
    if out is None:
        terminal.data(describe.pem(found))
