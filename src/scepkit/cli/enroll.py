"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from scepkit.cli import enroll_options as wanted
from scepkit.cli import options, terminal
from scepkit.cli.help import Command
from scepkit.errors import RequestRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder
    from scepkit.client.orders import Order
    from scepkit.protocol.transaction import Issued

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
    challenge: wanted.Challenge = None,
    challenge_file: wanted.ChallengeFile = None,
    key: wanted.Key = "rsa:2048",
    force: wanted.Force = False,
    fingerprint: options.Fingerprint = "",
    insecure: wanted.Insecure = False,
    legacy: wanted.LegacyList = "",
    poll_interval: wanted.PollInterval = 60,
    max_wait: wanted.MaxWait = 86400,
    ca_id: options.CaId = "",
    tls_ca: options.TlsCa = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Get a certificate: make a key, ask the CA, check the answer, write the files.

    Run again after it was interrupted or had to wait, it continues the same request.
    """
    from scepkit.cli import challenge as challenges
    from scepkit.cli import connection, trust
    from scepkit.client import keys, orders
    from scepkit.client.folder import Folder
    from scepkit.protocol.names import parse_san, parse_subject
    from scepkit.protocol.transaction import Limits

    # What can be wrong with the options is said before anything happens.
    name, names = parse_subject(subject), [parse_san(text) for text in san or ()]
    keys.check_spec(key)
    trust.check_options(fingerprint, insecure=insecure)
    options.check_seconds("--poll-interval", poll_interval)
    options.check_seconds("--max-wait", max_wait)
    client = connection.client(
        url,
        ca_id=ca_id,
        tls_ca=tls_ca,
        timeout=timeout,
        allowed=options.read_legacy(legacy),
        limits=Limits(poll_interval=poll_interval, max_wait=max_wait),
    )
    folder = Folder(out)
    _check_folder(folder, force=force)
    password = challenges.read(challenge, challenge_file)

    information = client.ask()
    ca = client.trust(information, trust.choose(information, fingerprint, insecure=insecure))
    _warn_of_legacy(ca)
    order = orders.make(
        _key(folder, key), name, names=names, challenge=password, now=datetime.now(UTC)
    )
    issued = _submit(client, ca, order, folder)
    folder.install(issued)
    _report(issued, folder, as_json=as_json)


def _check_folder(folder: Folder, *, force: bool) -> None:
    if folder.recover():
        terminal.say(f"finished the installation in {folder.path} that was interrupted")
    if not force:
        folder.check_free(datetime.now(UTC))


def _warn_of_legacy(ca: CA) -> None:
    for algorithm in (ca.choice.digest, ca.choice.cipher):
        if algorithm.legacy is not None:
            terminal.warn(f"using {algorithm.name}, since the CA offers nothing better")


def _key(folder: Folder, kind: str) -> RSAPrivateKey:
    """Return the key of the request that was begun in a directory, or a new one."""
    from scepkit.client import keys

    begun = folder.unfinished_key()
    if begun is not None and keys.fits(begun, kind):
        terminal.say(f"continuing the request of {folder.unfinished}; delete it to start anew")
        return begun
    new = keys.generate_key(kind)
    folder.begin(new)
    return new


def _submit(client: Client, ca: CA, order: Order, folder: Folder) -> Issued:
    try:
        return client.submit(ca, order)
    except RequestRefused:
        folder.give_up()
        raise
    except BaseException:
        # The CA may issue the certificate yet, or have issued it already.
        terminal.say(f"the key stays in {folder.unfinished}: the same command asks again")
        raise


def _report(issued: Issued, folder: Folder, *, as_json: bool) -> None:
    from scepkit.cli import describe

    certificate, files = issued.certificate, folder.files()
    if as_json:
        terminal.json_data(
            {
                **describe.summary(certificate),
                "transaction_id": str(issued.transaction_id),
                "files": {name: str(path) for name, path in files.items()},
            }
        )
        return
    terminal.say(f"got the certificate of {describe.subject(certificate)}")
    terminal.fields(
        [
            ("serial", f"{certificate.serial_number:x}"),
            ("valid", describe.validity(certificate)),
            ("fingerprint", describe.fingerprint(certificate)),
            ("files", ", ".join(str(path) for path in files.values())),
        ]
    )
