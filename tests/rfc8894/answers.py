"""What is said of each row of the checklist: by tests, and by answers.toml beside this file.

A test says what the program does and proves it; the data file adds what no test can say: the
modules that do it, why a row is left undone or needs no proof, and what part of a row is not done.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("answers.toml")
_ROOT = Path(__file__).parents[2]
_PACKAGE = "src/scepkit"

PREFIXES = ("S-", "P-", "L-", "A-")
"""The rows that have to be answered; E- and N- are for information."""


@dataclass(frozen=True)
class Proof:
    """One test that proves a row: its node id without parameters, and its docstring."""

    test: str
    statement: str


@dataclass(frozen=True)
class Answers:
    """`modules`, `reasons` and `remarks`, all by the id of the row."""

    modules: Mapping[str, Sequence[str]]
    reasons: Mapping[str, str]
    remarks: Mapping[str, str] = field(default_factory=dict)


def parse(toml: str) -> Answers:
    """Read the data file; a module is named as below scepkit: `protocol.scep.messages`."""
    tables = tomllib.loads(toml)
    return Answers(*(tables.get(name, {}) for name in ("modules", "reasons", "remarks")))


@cache
def answers() -> Answers:
    """Return what answers.toml says."""
    return parse(_SOURCE.read_text("utf-8"))


def path(module: str) -> str:
    """Return the file of a module, or of a package, from the root of the repository."""
    place = f"{_PACKAGE}/{module.replace('.', '/')}"
    return f"{place}/__init__.py" if (_ROOT / place).is_dir() else f"{place}.py"


def faults(ids: Sequence[str], given: Answers, proofs: Mapping[str, Sequence[Proof]]) -> list[str]:
    """Say what is missing, and what contradicts itself, before a page is written of it."""
    found = []
    for one in ids:
        is_proved, modules = bool(proofs.get(one)), given.modules.get(one, ())
        if not is_proved and one not in given.reasons:
            found.append(f"{one} has neither a test nor a reason")
        if is_proved and one in given.reasons:
            found.append(f"{one} has a test, so it needs no reason")
        if not is_proved and one in given.remarks:
            found.append(f"{one} has a remark, but nothing that it is a remark on")
        if not modules and one not in given.reasons:
            found.append(f"{one} has no module")
        found.extend(
            f"{one} names the module {module}, which is not there"
            for module in modules
            if not (_ROOT / path(module)).is_file()
        )
    unknown = {*given.modules, *given.reasons, *given.remarks}.difference(ids)
    return found + [f"{one} is answered, but not in the checklist" for one in sorted(unknown)]
