"""`scep admin challenge`: one-time challenges for devices, and a secret for all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from scepkit.cli import duration, terminal
from scepkit.cli.admin_home import DEFAULT_DIRECTORY, DirectoryOption, records_opened
from scepkit.cli.help import Command, Group, examples
from scepkit.enrolment import shared_secret
from scepkit.errors import UsageError

group = typer.Typer(
    name="challenge",
    cls=Group,
    help="One-time challenges for devices, and a secret for all of them.",
    epilog=examples("scep admin challenge new", "scep admin challenge secret"),
    no_args_is_help=True,
)

_MAX = 100_000
_NEW = examples(
    "scep admin challenge new",
    "scep admin challenge new --subject CN=dev1,O=Example --san dns:dev1.example",
    "scep admin challenge new --count 50 --expires 7d > challenges.txt",
)
_SECRET = examples("scep admin challenge secret", "scep admin challenge secret --bits 128")
# As many as a one-time challenge has.
_BITS = 160


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command("new", cls=Command, epilog=_NEW)
def new(
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    endpoint: Annotated[
        str, typer.Option(metavar="NAME", help="The endpoint that they are good for.")
    ] = "default",
    count: Annotated[int, typer.Option(min=1, max=_MAX, metavar="N", help="How many.")] = 1,
    subject: Annotated[
        str | None, typer.Option(help="The only subject that they are good for.", metavar="DN")
    ] = None,
    san: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A name that --subject may have besides: dns:, ip:, … Repeatable."
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="How long they can be used: 30m, 1h, 7d, …")] = "1h",
) -> None:
    """Make one-time challenges and print them, one a line.

    A challenge is shown once and stored as a keyed digest; it is good for one certificate.
    With --subject it is good for that subject only, and for no other names than those of --san.
    """
    lifetime = duration.read(expires)
    if san and subject is None:
        raise UsageError("--san needs --subject", hint="name the subject the names belong to")
    with records_opened(directory) as (home, store):
        from scepkit.server.assembly import challenges_of, utc_now

        made = challenges_of(home, store, endpoint).new(
            count=count, now=utc_now(), lifetime=lifetime, subject=subject, sans=san or ()
        )
    for secret in made:
        terminal.data(secret)
    what = "challenge" if count == 1 else f"{count} challenges"
    where = "" if endpoint == "default" else f" at the endpoint {endpoint}"
    terminal.say(f"{what} for {expires}{where}" + (f", for {subject} only" if subject else ""))


@group.command("secret", cls=Command, epilog=_SECRET)
def secret(
    bits: Annotated[
        int,
        typer.Option(
            min=shared_secret.LEAST_BITS,
            max=shared_secret.MOST_BITS,
            metavar="N",
            help="How many random bits it has.",
        ),
    ] = _BITS,
) -> None:
    """Make a secret that all devices of an endpoint share, and print it.

    It is stored nowhere: a file that challenge_file names keeps it, with challenge = "static".
    It has letters and digits that can be typed and do not look alike.
    """
    terminal.data(shared_secret.new(bits))
    if terminal.shows_data():
        terminal.say(
            'stored nowhere: write it into a file, and in scep.toml: challenge = "static", '
            'challenge_file = "FILE"'
        )
        terminal.say(
            "FILE is relative to the server's directory, belongs to the server's user, and has "
            "mode 0600"
        )
