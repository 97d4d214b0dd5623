"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli import options
from scepkit.cli.help import Command
from scepkit.cli.options import KEYS, TRUST, WANTED, flag, option

_EPILOG = """
\b
Examples:
  scep enroll http://ca.example/scep --subject CN=dev1,O=Example --out dev1 \\
      --challenge-file secret.txt --fingerprint sha256:5a1f...
  SCEP_CHALLENGE=... scep enroll https://ca.example/scep --subject CN=www \\
      --san www.example.com --san 192.0.2.1 --eku server_auth,client_auth \\
      --out /etc/www

\b
Exit status:
  0  the certificate is in DIR     2  wrong usage, or a file cannot be used
  1  refused, or it failed         3  waiting for approval: run it again
"""

_Subject = Annotated[
    str,
    option(
        WANTED,
        "DN",
        "Subject of the certificate, such as CN=dev1,O=Example (RFC 4514). In a value, put a "
        'backslash before , + " and #. {hostname}, {fqdn} and {serial} stand for facts of this '
        "machine.",
    ),
]

_Out = Annotated[
    Path,
    option(WANTED, "DIR", "Directory for key.pem, cert.pem, chain.pem, ca.pem and enrolment.json."),
]

_San = Annotated[
    list[str] | None,
    option(
        WANTED,
        "NAME",
        "Subject alternative name: dns:, ip:, email:, uri:, upn: or dirname: and the name. Without "
        "the prefix the kind is guessed. {hostname}, {fqdn} and {serial} as in the subject. "
        "Repeatable.",
    ),
]

_Key = Annotated[
    str,
    option(
        WANTED,
        "KIND",
        f"{KEYS}. EC and Ed25519 keys need a challenge, and a CA that accepts them.",
        show_default=True,
    ),
]

_Force = Annotated[
    bool,
    flag(
        WANTED,
        "Replace the certificate that DIR already holds, once the new one has arrived.",
        "--force",
    ),
]

_Insecure = Annotated[
    bool,
    flag(
        TRUST,
        "Trust any CA certificate that the server sends. Without --fingerprint, --ca and "
        "--insecure, scep shows the fingerprint on the terminal and asks.",
        "--insecure",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    # `enrol`, as the RFC spells it, is taken too.
    for name, hidden in (("enroll", False), ("enrol", True)):
        app.command(
            name,
            cls=Command,
            short_help="Get a certificate for a new key.",
            epilog=_EPILOG,
            hidden=hidden,
        )(enroll)


def enroll(
    url: options.Url,
    *,
    subject: _Subject,
    out: _Out,
    san: _San = None,
    eku: options.Eku = None,
    challenge: options.Challenge = None,
    challenge_file: options.ChallengeFile = None,
    challenge_command: options.ChallengeCommand = None,
    challenge_prompt: options.ChallengePrompt = False,
    key: _Key = "rsa:2048",
    force: _Force = False,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    insecure: _Insecure = False,
    legacy: options.LegacyList = "",
    poll_interval: options.PollInterval = 60,
    max_wait: options.MaxWait = 86400,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Get a certificate: make a key, send the request, check the answer, write the files.

    After an interruption, or to poll again for approval, run the same command again: it continues
    the same request.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, events, hints
    from scepkit.client import host_facts
    from scepkit.client.enroller import Enroller
    from scepkit.client.folder import Folder
    from scepkit.protocol.general_name import parse_san
    from scepkit.protocol.rfc4514 import parse_subject

    # What can be wrong with the options is said before anything happens.
    name = parse_subject(host_facts.fill_subject(subject))
    names = [parse_san(host_facts.fill_name(one)) for one in san or ()]
    asked = options.read_purposes(eku or ())
    anchor = connection.AnchorOptions(fingerprint, ca_file, insecure=insecure)
    way = connection.of_options(timeout, proxy, poll_interval, max_wait)
    client = connection.client(url, way, ca_id=ca_id, tls_ca=tls_ca, legacy=legacy)
    folder, printer = Folder(out), events.EventPrinter()
    enroller = Enroller(client, folder, anchor.choose, tls_ca=tls_ca, tell=printer)
    places = (challenge, challenge_file, challenge_command)
    secret = partial(challenges.read, *places, prompt=challenge_prompt)
    with hints.naming_commands(folder, printer):
        issued = enroller.enrol(
            name, names=names, purposes=asked, key=key, challenge=secret, force=force
        )
    events.report_issued(issued, folder, as_json=as_json)
