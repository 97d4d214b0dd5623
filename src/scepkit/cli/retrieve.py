"""`scep get next-ca|cert|crl`: what a SCEP server gives to those who trust it, or whom it knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from scepkit.cli import get, options, terminal
from scepkit.cli.help import Command
from scepkit.cli.options import option
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder

Out = Annotated[
    Path | None,
    option(options.OUTPUT, "FILE", "Write it to this file instead of stdout."),
]
Directory = Annotated[
    Path,
    option(
        options.WANTED,
        "DIR",
        "Ask with the key and certificate of this directory, made by scep enroll --out; its "
        "ca.pem is trusted.",
        "--dir",
    ),
]
Serial = Annotated[
    str,
    option(
        options.WANTED,
        "HEX",
        "Its serial number; the one of the certificate in DIR unless given.",
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
    from scepkit.cli.deliver import deliver

    whom = trust.Whom(fingerprint, ca_file)
    client = connection.client(
        url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy, legacy=legacy
    )
    information = client.ask()
    ca = client.trust(information, trust.choose(information, whom))
    found = client.get_next_certificates(ca)
    following = client.trust_next(ca, found).certificates.anchor
    about = [
        describe.with_role("next CA" if one == following else "with it", one)
        for one in sorted(found, key=lambda one: one != following)
    ]
    details = {"url": client.url, "certificates": [describe.whole(one) for one in found]}
    deliver(describe.pem(found), out, about, details, as_json=as_json)


def cert(
    url: options.Url,
    *,
    directory: Directory,
    serial: Serial = "",
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
    from scepkit.cli.deliver import deliver

    number = _serial(serial) if serial else None
    client = connection.client(
        url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy, legacy=legacy
    )
    folder, certificate, ca = _known(client, ca_id, directory)
    found = client.get_cert(ca, folder.key(), certificate, number)
    rows = [("serial", f"{found.serial_number:x}"), *describe.marks(found)]
    about = [(f"certificate of {describe.subject(found)}", rows)]
    deliver(describe.pem([found]), out, about, describe.whole(found), as_json=as_json)


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
    from scepkit.cli.deliver import deliver

    client = connection.client(
        url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy, legacy=legacy
    )
    folder, certificate, ca = _known(client, ca_id, directory)
    places = describe.crl_urls(certificate)
    if places:
        terminal.say(f"the certificate says where to fetch the list as well: {places[0]}")
    found = client.get_crl(ca, folder.key(), certificate)
    pem = found.public_bytes(Encoding.PEM).decode("ascii")
    details = describe.revocations(found)
    shown = ("number", "this_update", "next_update", "revoked")
    rows = [(name.replace("_", " "), str(details[name])) for name in shown]
    about = [(f"revocation list of {found.issuer.rfc4514_string()}", rows)]
    deliver(pem, out, about, {**details, "pem": pem}, as_json=as_json)


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
