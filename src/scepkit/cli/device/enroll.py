"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from functools import partial

import typer

from scepkit.cli import options
from scepkit.cli.device import enroll_options as its
from scepkit.cli.help import Command

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
    subject: its.Subject,
    out: its.Out,
    san: its.San = None,
    eku: options.Eku = None,
    challenge: options.Challenge = None,
    challenge_file: options.ChallengeFile = None,
    key: its.Key = "rsa:2048",
    force: its.Force = False,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    insecure: its.Insecure = False,
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
    from scepkit.cli.device import connection, report, trust
    from scepkit.cli.device import enroll_steps as steps
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record
    from scepkit.protocol.extensions import purpose_name

    # What can be wrong with the options is said before anything happens.
    wanted = steps.read(subject, san or (), eku or (), key, force=force)
    whom = trust.Whom(fingerprint, ca_file, insecure=insecure)
    limits = connection.limits(poll_interval, max_wait)
    client = connection.client(
        url, ca_id=ca_id, tls_ca=tls_ca, timeout=timeout, proxy=proxy, legacy=legacy, limits=limits
    )
    record = Record(
        url=client.url,
        ca_id=ca_id,
        legacy=options.recorded_legacy(legacy),
        key=key,
        purposes=tuple(map(purpose_name, wanted.purposes)),
        tls_ca=options.recorded_path(tls_ca),
    )
    folder = Folder(out)
    secret = partial(challenges.read, challenge, challenge_file)
    issued = steps.enrol(client, whom, wanted, secret, record, folder)
    report.issued(issued, folder, as_json=as_json)
