"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scepkit.cli import options
from scepkit.cli.device import request_options as asks
from scepkit.cli.help import Command
from scepkit.cli.option_groups import (
    ChallengeOptions,
    ConnectionOptions,
    PollingOptions,
    TrustOptions,
    grouped,
)
from scepkit.cli.options import WANTED, flag, option
from scepkit.errors import BadAlg, BadRequest, Malformed, UsageError

if TYPE_CHECKING:
    from scepkit.client.folder import Folder
    from scepkit.client.secret_source import Ask
    from scepkit.protocol.algorithms import Legacy

_EPILOG = """
\b
Examples:
  scep enroll http://ca.example/scep --subject CN=dev1,O=Example --out dev1 \\
      --challenge-file secret.txt --fingerprint sha256:5a1f...
  SCEP_CHALLENGE=... scep enroll https://ca.example/scep --subject CN=www \\
      --san www.example.com --san 192.0.2.1 --eku server_auth,client_auth \\
      --out /etc/www
  scep enroll https://ca.example/scep --csr dev1.csr --key-file dev1.key \\
      --out dev1 --pkcs12 dev1.p12 --pkcs12-password file:p12.txt --dry-run

\b
Exit status:
  0  the certificate is in DIR     2  wrong usage, or a file cannot be used
  1  refused, or it failed         3  waiting for approval: run it again
"""

_LONGEST_CSR = 1024 * 1024  # octets

_Out = Annotated[
    Path,
    option(WANTED, "DIR", "Directory for key.pem, cert.pem, chain.pem, ca.pem and enrolment.json."),
]

_Force = Annotated[
    bool,
    flag(
        WANTED,
        "Replace the certificate that DIR already holds, once the new one has arrived.",
        "--force",
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
        )(grouped(enroll))


def enroll(
    url: options.Url,
    *,
    out: _Out,
    subject: asks.Subject = None,
    san: asks.San = None,
    eku: options.Eku = None,
    template: asks.Template = "",
    csr: asks.Csr = None,
    challenge: ChallengeOptions,
    force: _Force = False,
    key: asks.KeyOptions,
    files: asks.FileOptions,
    trust: TrustOptions,
    polling: PollingOptions,
    ca_id: options.CaId = "",
    network: ConnectionOptions,
    dry_run: asks.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Get a certificate: make a key, send the request, check the answer, write the files.

    After an interruption, or to poll again for approval, run the same command again: it continues
    the same request.
    """
    from scepkit.cli.device import challenge as challenges
    from scepkit.cli.device import connection, events, hints
    from scepkit.cli.device import dry_run as rehearsal
    from scepkit.client.enroller import Enroller
    from scepkit.client.folder import Folder
    from scepkit.client.secret_source import Secrets

    # What can be wrong with the options is said before anything happens.
    asked = _read(subject, san, eku, template, csr, options.read_legacy(trust.legacy))
    anchor = connection.AnchorOptions(trust.fingerprint, trust.ca_file, insecure=trust.insecure)
    outputs = files.read()
    secrets = Secrets(_asking(Folder(out), key.key_file))
    way = connection.of_options(network, polling, secrets)
    client = connection.client(url, way, network, ca_id=ca_id, legacy=trust.legacy)
    used, passphrase = asks.read_key(key, secrets)
    folder, printer = Folder(out, secrets, passphrase), events.EventPrinter()
    enroller = Enroller(
        client,
        folder,
        anchor.choose,
        tls_ca=network.tls_ca,
        client_certificate=connection.client_certificate(network, secrets),
        outputs=outputs,
        tell=printer,
    )
    secret = partial(challenges.of_options, challenge, environment=csr is None)
    with hints.naming_commands(folder, printer):
        if dry_run:
            plan = enroller.plan(**asked, key=used, challenge=secret, force=force)
            rehearsal.report(plan, as_json=as_json)
            return
        issued = enroller.enrol(**asked, key=used, challenge=secret, force=force)
    events.report_issued(issued, folder, as_json=as_json)


def _read(
    subject: str | None,
    san: Iterable[str] | None,
    eku: Iterable[str] | None,
    template: str,
    csr: Path | None,
    allowed: frozenset[Legacy],
) -> dict[str, Any]:
    """Return what is asked for, as `Enroller.enrol` takes it.

    Raises:
        UsageError: it cannot be asked for.
        SettingsError: a file cannot be read, or a fact of the machine is not known.
    """
    from scepkit.client import host_facts
    from scepkit.protocol.general_name import parse_san
    from scepkit.protocol.rfc4514 import parse_subject

    if csr is None and subject is None:
        raise UsageError(
            "there is nothing to ask for: neither --subject nor --csr",
            hint="scep enroll --help shows the usage",
        )
    return {
        "subject": None if subject is None else parse_subject(host_facts.fill_subject(subject)),
        "names": [parse_san(host_facts.fill_name(one)) for one in san or ()],
        "purposes": options.read_purposes(eku or ()),
        "template": template,
        "csr": None if csr is None else _request(csr, allowed),
    }


def _request(path: Path, allowed: frozenset[Legacy]) -> bytes:
    """Return the PKCS#10 of a file.

    Raises:
        UsageError: it holds none that can be sent.
        SettingsError: it cannot be read.
    """
    from scepkit.keys.files import read_some, refusals
    from scepkit.protocol import csr
    from scepkit.protocol.asn1 import textual

    with refusals(f"cannot read {path}"):
        content = read_some(path, _LONGEST_CSR)
    try:
        csr.read(textual.request(content), allowed)
    except (Malformed, BadRequest, BadAlg) as error:
        raise options.no_request(path, content, error) from error
    return content


def _asking(folder: Folder, key_file: Path | None) -> Ask:
    """Return what asks for a secret on the terminal: for a new one twice."""
    from scepkit.cli.device import challenge as challenges
    from scepkit.client.folder.outputs import PKCS12_PASSWORD
    from scepkit.client.secret_source import KEY_PASSPHRASE

    is_new = key_file is None and not folder.unfinished.exists()
    fresh = {PKCS12_PASSWORD, *([KEY_PASSPHRASE] if is_new else [])}
    return lambda what: challenges.ask(what, twice=what in fresh)
