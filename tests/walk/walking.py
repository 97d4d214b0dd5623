"""A page is walked: its files are written, its commands are typed, in their order."""

from __future__ import annotations

import re

from interop.pages import Command
from walk.shown import Shown

_WAITS = 3  # scep enroll: the CA wants to approve first
_ANSWER = re.compile(r"\[y/N\]: (.+)$")


def walk(page, terminal, directory, *, skipped=None, shown=None):
    """Walk a page; return its values.

    Args:
        page: the page.
        terminal: where its commands are typed.
        directory: the directory of the terminal, as this process sees it.
        skipped: the pattern of commands that are not for this machine.
        shown: the values of the page that this one goes on from.

    Raises:
        AssertionError: a command failed where the page shows no error, or its output is not what
            the page shows.
    """
    shown = Shown(shown)
    for step in page.steps:
        if isinstance(step, Command):
            if not (skipped and re.match(skipped, step.text)):
                _type(step, terminal, shown)
        elif step.place and step.kind != "text":
            _write(directory, step.place, shown.replaced(step.text))
    return shown


def _type(command, terminal, shown):
    text = shown.replaced(command.text)
    answers = [found[1] for line in command.said if (found := _ANSWER.search(line))]
    status, out = terminal.type(text, answers)
    fails = any(line.startswith("error:") for line in command.said)
    assert fails if status not in (0, _WAITS) else not fails, f"$ {text}\n{out}({status})"
    shown.compare(command.said, out)


def _write(directory, place, text):
    path = directory / ("scep-data/scep.toml" if place == "scep.toml" else place)
    if path.suffix == ".toml" and path.exists():
        text = settled(path.read_text("utf-8"), text)
    assert path.resolve().is_relative_to(directory.resolve()), f"{path} is not for a test"
    path.write_text(text, "utf-8")


def settled(settings, wanted):
    """Return settings with others put in, as somebody does who has the file in an editor.

    A key takes the place of its line, be it commented out or not; a section that is missing, and
    a key whose line is missing, come after what is there.
    """
    parts = _parts(settings)
    for section, lines in _parts(wanted).items():
        there = parts.setdefault(section, [section])
        for line in lines:
            if not (key := re.match(r"(\w+) *=", line)):
                continue
            of_the_key = [i for i, old in enumerate(there) if re.match(rf"(# )?{key[1]} *=", old)]
            if of_the_key:
                there[of_the_key[0]] = line
            else:
                there.append(line)
    return "\n".join(line for lines in parts.values() for line in lines) + "\n"


def _parts(text):
    """Return the lines of each section, its own name in front."""
    parts, section = {"": []}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip()
            parts.setdefault(section, [line])
        else:
            parts[section].append(line)
    return parts
