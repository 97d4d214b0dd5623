"""`extends`: a profile has the keys of the one it extends, but for those that it has itself."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from pydantic import ValidationError

from scepkit.server.settings.errors import Misplaced
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.settings.profiles.values import READY

DEFAULT = "device"
"""The profile of an endpoint that names none."""


@cache
def ready() -> Mapping[str, ProfileSettings]:
    """Return the profiles that come with the package, by name."""
    files = resources.files("scepkit.ca.profiles") / "ready"
    return {
        file.name.removesuffix(".toml"): ProfileSettings.model_validate(
            tomllib.loads(file.read_text("utf-8")), context={READY: True}
        )
        for file in sorted(files.iterdir(), key=lambda one: one.name)
        if file.name.endswith(".toml")
    }


def resolved(own: Mapping[str, ProfileSettings]) -> dict[str, ProfileSettings]:
    """Return all profiles, each with all that it has from those which it extends.

    An operator's profile with the name of a ready one begins with that one.

    Args:
        own: the operator's profiles, by name.

    Raises:
        Misplaced: one extends a profile that is not there, or itself by a detour, or what it comes
            to contradicts itself.
    """
    return {name: _resolve(name, own) for name in sorted({*ready(), *own})}


def check_known(name: str, known: Mapping[str, object], *place: str) -> None:
    """Refuse the name of a profile that is not there.

    Args:
        name: the name.
        known: the profiles by name.
        place: the key that has it.

    Raises:
        Misplaced: there is no such profile.
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known))}"
        raise Misplaced(f"there is no profile {name!r}; {meant}", *place)


def _resolve(name: str, own: Mapping[str, ProfileSettings]) -> ProfileSettings:
    values: dict[str, Any] = {}
    line = list(_line(name, own))
    for one in reversed(line):
        values = _merged(values, one.model_dump(exclude_unset=True))
    if values.get("identity") and not any(one.identity for one in line if _is_ready(one)):
        logging_in = [which for which, one in ready().items() if one.identity]
        raise Misplaced(
            f"only what extends {' or '.join(logging_in)} is for log-ins",
            *("profile", name, "identity"),
        )
    try:
        return ProfileSettings.model_validate(values, context={READY: name not in own})
    except ValidationError as error:
        said = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise Misplaced(f"with what it extends: {said}", "profile", name) from error


def _is_ready(profile: ProfileSettings) -> bool:
    return any(profile is one for one in ready().values())


def _line(name: str, own: Mapping[str, ProfileSettings]) -> Iterator[ProfileSettings]:
    """Yield a profile, then the one that it extends, and so on."""
    seen: list[str] = []
    at: str | None = name
    while at is not None:
        if at in seen:
            way = " extends ".join([*seen[seen.index(at) :], at])
            raise Misplaced(f"no profile can come of this: {way}", "profile", name, "extends")
        seen.append(at)
        one = own.get(at)
        if one is not None:
            yield one
        if one is None or (at in ready() and one.extends in (None, at)):
            one = ready()[at]
            yield one
        if one.extends is not None:
            check_known(one.extends, {**ready(), **own}, "profile", at, "extends")
        at = one.extends


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            merged[key] = _merged(held, value)
        else:
            merged[key] = value
    return merged
