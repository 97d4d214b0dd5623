"""`scep admin challenge void`: take one-time challenges back before anybody spends them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    EndpointOption,
    JsonLinesOption,
    ReasonOption,
    YesOption,
    records_opened,
    who,
)
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from scepkit.operations.challenges import Voided
    from scepkit.store import Challenge, Store

# As many are told one by one, if not as JSON; of more only how many they were.
_FEW = 20
_NUMBER = re.compile(r"[0-9]{1,9}")
_CHANGED = 1


Ids: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID", show_default=False, help="Numbers from scep admin challenge list."
    ),
]
Subject: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="DN",
        help="All unspent challenges for exactly this subject.",
        show_default=False,
    ),
]
Label: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="All unspent challenges with exactly this label.",
        show_default=False,
    ),
]


def register(group: typer.Typer) -> None:
    """Add the command of this file."""
    group.command(
        "void",
        cls=Command,
        short_help="Make one-time challenges void.",
        epilog=examples(
            "scep admin challenge void 17 18",
            "scep admin challenge void --label order-17 --yes",
            "scep admin challenge void --all --endpoint wifi",
        ),
    )(void)


def void(
    ids: Ids = None,
    *,
    subject: Subject = None,
    label: Label = None,
    every: Annotated[
        bool, typer.Option("--all", help="All unspent challenges of --endpoint.")
    ] = False,
    endpoint: EndpointOption = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make one-time challenges void: no device gets a certificate for them any more.

    A device that tries one gets the same answer as for any wrong challenge; the log shows who
    voided it and when. A waiting request with a void challenge can only be rejected. A spent
    challenge stays spent: revoke its certificate. For several challenges the command asks first.
    """
    with records_opened(directory) as (home, store):
        from scepkit.operations import challenges
        from scepkit.server.directory.data_directory import endpoint_settings, utc_now

        if endpoint is not None:
            endpoint_settings(home.settings, endpoint)
        chosen = _chosen(store, ids or [], subject, label, endpoint, every=every)
        unspent = [one for one in chosen if one.spent_at is None and one.voided_at is None]
        # What is named alone is meant.
        terminal.ask_before(
            f"{_challenges(len(unspent))} would be voided",
            lambda: terminal.say_first([_named(one) for one in unspent], _FEW),
            f"Void {_challenges(len(unspent))}?",
            look="look at them with scep admin challenge list",
            yes=yes or len(unspent) <= 1,
        )
        with terminal.bar("voiding", len(unspent), shown=len(unspent) > _FEW) as advance:
            result = challenges.void(
                store, unspent, by=who(), now=utc_now(), reason=reason, advance=advance
            )
        is_whole = _tell(store, chosen, result, as_json=as_json)
    if not is_whole:
        raise typer.Exit(_CHANGED)


def _chosen(
    store: Store,
    ids: Sequence[str],
    subject: str | None,
    label: str | None,
    endpoint: str | None,
    *,
    every: bool,
) -> list[Challenge]:
    from scepkit.operations import challenges

    if sum((bool(ids), subject is not None, label is not None, every)) != 1:
        raise UsageError(
            "name the challenges in exactly one way", hint="by ID…, --subject, --label or --all"
        )
    if ids:
        return challenges.numbered(store, map(_number, ids))
    if every:
        if endpoint is None:
            raise UsageError("--all needs --endpoint", hint="name the endpoint of the challenges")
        return [*store.challenges(endpoint=endpoint, is_open=True)]
    if subject is not None:
        found = challenges.for_subject(store, subject, endpoint)
        what = f"for {subject}"
    else:
        found = [*store.challenges(endpoint=endpoint, label=label, is_open=True)]
        what = f"with the label {label}"
    if not found:
        raise UsageError(
            f"no unspent challenge {what}",
            hint="give the whole text; scep admin challenge list shows the challenges",
        )
    return found


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise UsageError(
            f"{text!r} is not a challenge's number", hint="scep admin challenge list shows it"
        )
    return int(text)


def _tell(store: Store, chosen: Sequence[Challenge], result: Voided, *, as_json: bool) -> bool:
    """Say what became of each; return whether none of them was spent."""
    done, is_quiet, is_whole = set(result.ids), len(chosen) > _FEW, True
    for one in chosen:
        # What was late is as somebody else has just made it.
        now = (store.challenge(one.id) or one) if one.id in result.late else one
        is_spent = now.spent_serial is not None
        is_whole = is_whole and not is_spent
        if as_json:
            _print(now, is_new=one.id in done)
        elif now.spent_serial is not None:
            serial = show_serial(now.spent_serial)
            terminal.error(
                f"challenge {one.id} was spent before, {now.spent_at:%Y-%m-%d %H:%M} UTC",
                hint=f"scep admin revoke {serial} revokes its certificate",
            )
        elif not is_quiet:
            terminal.say(
                f"voided {_named(one)}"
                if one.id in done
                else f"challenge {one.id} was voided before, by {now.voided_by}"
            )
    if is_quiet or not chosen:
        terminal.say(f"voided {_challenges(len(done))}")
    return is_whole


def _print(one: Challenge, *, is_new: bool) -> None:
    values = {
        "id": str(one.id),
        "endpoint": one.endpoint,
        "subject": one.subject or "",
        "label": one.label or "",
        "result": "void" if is_new else "unchanged",
    }
    terminal.data(json.dumps(values))


def _named(one: Challenge) -> str:
    subject = f", {one.subject}" if one.subject else ""
    return f"challenge {one.id}{subject}"


def _challenges(count: int) -> str:
    return "1 challenge" if count == 1 else f"{count} challenges"
