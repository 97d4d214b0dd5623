"""`scep admin profile check`: all that is wrong with the settings and the profiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scepkit.cli import terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    records_opened,
)
from scepkit.cli.failure import WRONG_USAGE
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from scepkit.server.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """A fault that `check` finds.

    Attributes:
        severity: `error`, or `warning` where certificates are issued all the same.
        message: what is wrong.
        profile: the profile, where it is one's.
        endpoint: the endpoint, where it is one's.
        file: the file, where it is in one.
        line: its line; 0 where that is not known.
        key: the setting.
    """

    severity: str = "error"
    message: str
    profile: str = ""
    endpoint: str = ""
    file: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        where = f"{self.file}{line}: " if self.file else ""
        if self.profile:
            where += f"profile {self.profile}"
            where += f" at the endpoint {self.endpoint}: " if self.endpoint else ": "
        return f"{where}{self.message}"


def check(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """Check the settings and all profiles as the next start would, and tell all that is wrong.

    An error has its file, line and key. It is one, too, if the CA of an endpoint may issue nothing
    by its profile, and a warning if certificates end with the CA, or are for what the CA is not.

    The status is 2 if there is an error.
    """
    found = list(_faults(directory))
    errors = [one for one in found if one.severity == "error"]
    if as_json:
        terminal.json_lines(asdict(one) for one in found)
    else:
        for one in found:
            say = terminal.error if one in errors else terminal.warn
            say(str(one))
    if errors:
        raise typer.Exit(WRONG_USAGE)
    if not as_json:
        terminal.say("the settings and all profiles are good")


def _faults(directory: Path) -> Iterator[_Fault]:
    from scepkit.cli.serve import require_server

    require_server()
    from scepkit.server import settings as server_settings

    try:
        with records_opened(directory) as (home, _):
            settings = home.settings
    except SettingsError as error:
        found = server_settings.faults(error, directory)
        for place, said in sorted(found, key=lambda one: (one[0].file, one[0].line)):
            yield _Fault(message=said, file=place.file, line=place.line, key=place.key)
        return
    yield from _of_profiles(settings)
    for endpoint in settings.endpoint:
        yield from _of_endpoint(settings, endpoint)


def _of_profiles(settings: Settings) -> Iterator[_Fault]:
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.server.directory.endpoint_files import BlocklistFiles

    files = BlocklistFiles(settings)
    for name, one in settings.profile.items():
        try:
            profile = one.compiled(name, files.of(one))
        except SettingsError as error:
            yield _Fault(message=error.message, profile=name)
            continue
        if profile.not_after is not None and profile.not_after <= utc_now():
            said = f"not_after is over: {profile.not_after}"
            yield _Fault(message=said, profile=name, key=f"profile.{name}.not_after")


def _of_endpoint(settings: Settings, endpoint: str) -> Iterator[_Fault]:
    from scepkit.ca.profiles import issuable
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.server.endpoints.checks import check_entitling
    from scepkit.server.endpoints.rehearsal import stand_in

    own = settings.endpoint[endpoint]
    where: dict[str, Any] = {"profile": own.profile, "endpoint": endpoint}
    try:
        found = settings.profile_of(endpoint)
        profile, ca = found.compiled(own.profile), stand_in(settings, endpoint)
        check_entitling(endpoint, own, found, profile, has_service=False)
    except (SettingsError, UsageError) as error:
        yield _Fault(message=error.message.removeprefix(f"endpoint {endpoint!r}: "), **where)
        return
    for said in issuable.faults(profile, ca, utc_now()):
        yield _Fault(message=said, **where)
    for said in issuable.remarks(profile, ca, utc_now()):
        yield _Fault(severity="warning", message=said, **where)
