"""`scep admin renew-early`: have certificates renewed before their usual time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.admin.revocation.revoke import Yes
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    ReasonOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.server.directory.data_directory import Home
    from scepkit.store import Called, EarlyRenewal

_COLUMNS = ("id", "certificates", "called", "until", "by", "reason")
_SHOWN = 16  # digits of a CA's key

group = typer.Typer(
    name="renew-early",
    cls=Group,
    short_help="Have certificates renewed before their usual time.",
    epilog=examples(
        "scep admin renew-early --all --within 7d --dry-run",
        "scep admin renew-early --issuer 5a1f0c2e --within 30d --reason 'weak RA key'",
        "scep admin renew-early --subject CN=dev1,O=Example --within 1d",
        "scep admin renew-early list",
        "scep admin renew-early cancel 3",
    ),
    invoke_without_command=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.callback()
def renew_early(
    context: typer.Context,
    *,
    subject: Annotated[
        str | None, options.option(None, "DN", "All with exactly this subject.")
    ] = None,
    issuer: Annotated[
        str | None,
        options.option(
            None,
            "CA",
            "All of this CA: the first digits of the SHA-256 of its public key (issuer_key of scep "
            "admin show).",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All certificates.")] = False,
    within: Annotated[
        str | None,
        options.option(None, "TIME", "Time over which the renewals are spread: 12h, 7d, 30d."),
    ] = None,
    explanation: Annotated[
        str, options.option(None, "URL", "Page that says why, for the owners.", "--explanation")
    ] = "",
    reason: ReasonOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many there are, and call for nothing.")
    ] = False,
    yes: Yes = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Have certificates renewed before their usual time, spread evenly over --within.

    Devices that ask for renewal information are told a time in it (scep agent does, every few
    hours); others go on by their own schedule. It is for what was issued before the command. A
    certificate that was renewed since is left alone. These renewals are taken before the renewal
    window of a profile opens, too.
    """
    if context.invoked_subcommand is not None:
        _check_nothing_given(context, context.invoked_subcommand)
        return
    if sum((subject is not None, issuer is not None, every)) != 1:
        raise UsageError(
            "name the certificates in exactly one way", hint="by --subject, --issuer or --all"
        )
    if within is None:
        raise UsageError("--within is missing", hint="such as --within 7d")
    length = read_duration(within)
    with records_opened(directory) as (home, store):
        from scepkit.operations import early_renewal
        from scepkit.server.directory.data_directory import utc_now

        called = _called(home, subject, issuer)
        count = store.count_called(called, utc_now())
        if not count:
            raise UsageError(
                f"no valid certificate that was not renewed yet is meant: {_whom(called)}",
                hint="look at the list of certificates: scep admin list --state valid",
            )
        if dry_run:
            _tell(None, called, count, None, as_json=as_json)
            return
        terminal.ask_before(
            f"{_certificates(count)} would be renewed early",
            lambda: terminal.say(f"{_certificates(count)}: {_whom(called)}, within {within}"),
            f"Have {_certificates(count)} renewed within {within}?",
            look="look at the number with --dry-run",
            yes=yes,
        )
        if early_renewal.is_short(length):
            terminal.warn(
                "devices ask every hour to every six hours when to renew: some will be later",
                "give them a day or more",
            )
        made = early_renewal.call(
            store,
            called,
            within=length,
            by=who(),
            now=utc_now(),
            reason=reason,
            explanation=explanation,
        )
    _tell(made.number, called, count, made.until, as_json=as_json)


def _check_nothing_given(context: typer.Context, command: str) -> None:
    """Refuse options before a command: it would not know of them, and take another directory."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"an option stands before {command}",
                hint=f"options go after it: scep admin renew-early {command} --dir DIR",
            )


@group.command(
    "list",
    cls=Command,
    short_help="List the calls to renew early.",
    epilog=examples("scep admin renew-early list", "scep admin renew-early list --json"),
)
def listing(
    *,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List the calls to renew early, those of a rollover among them, oldest first."""
    with records_opened(directory) as (_, store):
        found = store.early_renewals()
    if as_json:
        terminal.json_lines(_fields(one) for one in found)
        return
    if not found:
        terminal.say("no certificates are to be renewed early")
        return
    rows = [
        {
            "id": str(one.id),
            "certificates": _of(one.subject, one.issuer),
            "called": table.minute(one.called_at),
            "until": table.minute(one.until),
            "by": one.by,
            "reason": one.reason,
        }
        for one in found
    ]
    table.write(rows, _COLUMNS, below=("reason", "certificates"))


@group.command(
    cls=Command,
    short_help="Cancel a call to renew early.",
    epilog=examples("scep admin renew-early cancel 3"),
)
def cancel(
    number: Annotated[
        int, typer.Argument(metavar="ID", help="The number in the list.", show_default=False)
    ],
    *,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Cancel a call to renew early; what was renewed by then stays renewed."""
    with records_opened(directory) as (_, store):
        from scepkit.operations import early_renewal
        from scepkit.server.directory.data_directory import utc_now

        found = early_renewal.cancel(store, number, by=who(), now=utc_now(), reason=reason)
    if as_json:
        terminal.json_data({**_fields(found), "result": "cancelled"})
    else:
        terminal.say(f"cancelled {found.id}: {_of(found.subject, found.issuer)}")


def _called(home: Home, subject: str | None, issuer: str | None) -> Called:
    from scepkit.operations import ca_listing, early_renewal
    from scepkit.protocol.rfc4514 import parse_subject
    from scepkit.store import Called

    if subject is not None:
        return early_renewal.of_subject(parse_subject(subject))
    if issuer is None:
        return Called()
    names = home.settings.authorities
    directories = {name: home.settings.authority_directory(name) for name in names}
    found = ca_listing.generations(directories)
    return early_renewal.of_issuer(issuer, [one.certificate for one in found])


def _tell(
    number: int | None, called: Called, count: int, until: datetime | None, *, as_json: bool
) -> None:
    """Report a call, or what it would be."""
    if as_json:
        terminal.json_data(
            {
                "id": "" if number is None else str(number),
                "subject": called.subject or "",
                "issuer_key": called.issuer.hex() if called.issuer else "",
                "certificates": count,
                "until": timestamp(until),
                "result": "would be called" if number is None else "called",
            }
        )
    elif number is None:
        terminal.say(f"would have {_certificates(count)} renewed early: {_whom(called)}")
    else:
        terminal.say(
            f"{_certificates(count)} will be renewed by {until:%Y-%m-%d %H:%M} UTC: {_whom(called)}"
        )
        terminal.say(f"scep admin renew-early cancel {number} takes that back")


def _fields(one: EarlyRenewal) -> dict[str, str]:
    return {
        "id": str(one.id),
        "subject": one.subject or "",
        "issuer_key": one.issuer.hex() if one.issuer else "",
        "called": timestamp(one.called_at),
        "until": timestamp(one.until),
        "by": one.by,
        "reason": one.reason,
        "explanation": one.explanation,
    }


def _whom(called: Called) -> str:
    return _of(called.subject, called.issuer)


def _of(subject: str | None, issuer: bytes | None) -> str:
    if subject is not None:
        return subject
    return "all" if issuer is None else f"all of the CA {issuer.hex()[:_SHOWN]}"


def _certificates(count: int) -> str:
    return "1 certificate" if count == 1 else f"{count} certificates"
