"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from scepkit.cli import enroll_options as wanted
from scepkit.cli import options, terminal
from scepkit.cli.help import Command

if TYPE_CHECKING:
    from scepkit.client.folder import Folder

_EPILOG = """
\b
Examples:
  scep enroll http://ca.example/scep --subject CN=dev1,O=Example --out dev1 \\
      --challenge-file secret.txt --fingerprint sha256:5a1f...
  SCEP_CHALLENGE=... scep enroll https://ca.example/scep --subject CN=www \\
      --san www.example.com --san 192.0.2.1 --out /etc/www

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
    subject: wanted.Subject,
    out: wanted.Out,
    san: wanted.San = None,
    challenge: options.Challenge = None,
    challenge_file: options.ChallengeFile = None,
    key: wanted.Key = "rsa:2048",
    force: wanted.Force = False,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    insecure: wanted.Insecure = False,
    legacy: options.LegacyList = "",
    poll_interval: options.PollInterval = 60,
    max_wait: options.MaxWait = 86400,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Get a certificate: make a key, ask the CA, check the answer, write the files.

    Run again after it was interrupted or had to wait, it continues the same request.
    """
    from scepkit.cli import challenge as challenges
    from scepkit.cli import connection, report, request, trust
    from scepkit.client import keys, orders
    from scepkit.client.folder import Folder
    from scepkit.client.record import Record
    from scepkit.protocol.names import parse_san, parse_subject

    # What can be wrong with the options is said before anything happens.
    name, names = parse_subject(subject), [parse_san(text) for text in san or ()]
    keys.check_spec(key)
    trust.check_options(fingerprint, insecure=insecure, ca_file=ca_file)
    allowed = options.read_legacy(legacy)
    client = connection.client(
        url,
        ca_id=ca_id,
        tls_ca=tls_ca,
        timeout=timeout,
        proxy=proxy,
        allowed=allowed,
        limits=connection.limits(poll_interval, max_wait),
    )
    folder = Folder(out)
    with ExitStack() as lock:
        made = not out.exists()
        if not made:
            lock.enter_context(folder.locked())
        _check_folder(folder, force=force)
        password = challenges.read(challenge, challenge_file)

        information = client.ask()
        before = folder.unfinished_record() or folder.record()
        ca = client.trust(
            information,
            trust.choose(information, fingerprint, insecure=insecure, ca_file=ca_file),
            before.seen(client.url, ca_id) if before else frozenset(),
        )
        trust.warn_of_weakness(ca)
        # Not before now: where there is nothing to ask for, nothing is made.
        if made:
            lock.enter_context(folder.locked())
        used = request.key(folder, key)
        request.warn_unless_readable(used, password)
        now = datetime.now(UTC)
        order = orders.make(used, name, names=names, challenge=password, now=now)
        record = Record(
            url=client.url,
            ca_id=ca_id,
            legacy=tuple(sorted(allowed)),
            key=key,
            tls_ca=str(tls_ca.absolute()) if tls_ca else "",
            capabilities=tuple(sorted(ca.capabilities)),
        )
        begun = folder.unfinished_record()
        folder.begin(used, record.requested(str(order.transaction_id), now, begun))
        issued = request.submit(lambda: client.submit(ca, order), folder)
        folder.install(issued)
    report.issued(issued, folder, as_json=as_json)


def _check_folder(folder: Folder, *, force: bool) -> None:
    if folder.recover():
        terminal.say(f"finished the installation in {folder.path} that was interrupted")
    if not force:
        folder.check_free(datetime.now(UTC))
