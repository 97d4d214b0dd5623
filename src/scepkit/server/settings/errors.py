"""Explanations of errors in the settings, for the operator who wrote them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

_URL: Final = "a URL with http:// or https://, in quotes"
# By setting: what every value that does not fit has to be.
_WANTED: Final = {
    "public_url": _URL,
    "pki_url": _URL,
    "metrics": 'HOST:PORT in quotes, such as "127.0.0.1:9108"',
    "api": 'HOST:PORT in quotes, such as "127.0.0.1:8443"',
}
# By what pydantic calls the error; {…} is what it says with it.
_BY_TYPE: Final = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a section, such as [{section}.default]",
    "enum": "{expected}",
    "float_parsing": "a number",
    "float_type": "a number",
    "frozen_set_type": 'a list, such as ["…"]',
    "greater_than": "more than nothing",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_type": "a section, such as [{section}.default]",
    "path_type": "the name of a file, in quotes",
    "missing": "there",
    "string_type": "text in quotes",
    "timezone_aware": "a moment with its zone, such as 2027-01-31T00:00:00Z",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list, such as [1, 2]",
    "union_tag_invalid": "of a kind that there is: {expected_tags}",
    "union_tag_not_found": "a table with kind = …",
}

# Where the kind of a rule stands in the place of an error: endpoint.NAME.authorization.0.KIND.key.
_RULES: Final = "authorization"
_TAG: Final = 4

EACH: Final = "*"
"""Stands for the names, or the numbers, of tables that have the same keys."""

PROFILES: Final = "profiles"
"""The directory beside scep.toml with profiles that have a file of their own."""

# How tomllib says where; its attributes are newer than the oldest Python here.
_TOML_LINE: Final = re.compile(r"\(at line (\d+)")
_SECTION: Final = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_SETTING: Final = re.compile(r"\s*([\w.\"'-]+)\s*=")

CORRECT: Final = "correct it and start again"
AS_JSON: Final = 'write lists as JSON, for instance \'["a", "b"]\''
# How pydantic-settings names the setting whose variable it cannot read.
_FIELD: Final = re.compile(r'for field "(\w+)"')


class Misplaced(ValueError):
    """An error at a key that is not the one under check.

    Args:
        said: what is wrong.
        place: the key, part by part.

    Attributes:
        place: the key.
    """

    def __init__(self, said: str, *place: str) -> None:
        super().__init__(said)
        self.place = place


class UnreadableFile(ValueError):
    """A file beside scep.toml that is no TOML.

    Args:
        path: of the file.
        cause: what the parser says.

    Attributes:
        place: the place of the error.
    """

    def __init__(self, path: Path, cause: tomllib.TOMLDecodeError) -> None:
        super().__init__(str(cause))
        found = _TOML_LINE.search(str(cause))
        self.place = Place(str(path), int(found[1]) if found else 0)


def toml_hint(error: tomllib.TOMLDecodeError) -> str:
    """Return the hint for a file that is not TOML.

    Args:
        error: what the parser says.
    """
    if "Cannot" not in str(error):  # declare twice, overwrite a value
        return CORRECT
    return f"each section and each setting may stand in the file once; {CORRECT}"


def explain_variable(error: SettingsError, environment: Mapping[str, str]) -> str:
    """Return which variable cannot be read.

    Args:
        error: what pydantic-settings raised on a variable that has to hold JSON.
        environment: all variables.
    """
    named = _FIELD.search(str(error))
    start = f"SCEP_{named[1].upper() if named else ''}"
    # The error names the setting alone, which of an endpoint is `endpoint`.
    value = getattr(error.__cause__, "doc", None)
    names = (name for name, held in environment.items() if held == value)
    name = next((name for name in names if name.upper().startswith(start)), f"{start}…")
    return f"{name}: this is not JSON"


def explain(
    error: ValidationError, settings: Collection[str], sections: Mapping[str, Collection[str]]
) -> str:
    """Return all that is wrong, in one line.

    Args:
        error: what the check of the settings raised.
        settings: the names of those of the server.
        sections: and of those of the other sections, by how these begin; those of a table in one
            under its key, such as `profile.key`, and those of one of several tables under
            `profile.subject.*`.
    """
    return "; ".join(_said(item, settings, sections) for item in error.errors(include_url=False))


def faults(
    error: ValidationError,
    path: Path,
    settings: Collection[str],
    sections: Mapping[str, Collection[str]],
) -> list[tuple[Place, str]]:
    """Return all that is wrong, each with its place.

    Args:
        error: what the check of the settings raised.
        path: of scep.toml.
        settings: as for `explain`.
        sections: as for `explain`.
    """
    return [
        (_place(item, path), _said(item, settings, sections))
        for item in error.errors(include_url=False)
    ]


def _said(
    item: ErrorDetails, settings: Collection[str], sections: Mapping[str, Collection[str]]
) -> str:
    if item["type"] == "extra_forbidden":
        return _unknown(item["loc"], settings, sections)
    return _unfit(_where(item), item["type"], item["msg"], item.get("ctx", {}))


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an error, as far as it is known.

    Attributes:
        file: the file; empty where it is none.
        line: its line; 0 where that is not known.
        key: the setting; empty where it is none.
    """

    file: str = ""
    line: int = 0
    key: str = ""


def place_of(cause: BaseException | None, path: Path) -> Place:
    """Return the place of an error in scep.toml.

    Args:
        cause: what the reading of the settings raised first.
        path: of scep.toml.
    """
    if isinstance(cause, tomllib.TOMLDecodeError):
        found = _TOML_LINE.search(str(cause))
        return Place(str(path), int(found[1]) if found else 0)
    if isinstance(cause, UnreadableFile):
        return cause.place
    if not isinstance(cause, ValidationError):
        return Place()
    return _place(cause.errors(include_url=False)[0], path)


def _place(item: ErrorDetails, path: Path) -> Place:
    keys = tuple(map(str, _where(item)))
    line = _line_of(keys, path)
    own = profile_file(path.parent, keys[1]) if keys[:1] == ("profile",) and keys[1:] else None
    if not line and own is not None and own.exists():
        return Place(str(own), _line_of(keys[2:], own), ".".join(keys))
    # A value that is not in the file is in a variable or an option.
    return Place(str(path) if line else "", line, ".".join(keys))


def profile_file(directory: Path, name: str) -> Path:
    """Return where a profile is that has a file of its own.

    Args:
        directory: the server's.
        name: the profile's.
    """
    return directory / PROFILES / f"{name}.toml"


def _where(item: ErrorDetails) -> tuple[int | str, ...]:
    """Return the key of an error: the one under check, or the one that it names itself."""
    error = item.get("ctx", {}).get("error")
    return error.place if isinstance(error, Misplaced) else _untagged(item["loc"])


def _untagged(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the key of a rule without the kind, which stands in no file: `….0.match`."""
    return (*place[:_TAG], *place[_TAG + 1 :]) if place[2:3] == (_RULES,) else place


def line_of(section: tuple[str, ...], path: Path) -> int:
    """Return the line at which a section begins, or the first one in it; 0 for none."""
    with suppress(OSError, ValueError):
        for number, content in enumerate(path.read_text("utf-8").splitlines(), 1):
            found = _SECTION.match(content)
            if found and _parts(found[2])[: len(section)] == section:
                return number
    return 0


def _line_of(keys: tuple[str, ...], path: Path) -> int:
    """Return the line of the setting, or else of the section, that comes closest; 0 for none."""
    section: tuple[str, ...] = ()
    best, line = 0, 0
    numbers: dict[tuple[str, ...], int] = {}
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        return 0
    for number, content in enumerate(text.splitlines(), 1):
        if found := _SECTION.match(content):
            section = named = _numbered(found[2], numbers, begins=found[1] == "[[")
        elif found := _SETTING.match(content):
            named = (*section, *_parts(found[1]))
        else:
            continue
        if len(named) > best and keys[: len(named)] == named:
            best, line = len(named), number
    return line


def _numbered(dotted: str, numbers: dict[tuple[str, ...], int], *, begins: bool) -> tuple[str, ...]:
    """Return the key of a section, with the numbers of the tables that are in a list.

    Args:
        dotted: as it is written.
        numbers: the number of the last table of each list so far.
        begins: whether a table of a list begins.
    """
    key: tuple[str, ...] = ()
    *above, last = _parts(dotted)
    for part in above:
        key = (*key, part)
        if key in numbers:
            key = (*key, str(numbers[key]))
    key = (*key, last)
    if begins:
        numbers[key] = numbers.get(key, -1) + 1
    return (*key, str(numbers[key])) if key in numbers else key


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _unknown(
    place: tuple[int | str, ...], settings: Collection[str], sections: Mapping[str, Collection[str]]
) -> str:
    *above, name = map(str, place)
    # [profile.vpn.key] has the settings of `profile.key`, and all tables of a list the same ones.
    table = [EACH if one.isdigit() else one for one in (*above[:1], *above[2:])]
    each = ".".join([*table[:-1], EACH])
    known = sections.get(".".join(table), sections.get(each, ())) if above else settings
    said = f"there is no setting `{_key(_untagged(place))}`"
    if above and name in settings:
        return f"{said}; it goes above [{above[0]}.default]"
    for section, others in sections.items():
        if "." not in section and name in others and name not in known:
            if above[:1] == ["endpoint"] and above[1:] != ["default"]:
                return f"{said}; it goes below [{section}.NAME] of the {section} of that endpoint"
            return f"{said}; it goes below [{section}.default]"
    similar = get_close_matches(name, known, n=1)
    return f"{said}; did you mean `{similar[0]}`?" if similar else said


def _unfit(place: tuple[int | str, ...], kind: str, message: str, values: dict[str, Any]) -> str:
    values = {**values, "section": place[0] if place else ""}
    wanted = _WANTED.get(_key(place)) or _BY_TYPE.get(kind, "").format_map(values)
    if wanted:
        return f"{_key(place)} has to be {wanted}"
    return f"{_key(place)}: {message.removeprefix('Value error, ')}"


def _key(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))
