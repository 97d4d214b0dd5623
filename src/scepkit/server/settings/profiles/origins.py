"""The origin of a profile, and of each of its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from scepkit.server.settings import FILE, Settings
from scepkit.server.settings import errors as settings_errors
from scepkit.server.settings.errors import PROFILES
from scepkit.server.settings.profiles import inheritance
from scepkit.server.settings.profiles.format import ProfileSettings

READY, NOT_SAID = "ready", "default"

Key: TypeAlias = tuple[str, ...]


def standing(settings: Settings, name: str) -> str:
    """Return where a profile stands: `ready`, a file with the line, or both."""
    directory = settings.directory
    places = [READY] if name in inheritance.ready() else []
    if settings_errors.profile_file(directory, name).exists():
        places.append(f"{PROFILES}/{name}.toml")
    elif line := settings_errors.line_of(("profile", name), directory / FILE):
        places.append(f"{FILE}:{line}")
    elif not places:
        places.append("SCEP_PROFILE")
    return " ".join(places)


def origins(settings: Settings, name: str) -> dict[Key, str]:
    """Return the profile that each value of a profile comes from, `default` where none says it.

    Args:
        settings: the server's.
        name: the profile's.
    """
    line = [(label, dict(leaves(_said(one)))) for label, one in _line(settings, name)]
    found = {}
    for key, value in leaves(settings.profile[name].model_dump()):
        origin = NOT_SAID
        for label, said in line:
            if key not in said or said[key] != value:
                break
            origin = label
        found[key] = origin
    return found


def leaves(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the keys of a profile that are no tables, and their values."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


def values(profile: ProfileSettings) -> dict[str, Any]:
    """Return all keys of a profile as JSON has them; what has no order is sorted."""
    found: dict[str, Any] = _ordered(profile.model_dump(), profile.model_dump(mode="json"))
    return found


def _ordered(value: Any, as_json: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(as_json)
    if isinstance(value, Mapping):
        return {key: _ordered(one, as_json[key]) for key, one in value.items()}
    return as_json


def _said(profile: ProfileSettings) -> dict[str, Any]:
    return profile.model_dump(exclude_unset=True)


def _line(settings: Settings, name: str) -> Iterator[tuple[str, ProfileSettings]]:
    """Yield a profile with all that it has, the one that it extends, and so on."""
    at: str | None = name
    while at is not None:
        found, ready = settings.profile[at], inheritance.ready().get(at)
        yield at, found
        if found.extends in (None, at) and ready is not None and ready != found:
            yield f"{at}, {READY}", ready
        at = None if found.extends == at else found.extends
