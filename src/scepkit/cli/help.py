"""How `--help` looks: plain text in sections, the same on a terminal and in a pipe.

Typer's boxes take half of the time that `scep --help` may take, and do not paste well.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

# What pydantic says of a value, behind typer, and what is left out of that.
_JARGON = re.compile("Value error, |, unable to parse .*")
_ARGUMENTS, _OTHERS = "Arguments", "Other options"


class Group(TyperGroup):
    """A group of commands that starts fast."""

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

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the command's name in the first line."""
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
    """Return the end of a --help: what the command can look like, each on a line of its own."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


def plain(message: str) -> str:
    """Return what typer says of a command line in words for people."""
    return _JARGON.sub("", message).replace("Input should be ", "it has to be ")


def _heading(parameter: Any) -> str:
    return _ARGUMENTS if isinstance(parameter, TyperArgument) else _OTHERS
