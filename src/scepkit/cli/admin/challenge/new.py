"""`scep admin challenge new`: make one-time challenges, alike or each for a row of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    ReasonOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.errors import SettingsError, UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.enrolment.challenges.batch import Batch, Defaults
    from scepkit.enrolment.challenges.orders import MintedChallenge

_MAX = 100_000
_LINES = 1000  # written at once
# Reading a row takes a fraction of a millisecond.
_WORTH_A_BAR = 1000
_EXAMPLES = examples(
    "scep admin challenge new",
    "scep admin challenge new --subject CN=dev1,O=Example --san dns:dev1.example",
    "scep admin challenge new --count 50 --expires 7d > challenges.txt",
    "scep admin challenge new --uses 200 --expires 7d --label classroom",
    "scep admin challenge new --batch devices.csv --label order-17 > minted.csv",
)


Endpoint: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="Endpoint of the challenges.")
]
Count: TypeAlias = Annotated[
    int, typer.Option(min=1, max=_MAX, metavar="N", help="Number of challenges.")
]
Subject: TypeAlias = Annotated[
    str | None, typer.Option(help="Bind the challenges to this subject.", metavar="DN")
]
Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Subject alternative name allowed beside --subject: dns:, ip:, … Repeatable.",
    ),
]
Expires: TypeAlias = Annotated[
    str,
    typer.Option(metavar="DURATION", help="Lifetime of the challenges: 30m, 1h, 7d, …"),
]
Label: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Label for challenge list, challenge void and the log."),
]
Uses: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1, max=_MAX, metavar="N", help="Number of certificates that each challenge is good for."
    ),
]
Data: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Data that the profile of the endpoint puts into the certificate. Repeatable.",
    ),
]
File: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Make one challenge for each row of this file, CSV with a header or JSON lines: "
        "subject, sans, expires, label, uses, data. - is stdin.",
    ),
]


def register(group: typer.Typer) -> None:
    """Add the command of this file."""
    group.command("new", cls=Command, epilog=_EXAMPLES)(new)


def new(
    *,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    endpoint: Endpoint = "default",
    count: Count = 1,
    subject: Subject = None,
    san: Names = None,
    expires: Expires = "1h",
    label: Label = None,
    uses: Uses = 1,
    data: Data = None,
    reason: ReasonOption = "",
    batch: File = None,
    as_json: JsonLinesOption = False,
) -> None:
    """Make one-time challenges and print them, one a line.

    A challenge is good for one certificate, or for as many as --uses says. A device that lost the
    answer and asks again costs no use. A challenge is printed once; the server stores a keyed
    digest. With --subject it is good for that subject and the names of --san only. With --batch
    the rows are printed in the form of the file, with challenge and id added. If a row is wrong,
    no challenge is made.
    """
    lifetime = read_duration(expires)
    if san and subject is None:
        raise UsageError("--san needs --subject", hint="name the subject of these names")
    if batch is not None and (subject is not None or san or count != 1):
        raise UsageError(
            "--batch excludes --subject, --san and --count",
            hint="put them into the rows of the file",
        )
    with records_opened(directory) as (home, store):
        from scepkit.enrolment.challenges.batch import Defaults
        from scepkit.enrolment.challenges.orders import ChallengeOrder, read_label
        from scepkit.operations.challenges import mint
        from scepkit.server.directory.data_directory import challenges_of, replacing, utc_now
        from scepkit.store import Door

        challenges = challenges_of(home, store, endpoint)
        label = None if label is None else read_label(label)
        needs_subject = replacing(home.settings, endpoint)
        alike = ChallengeOrder.of(
            lifetime, subject=subject, sans=san or (), label=label, data=data or (), uses=uses
        )
        usual = Defaults(lifetime, label, read_duration, alike.data, uses, needs_subject)
        rows = None if batch is None else _read(batch, usual)
        if rows is None and subject is None and needs_subject:
            raise UsageError(needs_subject, hint="say --subject, and --san for further names")
        orders = [alike] * count if rows is None else rows.orders
        minted = mint(
            challenges, orders, door=Door.COMMAND_LINE, by=who(), now=utc_now(), reason=reason
        )
    with _kept_from_loss(minted):
        _print(_lines(rows, minted, as_json=as_json))
    what = "challenge" if len(minted) == 1 else f"{len(minted)} challenges"
    length = "" if rows is not None else f" for {expires}"
    if rows is None and uses > 1:
        length += f", good for {uses} certificates" + (" each" if count > 1 else "")
    where = "" if endpoint == "default" else f" at the endpoint {endpoint}"
    terminal.say(f"{what}{length}{where}" + (f", for {subject} only" if subject else ""))


def _read(path: Path, defaults: Defaults) -> Batch:
    """Read a batch, and show how far that is.

    Raises:
        UsageError: the file cannot be read, or something in it cannot be used.
    """
    from scepkit.enrolment.challenges import batch as challenge_batch

    content = input_file.read(path, challenge_batch.MAX_OCTETS)
    total = content.count(b"\n")
    name = "stdin" if str(path) == "-" else str(path)
    try:
        with terminal.bar("checking", total, shown=total >= _WORTH_A_BAR) as advance:
            return challenge_batch.read(content, defaults, advance)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error


def _lines(
    rows: Batch | None, minted: Sequence[MintedChallenge], *, as_json: bool
) -> Iterator[str]:
    from scepkit.enrolment.challenges import batch as challenge_batch

    if rows is not None:
        yield from challenge_batch.lines(rows, minted, as_json=as_json)
        return
    for one in minted:
        yield json.dumps(_facts(one)) if as_json else one.secret


def _facts(one: MintedChallenge) -> dict[str, object]:
    return {
        "id": str(one.id),
        "challenge": one.secret,
        "endpoint": one.endpoint,
        "subject": one.order.subject or "",
        "sans": [*one.order.sans],
        "label": one.order.label or "",
        "uses": one.order.uses,
        "data": dict(one.order.data),
        "expires": timestamp(one.expires_at),
    }


def _print(lines: Iterable[str]) -> None:
    rest = iter(lines)
    while several := [*islice(rest, _LINES)]:
        terminal.data("\n".join(several))


@contextmanager
def _kept_from_loss(minted: Sequence[MintedChallenge]) -> Iterator[None]:
    """Give a hint for challenges that are stored and could not be written out.

    Raises:
        SettingsError: they could not.
    """
    try:
        yield
    except OSError as error:
        numbers = str(minted[0].id) if len(minted) == 1 else f"{minted[0].id} to {minted[-1].id}"
        raise SettingsError(
            f"cannot write the challenges: {error.strerror}",
            hint=f"they are stored with the numbers {numbers}; take them back with "
            "scep admin challenge void, and make others",
        ) from error
