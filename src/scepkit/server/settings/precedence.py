"""Settings that are given more than once: which value wins, and which option is not kept.

An option wins over a `SCEP_…` variable, and either over `scep.toml`. A value that loses silently is
looked for in the wrong place, so the start says each of them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from scepkit.server.settings import DEFAULT, FILE, Settings
from scepkit.server.settings.authorization import described
from scepkit.server.settings.ca import CASettings
from scepkit.server.settings.endpoint import PROFILE_KEYS, SHORT_FORM, EndpointSettings
from scepkit.server.settings.profiles import inheritance
from scepkit.server.settings.template import toml_value

_ENDPOINT: Final = "endpoint"
_CA: Final = "ca"
_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {_ENDPOINT: EndpointSettings, _CA: CASettings}
# May hold a password, in more than one place.
_SECRET: Final = frozenset({"database"})

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overruled:
    """A setting with two values.

    Attributes:
        winner: the value that counts, with its place.
        loser: the other value, with its place.
    """

    winner: str
    loser: str


def overruled(
    directory: Path, options: Mapping[str, Any], layout: str | None = None
) -> list[Overruled]:
    """Return the settings of a directory that are given twice, with different values.

    Args:
        directory: with or without a scep.toml; its settings are known to be good.
        options: the settings that are given as options of the command; None is no value.
        layout: the key layout of the default CA, which is an option too.
    """
    sources = (_options(options, layout), _variables(), _file(directory))
    return [
        Overruled(winner.shown(key), loser.shown(key))
        for winner, loser in combinations(sources, 2)
        for key, value in winner.values.items()
        # A third value loses against the first one, not against the second one too.
        if key in loser.values
        and winner is next(one for one in sources if key in one.values)
        and _normal(key, value) != _normal(key, loser.values[key])
    ]


def over_profiles(settings: Settings) -> list[Overruled]:
    """Return the settings of endpoints that win over a profile which an endpoint names.

    Args:
        settings: the server's.
    """
    return [
        Overruled(
            f"{name} in [endpoint.{endpoint}]",
            f"{PROFILE_KEYS[name]} in the profile {one.profile!r}",
        )
        for endpoint, one in settings.endpoint.items()
        if one.profile != inheritance.DEFAULT
        for name in one.overrules
    ]


def as_rules(settings: Settings) -> dict[str, str]:
    """Return the rules that settings of endpoints became, where they differ from the usual ones.

    Args:
        settings: the server's.

    Returns:
        By the settings, as an operator calls them, the rules.
    """
    usual = EndpointSettings.model_fields
    found = {}
    for endpoint, one in settings.endpoint.items():
        said = [name for name in SHORT_FORM if getattr(one, name) != usual[name].default]
        if said:
            named = f"{', '.join(said)} in [endpoint.{endpoint}]"
            found[named] = ", ".join(map(described, one.rules))
    return found


def not_kept(directory: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options of a first start that the file of before does not have.

    Args:
        directory: of the server, with a scep.toml.
        options: the settings that the first start writes into a new file; None is no value.

    Returns:
        The line that would keep each option, by the name of the setting.
    """
    kept = _file(directory).values
    return {
        name: f"{name} = {toml_value(value)}"
        for name, value in options.items()
        if value not in (None, Settings.model_fields[name].default) and (name,) not in kept
    }


@dataclass(frozen=True, slots=True)
class _Source:
    """The values of one place."""

    values: Mapping[_Key, Any]
    place: Path | None = None
    is_options: bool = False

    def shown(self, key: _Key) -> str:
        """Return a value with its place, as an operator would write it there."""
        value = self.values[key]
        hidden = key[-1] in _SECRET
        if self.is_options:
            text = ",".join(value) if isinstance(value, list) else str(value)
            option = f"ca-{key[-1]}" if key[0] == _CA else key[-1]
            return f"--{option.replace('_', '-')} {shlex.quote(text)}"
        if self.place is None:
            return f"{_variable(key)}" if hidden else f"{_variable(key)}={_as_variable(value)}"
        section = f"[{'.'.join(key[:-1])}] of " if len(key) > 1 else ""
        text = key[-1] if hidden else f"{key[-1]} = {toml_value(value)}"
        return f"{text} in {section}{self.place}"


def _options(options: Mapping[str, Any], layout: str | None) -> _Source:
    given = dict(_flat(options)) | {(_ENDPOINT, DEFAULT, "layout"): layout}
    known = {key: value for key, value in given.items() if value is not None}
    return _Source(known, is_options=True)


def _variables() -> _Source:
    return _Source(dict(_flat(EnvSettingsSource(Settings)())))


def _file(directory: Path) -> _Source:
    path = directory / FILE
    return _Source(dict(_flat(TomlConfigSettingsSource(Settings, path)())), place=path)


def _flat(values: Mapping[str, Any], above: _Key = ()) -> Iterator[tuple[_Key, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*above, name))
        else:
            yield (*above, name), value


def _normal(key: _Key, value: Any) -> Any:
    """Return a value as the server takes it: a variable has text where the file has a number."""
    fields = _SECTIONS.get(key[0], Settings).model_fields
    field = fields.get(key[-1])
    kind: Any = field.annotation if field else Any
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        # It loses, so nobody has looked at it.
        return value


def _variable(key: _Key) -> str:
    """Return the variable of a setting; all endpoints may be in one."""
    name = f"SCEP_{'__'.join(key)}".upper()
    given = {one.upper() for one in os.environ}
    while name not in given and "__" in name:
        name = name.rpartition("__")[0]
    return name


def _as_variable(value: Any) -> str:
    return value if isinstance(value, str) else toml_value(value)
