"""`scep admin audit`: the record of what was done, to read, to put aside, and to check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    EndpointOption,
    JsonLinesOption,
    LimitOption,
    records_opened,
)
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError
from scepkit.keys.files import plain_file

if TYPE_CHECKING:
    from scepkit.operations.audit import AuditCheck, Finding
    from scepkit.store import AuditRecord, Store

group = typer.Typer(
    name="audit",
    cls=Group,
    help="The audit record: list, export, verify.",
    epilog=examples(
        "scep admin audit list --actor alice",
        "scep admin audit export > audit.jsonl",
        "scep admin audit verify --export audit.jsonl",
    ),
    no_args_is_help=True,
)

_COLUMNS = (
    *("record", "at", "actor", "action", "serial", "issuer", "transaction_id", "subject"),
    "reason",
)
_BELOW = ("reason", "subject", "transaction_id", "serial", "issuer")
_ISSUER_SHOWN = 8  # digits of a CA, as other commands take them behind SERIAL@
_PLACE = re.compile(r"(?P<node>\S+):(?P<number>[0-9]{1,18})")
_SECONDS = len("2026-11-28T14:30:00")
# Some ten thousand records are checked in a second.
_WORTH_A_BAR = 10_000


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.command(
        "list",
        cls=Command,
        short_help="List audit records.",
        epilog=examples(
            "scep admin audit list --since 2026-11-01 --action revoked",
            "scep admin audit list --serial 5a1f... --json",
        ),
    )(listing)
    group.command(
        cls=Command,
        short_help="Print audit records to put aside.",
        epilog=examples(
            "scep admin audit export > audit.jsonl",
            "scep admin audit export --since host/1:4711",
            "scep admin audit export --heads",
        ),
    )(export)
    group.command(
        cls=Command,
        short_help="Check the audit record.",
        epilog=examples(
            "scep admin audit verify",
            "scep admin audit verify --export audit.jsonl",
            "scep admin audit verify --export audit.jsonl --alone",
        ),
    )(verify)
    app.add_typer(group)


def listing(
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only from then on: 2026-11-28 or 2026-11-28T14:30."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before then.")] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only by this operator, address or server.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Only this action: issued, revoked, …")
    ] = None,
    serial: Annotated[
        str | None,
        typer.Option(metavar="SERIAL", help="Only the certificate with this number, or SERIAL@CA."),
    ] = None,
    transaction: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this transactionID.")
    ] = None,
    endpoint: EndpointOption = None,
    limit: LimitOption = 0,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List what was done, newest first: when, by whom, what, of what, and why.

    An operator is named as the record of revocations names them; where a device asked, the actor is
    its address. With --json every record has all its members, as in an export.
    """
    with records_opened(directory) as (_, store):
        from scepkit.operations import audit

        found = audit.select(
            store,
            since=options.read_time(since),
            until=options.read_time(until),
            actor=actor,
            action=_action(action),
            transaction_id=transaction,
            endpoint=endpoint,
            limit=limit or None,
            **_certificate(serial),
        )
        if as_json:
            for record in found:
                terminal.data(record.line())
        elif not table.write(map(_row, found), _COLUMNS, _BELOW):
            terminal.say("nothing found")


def export(
    *,
    since: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE:NUMBER",
            help="Only what follows this record in its chain. Repeatable, for other chains.",
            show_default=False,
        ),
    ] = None,
    heads: Annotated[
        bool,
        typer.Option(
            "--heads", help="Only the last record of each chain: its hash stands for all before it."
        ),
    ] = False,
    as_json: JsonLinesOption = False,  # noqa: ARG001 - the output is JSON anyway, errors with it
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Print audit records, oldest first, chain by chain: one JSON object a line.

    Put the output where those who can write the database cannot. A later verify --export finds what
    was changed or cut off since.
    """
    known = dict(map(_place, since or []))
    with records_opened(directory) as (_, store):
        from scepkit.operations import audit

        for record in audit.export(store, since=known, heads_only=heads):
            terminal.data(record.line())


def verify(
    *,
    exported: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Hold the database to this earlier export, too.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Check the export only, without a server's directory.")
    ] = False,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Check the audit record: is anything changed, missing, reordered or cut off?

    Each finding is a line on stdout, and the exit status is then 1. Records that are written in the
    meantime are left out.
    """
    if alone and exported is None:
        raise UsageError("--alone needs --export", hint="name the file to check")
    opened = nullcontext((None, None)) if alone else records_opened(directory)
    with opened as (_, store):
        from scepkit.operations.audit import AuditCheck

        total = 0 if store is None else sum(end for end, _ in store.audit_heads().values())
        with terminal.bar("checking", total, shown=total > _WORTH_A_BAR) as advance:
            check = AuditCheck(advance)
            count = sum(_tell(one, as_json=as_json) for one in _findings(check, store, exported))
    for node, (first, last) in check.chains.items():
        terminal.say(f"{node}: {first} to {last}" if last else f"{node}: nothing")
    if count:
        terminal.say(f"{count} finding{'s' * (count != 1)}")
        raise typer.Exit(1)
    terminal.say("the audit record is intact" if check.chains else "there is no audit record")


def _findings(check: AuditCheck, store: Store | None, exported: Path | None) -> Iterator[Finding]:
    """Yield what is wrong with a database, an export, and one held to the other."""
    if exported is not None:
        read = _reader(exported)
        for one in check.export(read):
            yield one._replace(text=f"{exported}: {one.text}")
    if store is not None:
        check.chains.clear()
        yield from check.database(store)
        if exported is not None:
            yield from check.against(store, read())


def _tell(one: Finding, *, as_json: bool) -> bool:
    """Print a finding; return True, to be counted."""
    if as_json:
        terminal.json_lines([one._asdict()])
    else:
        terminal.data(terminal.escape(f"{one.node}:{one.number}: {one.kind}: {one.text}"))
    return True


def _reader(path: Path) -> Callable[[], Iterable[AuditRecord]]:
    """Return the function that reads an export; it is read twice.

    Raises:
        UsageError: while it is read: a line is no record.
    """
    from scepkit.store import AuditRecord

    def read() -> Iterator[AuditRecord]:
        for number, line in enumerate(_lines(path), 1):
            try:
                yield AuditRecord.of_line(line)
            except UsageError as error:
                text = f"{path}: line {number} is no audit record"
                raise UsageError(text, hint=error.hint) from error

    return read


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that can be read twice, which a pipe cannot.

    Raises:
        UsageError: it is none, or cannot be read.
    """
    try:
        with plain_file(path) as file:
            for line in file:
                yield line.decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="name the file of an export"
        ) from error


def _row(record: AuditRecord) -> dict[str, str]:
    members: dict[str, Any] = {"record": f"{record.node}:{record.number}", **record.members}
    # As every other table of scep admin has times.
    members["at"] = f"{str(members.get('at'))[:_SECONDS]}+00:00"
    members["issuer"] = record.issuer[:_ISSUER_SHOWN]
    return {column: str(members.get(column, "")) for column in _COLUMNS}


def _action(text: str | None) -> str | None:
    """Return the name of an action.

    Raises:
        UsageError: there is no such action.
    """
    if text is None:
        return None
    from scepkit.store import AuditAction

    known = [one.value for one in AuditAction]
    if text not in known:
        raise UsageError(f"there is no action {text!r}", hint=f"one of {', '.join(known)}")
    return text


def _certificate(text: str | None) -> dict[str, str]:
    """Return how records name a certificate."""
    if text is None:
        return {}
    from scepkit.operations.selection import parse_named
    from scepkit.protocol.certificate import show_serial

    number, issuer = parse_named(text)
    return {"serial": show_serial(number), "issuer": issuer}


def _place(text: str) -> tuple[str, int]:
    """Return chain and number of a record.

    Raises:
        UsageError: it is none.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a record", hint="write it like host/1:4711, as audit list shows it"
        )
    return match["node"], int(match["number"])
