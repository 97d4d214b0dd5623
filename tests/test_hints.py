"""Words of the command line stand in `scepkit.cli` alone: the library has other users, too."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import scepkit
from scepkit.cli import failure
from scepkit.errors import Hint

SOURCE = Path(scepkit.__file__).parent
NEUTRAL = ("errors.py", "protocol", "keys", "store", "ca", "operations", "enrolment", "client")
# `hostname --fqdn` is a command of the system.
COMMANDS = "admin|agent|enroll|fleet|get|renew|revoke|serve|status"
WORDS = re.compile(rf"\bscep ({COMMANDS})\b|(?<!hostname )(?<![-\w])--[a-z]")


def files():
    for name in NEUTRAL:
        path = SOURCE / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def texts(tree):
    """Return the strings of a program, without docstrings."""
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_no_command_and_no_option_is_named():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in files()
        for line, text in texts(ast.parse(path.read_text("utf-8")))
        if WORDS.search(text)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["run scep enroll again", "give --key", "`--key`"])
def test_what_would_be_found(text):
    assert WORDS.search(text)


def test_the_command_line_has_words_for_hints_alone():
    """A hint that is no more would leave its words behind."""
    assert set(failure._COMMANDS) <= {str(one) for one in Hint}
