"""A profile as TOML that can be pasted, with the origin of each value beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from scepkit.server.settings.template import toml_value

Key: TypeAlias = tuple[str, ...]

_ABOVE = 2  # parts of a path that are the profile's own: profile.NAME
_COLUMN = 44
_WIDTH = 78
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def section(
    name: str, values: Mapping[str, Any], origins: Mapping[Key, str], default: str
) -> Iterator[str]:
    """Yield the lines of a profile's section of scep.toml.

    Args:
        name: the profile's.
        values: all of its keys, as JSON has them.
        origins: the profile that each value comes from.
        default: the origin of what no profile says.
    """
    return _Writer(origins, default).table(("profile", name), values)


class _Writer:
    def __init__(self, origins: Mapping[Key, str], default: str) -> None:
        self._origins = origins
        self._default = default

    def table(self, path: Key, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield a table: its own keys first, then the tables in it."""
        below = path[_ABOVE:]
        plain = {key: one for key, one in values.items() if not _is_table(one)}
        if plain:
            yield f"[{_dotted(path)}]"
        for key, value in plain.items():
            yield from _setting(key, value, self._origins.get((*below, key), self._default))
        silent = []
        for key, value in values.items():
            if key in plain:
                continue
            # Of kinds of names there are many, of which a profile speaks of a few.
            if below and not self._is_said((*below, key)):
                silent.append(".".join((*below, key)))
            else:
                yield from self._below((*path, key), value, is_first=not plain)
        if silent:
            yield ""
            yield from _wrapped(f"nothing is said of {', '.join(silent)}".split(), "# ")

    def _below(self, path: Key, value: Any, *, is_first: bool) -> Iterator[str]:
        """Yield a table in another one, or each of several."""
        if isinstance(value, Mapping):
            if value and not is_first:
                yield ""
            yield from self.table(path, value)
            return
        for one in value:
            yield ""
            yield f"[[{_dotted(path)}]]"
            for key, said in one.items():
                yield from _setting(key, said, self._origins[path[_ABOVE:]])

    def _is_said(self, path: Key) -> bool:
        return any(
            origin != self._default
            for key, origin in self._origins.items()
            if key[: len(path)] == path
        )


def _is_table(value: object) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _setting(key: str, value: Any, origin: str) -> Iterator[str]:
    if value is None:
        yield f"{f'# {key} is not set':<{_COLUMN}}  # {origin}"
        return
    text = value if key == "not_after" else _escaped(toml_value(value))
    line = f"{_part(key)} = {text}"
    if isinstance(value, list) and len(line) > _COLUMN:
        yield f"{f'{_part(key)} = [':<{_COLUMN}}  # {origin}"
        yield from _wrapped([f"{_escaped(toml_value(one))}," for one in value], "    ")
        yield "]"
    else:
        yield f"{line:<{_COLUMN}}  # {origin}"


def _wrapped(words: list[str], indent: str) -> Iterator[str]:
    line = indent
    for word in words:
        if line.strip() and len(line) + len(word) > _WIDTH:
            yield line.rstrip()
            line = indent
        line += f"{word} "
    if line.strip():
        yield line.rstrip()


def _dotted(path: Key) -> str:
    return ".".join(map(_part, path))


def _part(key: str) -> str:
    return key if key and _BARE.issuperset(key) else _escaped(toml_value(key))


def _escaped(text: str) -> str:
    """Escape what a terminal would not show as it is."""
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
