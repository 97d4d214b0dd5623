"""`scep admin devices`: the devices that an endpoint knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    EndpointOption,
    JsonLinesOption,
    JsonOption,
    LimitOption,
    ReasonOption,
    YesOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.store import Device, NewDevice, Store

group = typer.Typer(
    name="devices",
    cls=Group,
    help="The devices that an endpoint knows.",
    epilog=examples(
        "scep admin devices import devices.csv",
        "scep admin devices list",
        "scep admin devices remove 17 18",
    ),
    no_args_is_help=True,
)

_COLUMNS = ("id", "endpoint", "key", "serial_number", "mac", "hostname", "label", "added")
# Reading a row takes a fraction of a millisecond.
_WORTH_A_BAR = 2000
_FEW = 20  # devices named one by one
_LONGEST_NUMBER = 18  # digits

_OfEndpoint = Annotated[
    str, typer.Option("--endpoint", metavar="NAME", help="Endpoint that the list is of.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command(
    "import",
    cls=Command,
    short_help="Put devices on the list of an endpoint.",
    epilog=examples(
        "scep admin devices import devices.csv",
        "scep admin devices import devices.csv --endpoint wifi --reason 'delivery 17'",
        "scep admin devices import inventory.csv --replace",
    ),
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header: key, serial_number, mac, hostname, label. - is stdin.",
            show_default=False,
        ),
    ],
    *,
    endpoint: _OfEndpoint = "default",
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove devices that are not in FILE.")
    ] = False,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Put devices on the list of an endpoint; those that are on it stay.

    Each row is one device, known by what its cells say. key is the SHA-256 of the public key
    (SubjectPublicKeyInfo), in hex or base64. If a row is wrong, no device is imported. What the
    list is good for is said by the endpoint's rules, of kind devices or with devices = [...].

    With --replace the list is that of FILE afterwards, in one step. The command asks first if
    devices would be removed.
    """
    with records_opened(directory) as (home, store):
        from scepkit.server.directory.data_directory import endpoint_settings, utc_now

        settings = endpoint_settings(home.settings, endpoint)
        found = _read(file)
        gone = _gone(store, endpoint, found) if replace else []
        if gone:
            _ask_to_remove(gone, yes=yes)
        with terminal.bar("importing", len(found), shown=len(found) >= _WORTH_A_BAR) as advance:
            added = store.import_devices(
                endpoint,
                found,
                by=who(),
                now=utc_now(),
                reason=reason,
                gone=[one.id for one in gone],
                advance=advance,
            )
        counts = {"imported": added, "known": len(found) - added}
        said = f"{_devices(added)} imported, {counts['known']} on the list before"
        if replace:
            counts["removed"] = len(gone)
            said = f"{said}, {len(gone)} removed"
        if as_json:
            terminal.json_data(counts)
        terminal.say(said)
        if not settings.knows_devices:
            terminal.warn(
                f"no rule of the endpoint {endpoint!r} looks at the list",
                'add one of kind = "devices", or set devices = [...] in another one',
            )


def _read(path: Path) -> list[NewDevice]:
    """Read a list, and show how far that is.

    Raises:
        UsageError: the file cannot be read, or something in it cannot be used.
    """
    from scepkit.operations import device_list

    content = input_file.read(path, device_list.MAX_OCTETS)
    total = content.count(b"\n")
    try:
        with terminal.bar("checking", total, shown=total >= _WORTH_A_BAR) as advance:
            return device_list.read(content, advance)
    except UsageError as error:
        name = "stdin" if str(path) == "-" else str(path)
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error


@group.command(
    "list",
    cls=Command,
    short_help="List the devices that an endpoint knows.",
    epilog=examples(
        "scep admin devices list",
        "scep admin devices list --endpoint wifi --json",
    ),
)
def listing(
    *,
    endpoint: EndpointOption = None,
    limit: LimitOption = 0,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """List the devices that an endpoint knows, in the order of their import.

    Each has a number, which devices remove takes. Serial numbers, MAC addresses and host names are
    shown as requests are compared with them: in lower case, a MAC address without separators.
    """
    with records_opened(directory) as (home, store):
        from scepkit.server.directory.data_directory import endpoint_settings

        if endpoint is not None:
            endpoint_settings(home.settings, endpoint)
        found = store.devices(endpoint, limit=limit or None)
        if as_json:
            for one in found:
                terminal.data(json.dumps(_row(one) | {"added_by": one.added_by}))
        elif not table.write(map(_table_row, found), _COLUMNS, below=("key", "label")):
            terminal.say("nothing found")


def _row(one: Device) -> dict[str, str]:
    return {
        "id": str(one.id),
        "endpoint": one.endpoint,
        "key": "" if one.key is None else one.key.hex(),
        "serial_number": one.serial_number or "",
        "mac": one.mac or "",
        "hostname": one.hostname or "",
        "label": one.label or "",
        "added": timestamp(one.added_at),
    }


def _table_row(one: Device) -> dict[str, str]:
    return _row(one) | {"added": table.minute(one.added_at)}


@group.command(
    cls=Command,
    short_help="Remove devices from the list of an endpoint.",
    epilog=examples(
        "scep admin devices remove 17 18",
        "scep admin devices remove --all --endpoint wifi --yes",
    ),
)
def remove(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]…", help="Numbers of the devices.", show_default=False),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All devices of --endpoint.")] = False,
    endpoint: _OfEndpoint = "default",
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Remove devices from the list of an endpoint.

    They get no first certificate by the list any more. The certificates that they have stay good,
    and renew: revoke those. For several devices the command asks first.
    """
    if bool(ids) == every:
        raise UsageError("name the devices in exactly one way", hint="by ID…, or by --all")
    numbers = _numbers(ids or [])
    with records_opened(directory) as (_, store):
        from scepkit.server.directory.data_directory import utc_now

        listed = {one.id: one for one in store.devices(endpoint)} if every or ids else {}
        chosen = [*listed] if every else numbers
        missing = [number for number in chosen if number not in listed]
        if missing:
            raise UsageError(
                f"the list of the endpoint {endpoint!r} has no device {missing[0]}",
                hint="scep admin devices list shows them; nothing was changed",
            )
        _ask_to_remove([listed[one] for one in chosen], yes=yes or len(chosen) <= 1)
        done = store.remove_devices(endpoint, chosen, by=who(), now=utc_now(), reason=reason)
    if as_json:
        terminal.json_data({"removed": len(done)})
    terminal.say(f"{_devices(len(done))} removed")


def _gone(store: Store, endpoint: str, found: Sequence[NewDevice]) -> list[Device]:
    """Return the devices on the list of an endpoint that are not among those of a file."""
    digests = {one.digest for one in found}
    return [one for one in store.devices(endpoint) if one.digest not in digests]


def _ask_to_remove(chosen: Sequence[Device], *, yes: bool) -> None:
    """Show devices that are to be removed, and ask whether that is meant.

    Raises:
        UsageError: nobody is there to ask.
        Abort: it is not meant.
    """
    terminal.ask_before(
        f"{_devices(len(chosen))} would be removed",
        lambda: terminal.say_first([_shown(one) for one in chosen], _FEW),
        f"Remove {_devices(len(chosen))}?",
        look="look at them with scep admin devices list",
        yes=yes,
    )


def _numbers(texts: Sequence[str]) -> list[int]:
    for text in texts:
        if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
            raise UsageError(
                f"{text!r} is not a device's number", hint="scep admin devices list shows it"
            )
    return [*dict.fromkeys(map(int, texts))]


def _shown(one: Device) -> str:
    facts = (one.hostname, one.serial_number, one.mac, one.key and one.key.hex())
    return f"device {one.id}, {next(fact for fact in facts if fact)}"


def _devices(number: int) -> str:
    return f"{number} device{'' if number == 1 else 's'}"
