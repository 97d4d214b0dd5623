"""`scep get next-ca|cert|crl`: retrieval that needs trust in the CA, or a certificate of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.device import get
from scepkit.cli.device import renew_options as its
from scepkit.cli.help import Command, examples
from scepkit.cli.options import option
from scepkit.errors import UsageError
from scepkit.protocol.certificate import read_serial, show_serial

if TYPE_CHECKING:
    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record

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
        get.group.command(name, cls=Command, short_help=help_, epilog=epilog)(command)


def next_ca(
    url: KnownUrl = "",
    *,
    directory: KnownCA = None,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: its.LegacyList = None,
    out: Out = None,
    ca_id: its.CaId = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the certificates of the CA's successor (GetNextCACert), signed by the current CA.

    Name the current CA by --dir, --fingerprint or --ca.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection, trust
    from scepkit.cli.device.output import deliver

    whom = trust.Whom(fingerprint, ca_file)
    if directory is not None:
        if whom.is_given:
            raise UsageError("--dir names the trusted CA: leave out --fingerprint and --ca")
        folder, record = _known(
            directory, url=url, ca_id=ca_id, legacy=legacy, tls_ca=tls_ca, name="next-ca"
        )
        client = connection.recorded(record, timeout=timeout, proxy=proxy)
        ca = _trusted(client, record, folder)
    elif url:
        client = connection.client(
            url,
            ca_id=ca_id or "",
            tls_ca=tls_ca,
            timeout=timeout,
            proxy=proxy,
            legacy=legacy or "",
        )
        information = client.ask()
        ca = client.trust(information, trust.choose(information, whom))
    else:
        raise UsageError(
            "no server is named",
            hint="name it: scep get next-ca URL; or name a directory that records it: --dir DIR",
        )
    found = client.get_next_certificates(ca)
    following = client.trust_next(ca, found).certificates.anchor
    about = [
        describe.with_role("next CA" if one == following else "with it", one)
        for one in sorted(found, key=lambda one: one != following)
    ]
    listed = [
        {"role": "ca" if one == following else "other", **describe.whole(one)} for one in found
    ]
    details = {"url": client.url, "certificates": listed}
    deliver(describe.pem(found), out, about, details, as_json=as_json)


def cert(
    url: KnownUrl = "",
    *,
    directory: Directory,
    serial: Serial = "",
    legacy: its.LegacyList = None,
    out: Out = None,
    ca_id: its.CaId = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print a certificate that the CA issued (GetCert), such as one that was lost.

    Many CAs give a certificate to its own holder only.
    """
    from scepkit.cli import describe
    from scepkit.cli.device import connection, renewable
    from scepkit.cli.device.output import deliver

    number = _serial(serial) if serial else None
    folder, record = _known(
        directory, url=url, ca_id=ca_id, legacy=legacy, tls_ca=tls_ca, name="cert"
    )
    certificate = renewable.certificate(folder, "to ask with")
    client = connection.recorded(record, timeout=timeout, proxy=proxy)
    ca = _trusted(client, record, folder)
    found = client.get_cert(ca, folder.key(), certificate, number)
    rows = [("serial", show_serial(found.serial)), *describe.marks(found)]
    about = [(f"certificate of {describe.subject(found)}", rows)]
    deliver(describe.pem([found]), out, about, describe.whole(found), as_json=as_json)


def crl(
    url: KnownUrl = "",
    *,
    directory: Directory,
    legacy: its.LegacyList = None,
    out: Out = None,
    ca_id: its.CaId = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Print the CA's certificate revocation list (GetCRL), PEM, after checking its signature.

    RFC 8894 wants this only of a CA whose certificates do not say where to fetch the list.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from scepkit.cli import describe
    from scepkit.cli.device import connection, renewable
    from scepkit.cli.device.output import deliver

    folder, record = _known(
        directory, url=url, ca_id=ca_id, legacy=legacy, tls_ca=tls_ca, name="crl"
    )
    certificate = renewable.certificate(folder, "to ask with")
    client = connection.recorded(record, timeout=timeout, proxy=proxy)
    ca = _trusted(client, record, folder)
    places = describe.crl_urls(certificate)
    if places:
        terminal.say(f"the certificate says where to fetch the list as well: {places[0]}")
    found = client.get_crl(ca, folder.key(), certificate)
    pem = found.public_bytes(Encoding.PEM).decode("ascii")
    details = describe.revocations(found)
    shown = ("number", "this_update", "next_update", "revoked")
    rows = [
        (name.replace("_", " "), str(details[name])) for name in shown if details[name] is not None
    ]
    about = [(f"revocation list of {details['issuer']}", rows)]
    deliver(pem, out, about, {**details, "pem": pem}, as_json=as_json)


def _known(
    directory: Path,
    *,
    url: str,
    ca_id: str | None,
    legacy: str | None,
    tls_ca: Path | None,
    name: str,
) -> tuple[Folder, Record]:
    """Return a directory, and how to reach its CA: as the last time, but for the options."""
    from scepkit.cli.device import renewable

    folder = renewable.existing(directory)
    record = renewable.record(
        folder,
        url=url,
        ca_id=ca_id,
        legacy=legacy,
        tls_ca=tls_ca,
        command=f"scep get {name} URL --dir {directory}",
        use="to ask with",
    )
    return folder, record


def _trusted(client: Client, record: Record, folder: Folder) -> CA:
    """Return the CA that a directory trusts."""
    from scepkit.cli.device import trust
    from scepkit.client import renewal_time

    ca = renewal_time.find(client, client.ask(), folder, record.seen(record.url, record.ca_id)).ca
    trust.warn_of_weakness(ca)
    return ca


def _serial(text: str) -> int:
    """Read a serial number as the commands and openssl show it: hex, with or without colons."""
    try:
        return read_serial(text)
    except ValueError as error:
        raise UsageError(
            f"--serial {text}: not a serial number",
            hint="hexadecimal digits, as scep status and openssl x509 -serial show them",
        ) from error
