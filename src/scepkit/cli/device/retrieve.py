"""`scep get next-ca|cert|crl`: retrieval that needs trust in the CA, or a certificate of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.device import get
from scepkit.cli.help import Command, examples
from scepkit.cli.option_groups import ConnectionOptions, grouped
from scepkit.cli.options import option
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.client.client import CA, Client, Connection
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import ServerChanges

KnownUrl = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="URL of the SCEP server. Default: the one recorded in --dir.",
        show_default=False,
    ),
]

Out = Annotated[
    Path | None,
    option(options.OUTPUT, "FILE", "Write it to this file instead of stdout."),
]
Directory = Annotated[
    Path,
    option(
        options.WANTED,
        "DIR",
        "Directory made by scep enroll --out. Its key and certificate sign the request; its "
        "ca.pem is trusted.",
        "--dir",
    ),
]
KnownCA = Annotated[
    Path | None,
    option(
        options.TRUST,
        "DIR",
        "Directory made by scep enroll --out. Its CA is trusted; its server is the default for "
        "URL.",
        "--dir",
    ),
]
Serial = Annotated[
    str,
    option(
        options.WANTED,
        "HEX",
        "Serial number of the certificate. Default: that of the certificate in DIR.",
    ),
]

_NEXT_CA = examples(
    "scep get next-ca --dir dev1 --out next-ca.pem",
    "scep get next-ca http://ca.example/scep --ca ca.pem",
    "scep get next-ca http://ca.example/scep --fingerprint sha256:5a1f...",
)
_CERT = examples(
    "scep get cert --dir dev1 --out again.pem",
    "scep get cert --dir dev1 --serial 5a1f...",
)
_CRL = examples(
    "scep get crl --dir dev1 --out crl.pem",
)


def register() -> None:
    """Add the commands of this file to `scep get`."""
    for name, command, help_, epilog in (
        ("next-ca", next_ca, "Print the CA's announced successor.", _NEXT_CA),
        ("cert", cert, "Print a certificate that the CA issued.", _CERT),
        ("crl", crl, "Print the CA's revocation list.", _CRL),
    ):
        get.group.command(name, cls=Command, short_help=help_, epilog=epilog)(grouped(command))


def next_ca(
    url: KnownUrl = "",
    *,
    directory: KnownCA = None,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: options.KnownLegacy = None,
    out: Out = None,
    ca_id: options.KnownCaId = None,
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Print the certificates of the CA's successor (GetNextCACert), signed by the current CA.

    Name the current CA by --dir, --fingerprint or --ca.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection
    from scepkit.cli.device.get import deliver

    anchor = connection.AnchorOptions(fingerprint, ca_file)
    way = connection.of_options(network)
    shown = connection.client_certificate(network, way.secrets)
    changes = connection.changes(url, ca_id, legacy, network.tls_ca, shown)
    if directory is not None and anchor.is_given:
        raise UsageError("--dir names the trusted CA: leave out --fingerprint and --ca")
    if directory is not None:
        known = _known(directory, changes, way, "next-ca", signs=False)
        client, ca = known.client, known.ca
    elif url:
        client = connection.client(url, way, network, ca_id=ca_id or "", legacy=legacy or "")
        information = client.ask()
        ca = client.trust(information, anchor.choose(information))
    else:
        raise UsageError(
            "no server is named",
            hint="name it: scep get next-ca URL; or name a directory that records it: --dir DIR",
        )
    found = client.get_next_certificates(ca)
    # Of a next CA below a root the one that will issue, not the root, which stays.
    following = client.trust_next(ca, found).certificates.issuer
    others = [one for one in found if one != following]
    about = [describe.with_role("next CA", following)]
    about += [describe.with_role("with it", one) for one in others]
    roles = ["other" if one in others else "ca" for one in found]
    listed = [{"role": r, **describe.whole(c)} for r, c in zip(roles, found, strict=True)]
    details = {"url": client.url, "certificates": listed}
    deliver(describe.pem(found), out, about, details, as_json=as_json)


def cert(
    url: KnownUrl = "",
    *,
    directory: Directory,
    serial: Serial = "",
    legacy: options.KnownLegacy = None,
    out: Out = None,
    ca_id: options.KnownCaId = None,
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Print a certificate that the CA issued (GetCert), such as one that was lost.

    Many CAs give a certificate to its own holder only.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection
    from scepkit.cli.device.get import deliver
    from scepkit.protocol.certificate import show_serial

    number = _serial(serial) if serial else None
    way = connection.of_options(network)
    shown = connection.client_certificate(network, way.secrets)
    changes = connection.changes(url, ca_id, legacy, network.tls_ca, shown)
    known = _known(directory, changes, way, "cert")
    certificate = known.folder.require_certificate()
    found = known.client.get_cert(known.ca, known.folder.key(), certificate, number)
    rows = [("serial", show_serial(found.serial)), *describe.marks(found)]
    about = [(f"certificate of {describe.subject(found)}", rows)]
    deliver(describe.pem([found]), out, about, describe.whole(found), as_json=as_json)


def crl(
    url: KnownUrl = "",
    *,
    directory: Directory,
    legacy: options.KnownLegacy = None,
    out: Out = None,
    ca_id: options.KnownCaId = None,
    network: ConnectionOptions,
    as_json: options.Json = False,
) -> None:
    """Print the CA's certificate revocation list (GetCRL), PEM, after checking its signature.

    RFC 8894 wants this only of a CA whose certificates do not say where to fetch the list.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from scepkit.cli import describe
    from scepkit.cli.device import connection
    from scepkit.cli.device.get import deliver

    way = connection.of_options(network)
    shown = connection.client_certificate(network, way.secrets)
    changes = connection.changes(url, ca_id, legacy, network.tls_ca, shown)
    known = _known(directory, changes, way, "crl")
    certificate = known.folder.require_certificate()
    places = describe.crl_urls(certificate)
    if places:
        terminal.say(f"the certificate says where to fetch the list as well: {places[0]}")
    found = known.client.get_crl(known.ca, known.folder.key(), certificate)
    pem = found.public_bytes(Encoding.PEM).decode("ascii")
    details = describe.revocations(found)
    facts = ("number", "this_update", "next_update", "revoked")
    rows = [
        (name.replace("_", " "), str(details[name])) for name in facts if details[name] is not None
    ]
    about = [(f"revocation list of {details['issuer']}", rows)]
    deliver(pem, out, about, {**details, "pem": pem}, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Known:
    """A directory, and the server and the CA that it knows."""

    folder: Folder
    client: Client
    ca: CA


def _known(
    directory: Path, changes: ServerChanges, way: Connection, name: str, *, signs: bool = True
) -> _Known:
    """Find the CA of a directory: as the last time, but for the options.

    Args:
        directory: the directory.
        changes: what the options say anew of the server.
        way: how it is reached.
        name: of the command, for hints.
        signs: whether the certificate of the directory is needed.
    """
    from scepkit.cli.device import events, hints
    from scepkit.client import rollover

    folder = events.existing(directory)
    with hints.naming_commands(folder, server=f"scep get {name} URL --dir {directory}"):
        record = folder.server(changes, "to ask with")
        if signs:
            folder.require_certificate("to ask with")
    client = way.client(record)
    seen = record.seen(record.url, record.ca_id)
    ca = rollover.find(client, client.ask(), folder, seen).ca
    events.warn_of_weakness(ca)
    return _Known(folder, client, ca)


def _serial(text: str) -> int:
    """Read a serial number as the commands and openssl show it: hex, with or without colons."""
    from scepkit.protocol.certificate import read_serial

    try:
        return read_serial(text)
    except ValueError as error:
        raise UsageError(
            f"--serial {text}: not a serial number",
            hint="hexadecimal digits, as scep status and openssl x509 -serial show them",
        ) from error
