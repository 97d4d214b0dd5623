"""`scep admin profile list` and `show`: which profiles there are, and all that one says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    records_opened,
)
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.server.settings import Settings
    from scepkit.server.settings.profiles.format import ProfileSettings

_COLUMNS = ("name", "extends", "from", "endpoints", "description")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the profile.", show_default=False)
]


def list_(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the profiles: what each extends, where it stands, and which endpoints have it.

    A profile stands in a file, is ready, which is to say that it came with the server, or is a
    ready one that a file changes.
    """
    with records_opened(directory) as (home, _):
        settings = home.settings
    from scepkit.server.settings.profiles.origins import standing

    rows = [
        {
            "name": name,
            "extends": one.extends or "",
            "from": standing(settings, name),
            "endpoints": " ".join(_endpoints(settings, name)),
            "description": one.description,
        }
        for name, one in settings.profile.items()
    ]
    if as_json:
        terminal.json_lines(row | {"endpoints": row["endpoints"].split()} for row in rows)
        return
    table.write(rows, _COLUMNS, below=("description",))


def show(
    name: NameArgument,
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show every key of a profile, its value, and the profile that this comes from.

    It is TOML that can be pasted, and says the same whatever that other profile says later.
    What an endpoint says otherwise is told, too.
    """
    with records_opened(directory) as (home, _):
        settings = home.settings
    from scepkit.cli.admin.profile import toml
    from scepkit.server.settings.profiles import origins

    profile = known(settings, name)
    places = origins.origins(settings, name)
    values = origins.values(profile)
    if as_json:
        terminal.json_data(
            {
                "name": name,
                "from": origins.standing(settings, name),
                "endpoints": _endpoints(settings, name),
                "keys": values,
                "origins": {".".join(key): origin for key, origin in places.items()},
            }
        )
        return
    for line in _heading(settings, name):
        terminal.data(f"# {terminal.escape(line)}")
    for line in toml.section(name, values, places, origins.NOT_SAID):
        terminal.data(line)


def _heading(settings: Settings, name: str) -> Iterator[str]:
    from scepkit.server.settings.profiles.origins import standing

    yield f"{name}: {standing(settings, name)}; beside each key the profile that it comes from"
    for endpoint in _endpoints(settings, name):
        said = settings.endpoint[endpoint].overrules
        other = f", which says otherwise: {', '.join(said)}" if said else ""
        yield f"endpoint {endpoint}{other}"


def known(settings: Settings, name: str) -> ProfileSettings:
    """Return a profile.

    Raises:
        UsageError: there is none of that name.
    """
    from scepkit.server.settings.profiles.inheritance import check_known

    try:
        check_known(name, settings.profile)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return settings.profile[name]


def _endpoints(settings: Settings, profile: str) -> list[str]:
    return [name for name, one in settings.endpoint.items() if one.profile == profile]
