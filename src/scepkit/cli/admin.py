"""`scep admin …`: what an operator does with a server, on its machine, running or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.help import Command, Group
from scepkit.cli.serve import DEFAULT_DIRECTORY, DirectoryOption, require_server
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.server.directory import Home
    from scepkit.store import CertificateRow, Store

app = typer.Typer(
    cls=Group, help="Operate a server: challenges, and what was issued.", no_args_is_help=True
)
challenge = typer.Typer(cls=Group, help="One-time challenges for devices.", no_args_is_help=True)
app.add_typer(challenge, name="challenge")

_MAX_CHALLENGES = 100_000
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@challenge.command("new", cls=Command)
def new_challenge(
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    count: Annotated[
        int, typer.Option(min=1, max=_MAX_CHALLENGES, metavar="N", help="How many.")
    ] = 1,
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
    require_server()
    lifetime = parse_duration(expires)
    if san and subject is None:
        raise UsageError("--san needs --subject", hint="name the subject the names belong to")
    from scepkit.server.app import challenges_of, utc_now

    with _opened(directory) as (home, store):
        made = challenges_of(home, store).new(
            count=count, now=utc_now(), lifetime=lifetime, subject=subject, sans=san or ()
        )
    for secret in made:
        terminal.data(secret)
    what = "challenge" if count == 1 else f"{count} challenges"
    terminal.say(f"{what} for {expires}" + (f", for {subject} only" if subject else ""))


@app.command("list", cls=Command)
def list_certificates(
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the certificates that were issued, newest first."""
    require_server()
    with _opened(directory) as (_, store):
        terminal.rows(
            [_row(c) for c in store.certificates(limit=limit or None)],
            ("serial", "subject", "issued", "not_after", "status"),
            as_json=json,
            empty="no certificate was issued yet",
        )


def _row(certificate: CertificateRow) -> dict[str, str]:
    return {
        "serial": f"{certificate.serial:x}",
        "subject": certificate.subject,
        "issued": certificate.issued_at.isoformat(timespec="seconds"),
        "not_after": certificate.not_after.isoformat(timespec="seconds"),
        "status": "revoked" if certificate.revoked_at else "issued",
    }


@contextmanager
def _opened(directory: DirectoryOption) -> Iterator[tuple[Home, Store]]:
    from scepkit.server.app import utc_now
    from scepkit.server.directory import open_existing
    from scepkit.store import Store

    home = open_existing(directory, now=utc_now())
    with Store.open(home.settings.database_url) as store:
        yield home, store


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `1h`, `7d`, `2w` or several of them together.

    Raises:
        UsageError: it is none, or nothing.
    """
    parts = _DURATION.findall(text.strip().lower())
    total = sum((timedelta(**{_UNITS[unit]: int(n)}) for n, unit in parts), timedelta())
    if "".join(n + unit for n, unit in parts) != text.strip().lower() or not total:
        raise UsageError(f"{text!r} is not a duration", hint="write it like 30m, 1h or 7d")
    return total
