"""How-to pages that are run: the files in them are written, the commands in them are typed.

A fenced block with a language is a file, whose place the text before it tells; one without is what
is typed after `$` and what comes out, where `…` stands for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import dedent

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^## (.*)$", re.MULTILINE)


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


class Page:
    """A page, with its names replaced by those of a test.

    Args:
        path: the page.
        names: what stands in the page, and what stands for it here; the first that fits.
    """

    def __init__(self, path, names):
        pattern = re.compile("|".join(map(re.escape, names)) or "(?!)")

        def blocks(page):
            return [
                (kind, pattern.sub(lambda found: str(names[found[0]]), dedent(text)))
                for _, kind, text in _BLOCK.findall(page)
            ]

        self.text = path.read_text("utf-8")
        _, *sections = _SECTION.split(self.text)
        self._blocks = blocks(self.text)
        self._sections = {
            heading: blocks(section)
            for heading, section in zip(sections[::2], sections[1::2], strict=True)
        }

    def file(self, kind):
        """Return the file of a kind."""
        (text,) = [text for its_kind, text in self._blocks if its_kind == kind]
        return text

    def under(self, heading, kind=""):
        """Return the blocks of a kind in a section, in their order."""
        return [text for its_kind, text in self._sections[heading] if its_kind == kind]

    @property
    def commands(self):
        """The commands in their order."""
        found = []
        for kind, text in self._blocks:
            for line in [] if kind else text.splitlines():
                if line.startswith("$ "):
                    found.append(Command(line.removeprefix("$ ")))
                else:
                    found[-1].said.append(line.rstrip())
        return found
