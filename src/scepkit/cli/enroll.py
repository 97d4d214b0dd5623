"""`scep enroll`: get a first certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command
from scepkit.errors import RequestRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder
    from scepkit.client.orders import Order
    from scepkit.protocol.transaction import Issued

_WANTED = "What to ask for"
_WAITING = "Waiting for approval"

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
    subject: Annotated[
        str,
        typer.Option(
            metavar="DN",
            help="The subject, such as CN=dev1,O=Example (RFC 4514).",
            rich_help_panel=_WANTED,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Directory for key.pem, cert.pem, chain.pem and ca.pem.",
            rich_help_panel=_WANTED,
            show_default=False,
        ),
    ],
    san: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A subject alternative name: dns:, ip:, email: or uri: and the name; without the "
            "prefix the kind is guessed. May be repeated.",
            rich_help_panel=_WANTED,
            show_default=False,
        ),
    ] = None,
    challenge: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            help="The challenge (enrolment password); - reads it from stdin. Others on this "
            "machine can see it here; SCEP_CHALLENGE in the environment, --challenge-file "
            "and - keep it to yourself.",
            rich_help_panel=_WANTED,
            show_default=False,
        ),
    ] = None,
    challenge_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Read the challenge from the first line of this file.",
            rich_help_panel=_WANTED,
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="The key to make: rsa:2048, rsa:3072 or rsa:4096.",
            rich_help_panel=_WANTED,
        ),
    ] = "rsa:2048",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace a certificate that is in DIR already; only once the new one is here.",
            rich_help_panel=_WANTED,
        ),
    ] = False,
    fingerprint: options.Fingerprint = "",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Trust whichever CA the server shows. Without this and without --fingerprint "
            "you are asked, if there is a terminal.",
            rich_help_panel=options.TRUST,
        ),
    ] = False,
    legacy: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Allow algorithms that are broken or weak, for a CA that can do no better: "
            "sha1,des3,des,md5 or some of them.",
            rich_help_panel=options.TRUST,
            show_default=False,
        ),
    ] = "",
    poll_interval: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How often to ask again.", rich_help_panel=_WAITING),
    ] = 60,
    max_wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long to wait in all; 0 asks once.",
            rich_help_panel=_WAITING,
        ),
    ] = 86400,
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
