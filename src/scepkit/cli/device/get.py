"""`scep get …`: look at a SCEP server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command, Group, examples

if TYPE_CHECKING:
    from scepkit.cli.device.output import About

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
def caps(
    url: options.Url,
    *,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the server's capabilities (GetCACaps), one keyword a line."""
    from scepkit.cli import describe
    from scepkit.cli.device import connection

    client = connection.client(url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy)
    keywords = describe.keywords(client.get_capabilities())
    if as_json:
        terminal.json_data({"url": client.url, "capabilities": keywords})
        return
    if not keywords:
        terminal.say("the server lists no capabilities")
    for keyword in keywords:
        terminal.data(terminal.escape(keyword))


@group.command(
    cls=Command,
    short_help="Print the CA's and the RA's certificates.",
    epilog=examples(
        "scep get ca http://ca.example/scep",
        "scep get ca http://ca.example/scep --fingerprint sha256:5a1f... --out ca.pem",
    ),
)
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
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the server's CA and RA certificates (GetCACert): PEM on stdout, a summary on stderr.

    Without --fingerprint the certificates are not authenticated.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection, trust
    from scepkit.cli.device.output import deliver
    from scepkit.protocol.scep import ca_certificates

    whom = trust.Whom(fingerprint)
    client = connection.client(url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy)
    found = client.ask().certificates
    if whom.fingerprint:
        ca_certificates.find(found, whom.fingerprint)
    roles = [*zip(describe.roles(found), found, strict=True)]
    about: list[About] = [describe.with_role(role, one) for role, one in roles]
    if whom.fingerprint:
        about.append(("The fingerprint is the expected one.", ()))
    listed = [{**role.details(), **describe.whole(one)} for role, one in roles]
    details = {"url": client.url, "certificates": listed}
    deliver(describe.pem(found), out, about, details, as_json=as_json)
