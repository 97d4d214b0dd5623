"""The form of `--help`: plain text in sections, the same on a terminal and in a pipe.

Typer's boxes take half of the time that `scep --help` may take, and do not paste well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, get_args

from typer.core import TyperArgument, TyperCommand, TyperGroup

from scepkit.errors import UsageError

# What pydantic says of a value, behind typer, and what is left out of that.
_JARGON = re.compile("Value error, |, unable to parse .*")
_ARGUMENTS, _OTHERS = "Arguments", "Other options"
# Text that is, or has in it, the name of a file, which may be any octets.
_WITH_PATHS = ("FILE", "PLACE", "COMMAND")


class Group(TyperGroup):
    """A group of commands that starts fast."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line up to the name of a command; as that of a command.

        Raises:
            UsageError: a path or a text is none.
        """
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, which is off rather than unset.

        For an option that is unset typer loads pydantic, which takes 0.1 s.
        """
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


class Command(TyperCommand):
    """A command whose help puts options under the heading that their `rich_help_panel` names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, and refuse arguments that cannot be paths, or are no text.

        An empty path is the current directory to Python, which nobody means who has an empty
        variable in a script.

        Raises:
            UsageError: a path is empty, or has a NUL in it; a text is not in the encoding here.
        """
        _check_arguments(self, ctx, args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name in the first line."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, in the order of their declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(parameter, TyperArgument):
                record = (parameter.display_name_raw, record[1])
            heading = getattr(parameter, "rich_help_panel", None) or _heading(parameter)
            sections.setdefault(heading, []).append(record)
        named = set(sections) - {_ARGUMENTS, _OTHERS}
        for heading, records in sections.items():
            with formatter.section(heading if named or heading != _OTHERS else "Options"):
                formatter.write_dl(records, col_max=26)


def examples(*lines: str) -> str:
    """Return the examples at the end of a --help, each on a line of its own."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


def plain(message: str) -> str:
    """Return typer's message about a command line in words for people."""
    return _JARGON.sub("", message).replace("Input should be ", "it has to be ")


def _check_arguments(command: Any, ctx: Any, args: Sequence[str]) -> None:
    given, _, _ = command.make_parser(ctx).parse_args(args=list(args))
    for parameter in command.get_params(ctx):
        descriptor = getattr(parameter, "type_descriptor", None)
        if descriptor is None:
            continue
        value = given.get(parameter.name)
        if descriptor.is_path:
            _check_path(parameter, value)
        elif descriptor.annotation is str or get_args(descriptor.annotation) == (str,):
            _check_text(parameter, [value] if isinstance(value, str) else value)


def _check_text(parameter: Any, values: Any) -> None:
    if parameter.metavar in _WITH_PATHS:
        return
    for one in values or ():
        try:
            one.encode()
        except UnicodeEncodeError:
            # The text is not repeated: it may be a secret.
            raise UsageError(
                f"{_name(parameter)}: that is not text in {sys.getfilesystemencoding()}, the "
                "encoding of this locale",
                hint="let the terminal, or the script, write in the encoding that the locale "
                "(LC_ALL, LANG) names",
            ) from None


def _check_path(parameter: Any, value: object) -> None:
    name = _name(parameter)
    if value == "":
        raise UsageError(f"{name} is empty, and has to be a path", hint="name a file or directory")
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{name} {value}: no path can have a NUL in it", hint="name another one")


def _name(parameter: Any) -> str:
    name = parameter.metavar if isinstance(parameter, TyperArgument) else parameter.opts[0]
    return str(name)


def _heading(parameter: Any) -> str:
    return _ARGUMENTS if isinstance(parameter, TyperArgument) else _OTHERS
