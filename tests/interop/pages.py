"""How-to pages that are run: the files in them are written, the commands in them are typed.

A fenced block with a language is a file, whose place the text before it tells; one without is what
is typed after `$` and what comes out, where `…` stands for anything. A block without a `$` holds
commands alone. A `\\` at the end of a line goes on in the next one, as in a shell.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"`(/[\w./-]+|[\w./-]*\.\w+)`")


@dataclass
class Command:
    """A command and the lines that it writes."""

    text: str
    said: list[str] = field(default_factory=list)

    def check(self, out):
        """Fail unless the output is what the page says."""
        lines = [re.escape(line).replace("…", ".*") for line in self.said]
        pattern = r"\s*\n".join(lines)
        assert re.fullmatch(pattern, out.strip(), re.DOTALL), f"{self.text}\n{out}"


@dataclass(frozen=True)
class File:
    """A file that a page shows.

    Attributes:
        kind: the language of its block.
        place: the last file name in the text before the block; None where there is none.
        text: what is in it.
    """

    kind: str
    place: str | None
    text: str


class Page:
    """A page, with its names replaced by those of a test.

    Args:
        path: the page.
        names: what stands in the page, and what stands for it here; the first that fits.
        section: the heading of the one section that is looked at; all of the page without it.
    """

    def __init__(self, path, names, section=None):
        text = path.read_text("utf-8")
        if section:
            text = re.split(rf"^#+ {re.escape(section)}$", text, flags=re.MULTILINE)[1]
            text = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0]
        if names:
            pattern = re.compile("|".join(map(re.escape, names)))
            text = pattern.sub(lambda found: str(names[found[0]]), text)
        self.text = text
        self.steps = []
        self._blocks = []
        read = 0
        for block in _BLOCK.finditer(text):
            _, kind, inside = block.groups()
            before, read = text[read : block.start()], block.end()
            inside = textwrap.dedent(inside)
            self._blocks.append((_heading(text[: block.start()]), kind, inside))
            if kind:
                places = _PLACE.findall(before)
                self.steps.append(File(kind, places[-1] if places else None, inside))
            else:
                self.steps += _commands(inside)

    def file(self, kind):
        """Return the file of a kind."""
        (text,) = [step.text for step in self.steps if isinstance(step, File) and step.kind == kind]
        return text

    def under(self, heading, kind=""):
        """Return the blocks of a kind in a section, in their order."""
        return [text for its, its_kind, text in self._blocks if (its, its_kind) == (heading, kind)]

    @property
    def commands(self):
        """The commands in their order."""
        return [step for step in self.steps if isinstance(step, Command)]


def _heading(text):
    """Return the heading of the section that a text ends in."""
    return [None, *re.findall(r"^## (.*)$", text, re.MULTILINE)][-1]


def _commands(text):
    """Return the commands of a block, with what each writes."""
    found = []
    marked = any(line.startswith("$ ") for line in text.splitlines())
    for line in re.sub(r"\\\n *", "", text).splitlines():
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ")))
        elif marked:
            found[-1].said.append(line.rstrip())
        elif line.strip() and not line.startswith("#"):
            found.append(Command(line))
    return found
