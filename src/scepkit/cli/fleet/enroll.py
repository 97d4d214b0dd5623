"""`scep fleet enroll`: get certificates for all devices of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options
from scepkit.cli.help import Command
from scepkit.cli.option_groups import ConnectionOptions, TrustOptions, grouped
from scepkit.cli.options import KEYS, OUTPUT, WANTED, flag, option
from scepkit.errors import UsageError
from scepkit.protocol.duration import read_duration

_EPILOG = """
\b
Examples:
  scep fleet enroll devices.csv --url http://ca.example/scep --out fleet \\
      --fingerprint sha256:5a1f...
  scep fleet enroll devices.csv --url http://ca.example/scep --out fleet \\
      --ca ca.pem --challenge-command 'mint-challenge' --parallel 16

\b
The list is CSV in UTF-8, with , or ; between the values:
  name;subject;san;challenge
  dev1;CN=dev1,O=Example;dns:dev1.example|ip:192.0.2.1;SECRET
Columns: subject; and if need be name (else the CN is it), san (several with
| between them), challenge, key and url. A column whose name begins with # is
for people. What a batch of scep admin challenge new prints is such a list.

\b
Exit status:
  0  all devices have theirs       2    wrong usage, or a file cannot be used
  1  some were refused, or failed  3    some wait for approval: run it again
                                   130  interrupted: run it again
"""
_List = Annotated[
    Path,
    typer.Argument(metavar="LIST", help="CSV file with the devices.", show_default=False),
]
_FleetUrl = Annotated[
    str,
    option(
        WANTED,
        "URL",
        "URL of the SCEP server, for all devices whose row has none.",
    ),
]
_Out = Annotated[
    Path,
    option(
        WANTED,
        "DIR",
        "Directory for devices/NAME with key and certificate, pkcs12/NAME.p12, passwords.csv and "
        "results.csv.",
    ),
]
_ChallengeFile = Annotated[
    Path | None,
    option(
        WANTED,
        "FILE",
        "Read the challenge of devices whose row has none from the first line of this file; else "
        "it is that of the environment variable SCEP_CHALLENGE.",
    ),
]
_ChallengeCommand = Annotated[
    str | None,
    option(
        WANTED,
        "COMMAND",
        "Run this for each device whose row has no challenge, without a shell; the first line of "
        "its output is the challenge. SCEP_DEVICE and SCEP_SUBJECT say which device.",
    ),
]
_Key = Annotated[
    str,
    option(WANTED, "KIND", f"{KEYS}; for devices whose row has none.", show_default=True),
]
_PACE = "Pace"
_Parallel = Annotated[
    int, option(_PACE, "NUMBER", "Devices that are enrolled at once.", show_default=True)
]
_StopAfter = Annotated[
    int | None,
    option(
        _PACE,
        "NUMBER",
        "Stop when so many were refused or failed. Without it they are written into results.csv, "
        "and the others go on.",
    ),
]
_Patience = Annotated[
    str,
    option(
        _PACE,
        "TIME",
        "Stop when the server has been away or busy for so long, such as 30m.",
        show_default=True,
    ),
]
_Template = Annotated[
    str,
    option(
        WANTED,
        "NAME",
        "Name of a certificate template, for a Microsoft CA; or its OID, as for scep enroll.",
    ),
]
_Pkcs12Legacy = Annotated[
    bool,
    flag(
        OUTPUT,
        "Encrypt the PKCS#12 files with triple DES and SHA-1, for programs that read nothing else.",
        "--pkcs12-legacy",
    ),
]
_NoPkcs12 = Annotated[bool, flag(OUTPUT, "Write no PKCS#12 files and no passwords.", "--no-pkcs12")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    # `enrol`, as the RFC spells it, is taken too.
    for name, hidden in (("enroll", False), ("enrol", True)):
        app.command(
            name,
            cls=Command,
            short_help="Get the certificates, or go on with that.",
            epilog=_EPILOG,
            hidden=hidden,
        )(grouped(enroll))


def enroll(
    devices: _List,
    *,
    url: _FleetUrl,
    out: _Out,
    challenge_file: _ChallengeFile = None,
    challenge_command: _ChallengeCommand = None,
    key: _Key = "rsa:2048",
    eku: options.Eku = None,
    template: _Template = "",
    trust: TrustOptions,
    parallel: _Parallel = 8,
    stop_after: _StopAfter = None,
    patience: _Patience = "1h",
    ca_id: options.CaId = "",
    network: ConnectionOptions,
    no_pkcs12: _NoPkcs12 = False,
    pkcs12_legacy: _Pkcs12Legacy = False,
    as_json: options.Json = False,
) -> None:
    """Get a certificate for each device of a list: key, request, files, PKCS#12.

    Every row is checked before the first request. After an interruption, or to ask again for those
    that were refused or wait for approval, run the same command again: devices that have their
    certificate are left alone, and requests that were begun are continued.
    """
    from scepkit.cli.device import connection
    from scepkit.cli.fleet.challenge import FleetChallenge
    from scepkit.cli.fleet.running import FleetPrinter, run
    from scepkit.client.fleet.devices import DeviceList
    from scepkit.client.fleet.enroller import FleetEnroller
    from scepkit.client.fleet.enrolment import FleetOptions
    from scepkit.client.fleet.server import FleetServer

    if no_pkcs12 and pkcs12_legacy:
        raise UsageError("--no-pkcs12 and --pkcs12-legacy exclude each other")
    anchor = connection.AnchorOptions(trust.fingerprint, trust.ca_file, insecure=trust.insecure)
    way = connection.of_options(network)
    printer = FleetPrinter()
    fleet = FleetEnroller(
        DeviceList(devices),
        out,
        FleetServer(
            url,
            anchor.choose,
            identifier=ca_id,
            allowed=options.read_legacy(trust.legacy),
            tls_ca=network.tls_ca,
            client_certificate=connection.client_certificate(network, way.secrets),
            connection=way,
        ),
        options=FleetOptions(
            key=key,
            purposes=options.read_purposes(eku or ()),
            template=template,
            parallel=parallel,
            pkcs12=not no_pkcs12,
            pkcs12_legacy=pkcs12_legacy,
            stop_after=stop_after,
            patience=read_duration(patience).total_seconds(),
        ),
        challenge=FleetChallenge(challenge_file, challenge_command),
        tell=printer,
    )
    raise typer.Exit(run(fleet, printer, out, as_json=as_json))
