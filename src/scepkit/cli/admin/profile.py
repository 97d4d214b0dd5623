"""`scep admin profile`: which certificates the endpoints issue, and what a request would get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.failure import FAILED
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.ca.authority import Authority
    from scepkit.operations.ca_listing import CAGeneration
    from scepkit.operations.profile_trial import Trial
    from scepkit.protocol.certificate import Certificate
    from scepkit.server.settings import Settings
    from scepkit.server.settings.profiles.format import ProfileSettings

_COLUMNS = ("name", "extends", "endpoints", "description")
_MOST_OCTETS = 1 << 20

group = typer.Typer(
    cls=Group,
    help="Which certificates the endpoints issue: profiles.",
    epilog=examples(
        "scep admin profile list",
        "scep admin profile try vpn-client device.csr",
    ),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for name, what, command, example in (
        ("list", "List the profiles.", list_, "scep admin profile list"),
        ("show", "Show all that a profile says.", show, "scep admin profile show vpn-client"),
        ("check", "Check all profiles.", check, "scep admin profile check"),
        (
            "try",
            "Show the certificate that a request would get.",
            try_,
            "scep admin profile try vpn-client device.csr --data owner=alice",
        ),
    ):
        group.command(name, cls=Command, short_help=what, epilog=examples(example))(command)
    app.add_typer(group, name="profile")


def list_(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the profiles: the ready ones, your own, and which endpoints issue by them."""
    settings = _settings(directory)
    rows = [
        {
            "name": name,
            "extends": one.extends or "",
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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")],
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show all that a profile says, with what it has from those that it extends, as TOML.

    An endpoint may say otherwise; what it says is not shown here.
    """
    profile = _profile(_settings(directory), name)
    values = profile.model_dump(mode="json", exclude_none=True)
    if as_json:
        terminal.json_data({"name": name, **values})
        return
    for line in _toml(values):
        terminal.data(line)


def check(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """Check all profiles as the next start would, and whether the CAs may issue by them.

    What cannot be read is an error with its file, line and key. The status is 1 where a CA may not
    issue what its endpoint's profile allows.
    """
    from scepkit.operations.profile_trial import fault

    rows = []
    with records_opened(directory) as (home, _):
        settings = home.settings
        for name, one in settings.profile.items():
            compiled = one.compiled(name)
            endpoints = _endpoints(settings, name)
            faults = [fault(compiled, _stand_in(settings, endpoint)) for endpoint in endpoints]
            said = next((one for one in faults if one), "") or _end(one)
            rows.append({"name": name, "fault": said})
    if as_json:
        terminal.json_lines(rows)
    for row in rows:
        if row["fault"]:
            terminal.error(f"the profile {row['name']}: {row['fault']}")
    if any(row["fault"] for row in rows):
        raise typer.Exit(FAILED)
    terminal.say(f"{len(rows)} profiles are good")


def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.")],
    request: Annotated[
        Path, typer.Argument(metavar="CSR", help="PKCS#10, PEM or DER; - is stdin.")
    ],
    *,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Data of the challenge. Repeatable."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Label of the challenge.")
    ] = None,
    bound: Annotated[
        bool,
        typer.Option("--bound", help="As if the challenge were bound to the request's names."),
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Endpoint; the first one with this profile if not given."
        ),
    ] = None,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show the certificate that a first request would get: PEM on stdout, signed by nobody's key.

    The rules that have made, changed or left something out are on stderr, and the word of pkilint
    where it is installed. Nothing is issued, and no challenge is needed. Status 1: it is refused.
    """
    from scepkit.operations import linting

    settings, octets = _settings(directory), input_file.read(request, _MOST_OCTETS)
    trial, where = _tried(settings, name, octets, endpoint, data or (), label, is_bound=bound)
    lint = None if trial.certificate is None else linting.findings(trial.certificate.der)
    if as_json:
        terminal.json_data(_for_json(trial, where, lint))
    elif trial.certificate is not None:
        _print(trial, trial.certificate, lint)
    if trial.certificate is None:
        terminal.error(f"refused at the endpoint {where}: {trial.refused}")
        raise typer.Exit(FAILED)


def _tried(
    settings: Settings,
    name: str,
    octets: bytes,
    endpoint: str | None,
    data: Any,
    label: str | None,
    *,
    is_bound: bool,
) -> tuple[Trial, str]:
    """Return the outcome of a trial, and the endpoint that it is at."""
    from scepkit.enrolment.challenges.orders import read_data
    from scepkit.operations.profile_trial import Challenged, attempt, read_request
    from scepkit.server.data_directory import endpoint_settings, utc_now
    from scepkit.server.endpoint_files import BlocklistFiles
    from scepkit.server.settings import DEFAULT
    from scepkit.server.settings.public_urls import locations

    profile = _profile(settings, name)
    where = endpoint or next(iter(_endpoints(settings, name)), DEFAULT)
    found = endpoint_settings(settings, where)
    blocked = None
    if found.profile == name:
        profile, blocked = settings.profile_of(where), BlocklistFiles(settings).of(where)
    trial = attempt(
        read_request(octets),
        profile.compiled(name, blocked),
        Challenged(label, read_data(data), is_bound),
        endpoint=where,
        chain=_generation(settings, where).chain,
        locations=locations(settings, where),
        now=utc_now(),
    )
    return trial, where


def _print(trial: Trial, certificate: Certificate, lint: tuple[str, ...] | None) -> None:
    from scepkit.cli.describe import pem

    terminal.data(pem([certificate]).rstrip("\n"))
    terminal.fields([*_described(certificate).items()])
    for rule in trial.rules:
        terminal.say(f"rule: {rule}")
    if lint is None:
        terminal.say("pkilint is not installed")
    for finding in lint or ():
        terminal.say(f"pkilint: {finding}")
    if lint == ():
        terminal.say("pkilint finds nothing")


def _described(certificate: Certificate) -> dict[str, str]:
    from scepkit.protocol.extensions import purpose_name

    start, end = certificate.validity
    extensions = certificate.extensions
    return {
        "subject": str(certificate.subject_name),
        "names": ", ".join(map(str, certificate.alternative_names)),
        "valid": f"{timestamp(start)} to {timestamp(end)}",
        "key usage": ", ".join(sorted(extensions.key_usage or ())),
        "purposes": ", ".join(map(purpose_name, extensions.extended_key_usage or ())),
    }


def _for_json(trial: Trial, endpoint: str, lint: tuple[str, ...] | None) -> dict[str, object]:
    from scepkit.cli.describe import pem

    found = trial.certificate
    return {
        "endpoint": endpoint,
        "refused": trial.refused,
        "rules": [*trial.rules],
        "pkilint": None if lint is None else [*lint],
        "pem": "" if found is None else pem([found]),
    }


def _settings(directory: Path) -> Settings:
    with records_opened(directory) as (home, _):
        return home.settings


def _profile(settings: Settings, name: str) -> ProfileSettings:
    from scepkit.server.settings.profiles.inheritance import check_known

    try:
        check_known(name, settings.profile)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return settings.profile[name]


def _endpoints(settings: Settings, profile: str) -> list[str]:
    return [name for name, one in settings.endpoint.items() if one.profile == profile]


def _generation(settings: Settings, endpoint: str) -> CAGeneration:
    from scepkit.operations.ca_listing import generation

    directories = {name: settings.authority_directory(name) for name in settings.authorities}
    return generation(directories, settings.endpoint[endpoint].ca, "current")


def _stand_in(settings: Settings, endpoint: str) -> Authority:
    from scepkit.operations.profile_trial import stand_in

    return stand_in(_generation(settings, endpoint).chain, None)


def _end(profile: ProfileSettings) -> str:
    from scepkit.server.data_directory import utc_now

    end: datetime | None = profile.not_after
    return f"its not_after, {end}, is over" if end is not None and end <= utc_now() else ""


def _toml(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the lines of a profile's own file: plain keys first, then its tables."""
    from scepkit.server.settings.template import toml_value

    tables = {key: one for key, one in values.items() if isinstance(one, dict)}
    several = {
        key: one
        for key, one in values.items()
        if isinstance(one, list) and one and isinstance(one[0], dict)
    }
    for key, value in values.items():
        if key not in tables and key not in several:
            plain = isinstance(value, str) and key == "not_after"
            yield f"{key} = {value if plain else toml_value(_sorted(key, value))}"
    for key, rows in several.items():
        for row in rows:
            yield f"\n[[{above}{key}]]"
            yield from _toml(row)
    for key, value in tables.items():
        if value:
            name = key if key.replace("_", "").replace("-", "").isalnum() else toml_value(key)
            lines = [*_toml(value, f"{above}{name}.")]
            if lines and not lines[0].startswith("\n"):
                yield f"\n[{above}{name}]"
            yield from lines


def _sorted(key: str, value: Any) -> Any:
    """Put what has no order of its own into one."""
    return sorted(value) if key in ("kinds", "key_usages", "copied_extensions") else value
