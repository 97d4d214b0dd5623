"""`scep get next-ca|cert|crl`: what a SCEP server gives to those who trust it, or whom it knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import get, options, terminal
from scepkit.cli.help import Command
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder

_FILE = "Write it to this file instead of stdout."

Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=_FILE, rich_help_panel=options.OUTPUT, show_default=False),
]
Directory = Annotated[
    Path,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="Ask with the key and certificate of this directory, made by scep enroll --out; its "
        "ca.pem is trusted.",
        rich_help_panel=options.WANTED,
        show_default=False,
    ),
]


def register() -> None:
    """Add the commands of this file to `scep get`."""
    for name, command, help_ in (
        ("next-ca", next_ca, "Print the CA's announced successor."),
        ("cert", cert, "Print a certificate that the CA issued."),
        ("crl", crl, "Print the CA's revocation list."),
    ):
        get.group.command(name, cls=Command, short_help=help_)(command)


def next_ca(
    url: options.Url,
    *,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: options.LegacyList = "",
    out: Out = None,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the certificates of the CA's successor (GetNextCACert), as the current CA signed them.

    The current CA has to be trusted: --fingerprint or --ca.
    """
    from scepkit.cli import connection, describe, trust

    trust.check_options(fingerprint, ca_file=ca_file)
    client = connection.client(
        url,
        ca_id=ca_id,
        tls_ca=tls_ca,
        timeout=timeout,
        proxy=proxy,
        allowed=options.read_legacy(legacy),
    )
    information = client.ask()
    anchor = trust.choose(information, fingerprint, ca_file=ca_file)
    ca = client.trust(information, anchor)
    found = client.get_next_certificates(ca)
    following = client.trust_next(ca, found).certificates.anchor
    if out is not None:
        _write(out, describe.pem(found))
    if as_json:
        listed = [{**describe.summary(one), "pem": describe.pem([one])} for one in found]
        terminal.json_data({"url": client.url, "certificates": listed})
        return
    for one in sorted(found, key=lambda one: one != following):
        terminal.say(f"{'next CA' if one == following else 'with it'}: {describe.subject(one)}")
        terminal.fields(
            [("valid", describe.validity(one)), ("fingerprint", describe.fingerprint(one))]
        )
    if out is None:
        terminal.data(describe.pem(found))


def cert(
    url: options.Url,
    *,
    directory: Directory,
    serial: Annotated[
        str,
        typer.Option(
            metavar="HEX",
            help="Its serial number; the one of the certificate in DIR unless given.",
            rich_help_panel=options.WANTED,
            show_default=False,
        ),
    ] = "",
    legacy: options.LegacyList = "",
    out: Out = None,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print a certificate that the CA issued (GetCert), such as one that was lost.

    Many CAs give a certificate to its own holder only.
    """
    from scepkit.cli import connection, describe

    number = _serial(serial) if serial else None
    client = connection.client(
        url,
        ca_id=ca_id,
        tls_ca=tls_ca,
        timeout=timeout,
        proxy=proxy,
        allowed=options.read_legacy(legacy),
    )
    folder, certificate, ca = _known(client, ca_id, directory)
    found = client.get_cert(ca, folder.key(), certificate, number)
    if out is not None:
        _write(out, describe.pem([found]))
    if as_json:
        terminal.json_data({**describe.summary(found), "pem": describe.pem([found])})
        return
    terminal.say(f"certificate of {describe.subject(found)}")
    terminal.fields(
        [
            ("serial", f"{found.serial_number:x}"),
            ("valid", describe.validity(found)),
            ("fingerprint", describe.fingerprint(found)),
        ]
    )
    if out is None:
        terminal.data(describe.pem([found]))


def crl(
    url: options.Url,
    *,
    directory: Directory,
    legacy: options.LegacyList = "",
    out: Out = None,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the CA's certificate revocation list (GetCRL), PEM, after checking its signature.

    RFC 8894 wants this only of a CA whose certificates do not say where to fetch the list.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from scepkit.cli import connection, describe

    client = connection.client(
        url,
        ca_id=ca_id,
        tls_ca=tls_ca,
        timeout=timeout,
        proxy=proxy,
        allowed=options.read_legacy(legacy),
    )
    folder, certificate, ca = _known(client, ca_id, directory)
    places = describe.crl_urls(certificate)
    if places:
        terminal.say(f"the certificate says where to fetch the list as well: {places[0]}")
    found = client.get_crl(ca, folder.key(), certificate)
    pem = found.public_bytes(Encoding.PEM).decode("ascii")
    if out is not None:
        _write(out, pem)
    if as_json:
        terminal.json_data({**describe.revocations(found), "pem": pem})
        return
    terminal.say(f"revocation list of {found.issuer.rfc4514_string()}")
    terminal.fields([(name.replace("_", " "), str(v)) for name, v in _shown(found).items()])
    if out is None:
        terminal.data(pem)


def _shown(found: x509.CertificateRevocationList) -> dict[str, object]:
    from scepkit.cli import describe

    details = describe.revocations(found)
    return {name: details[name] for name in ("number", "this_update", "next_update", "revoked")}


def _known(client: Client, ca_id: str, directory: Path) -> tuple[Folder, x509.Certificate, CA]:
    """Return the directory, its certificate, and the CA that it trusts."""
    from scepkit.cli import trust
    from scepkit.client import renewing
    from scepkit.client.folder import Folder

    folder = Folder(directory)
    certificate = folder.certificate()
    if certificate is None:
        raise SettingsError(
            f"there is no certificate in {directory} to ask with",
            hint="get one first: scep enroll",
        )
    record = folder.record()
    seen = record.seen(client.url, ca_id) if record else frozenset()
    ca = renewing.find(client, client.ask(), folder, seen).ca
    trust.warn_of_weakness(ca)
    return folder, certificate, ca


def _serial(text: str) -> int:
    """Read a serial number as the commands and openssl show it: hex, with or without colons."""
    try:
        return int(text.replace(":", "").strip(), 16)
    except ValueError as error:
        raise UsageError(
            f"--serial {text}: not a serial number",
            hint="hexadecimal digits, as scep status and openssl x509 -serial show them",
        ) from error


def _write(out: Path, pem: str) -> None:
    from scepkit.ca.certificates import CERTIFICATE_MODE
    from scepkit.ca.files import write_file

    write_file(out, pem.encode("ascii"), mode=CERTIFICATE_MODE)
