"""Break the code, once for each row that says MUST, and see that the tests of the row fail.

    python tests/rfc8894/mutants.py [ROW ...]

It works in a copy of the tree and takes some minutes; nothing but the list (mutants.toml) is part
of the test run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/conformance.md"
_LINK = re.compile(r"\(\[(\w+)\]\(\.\./([^)]+)\)\)")


def mutants() -> list[dict]:
    """Return the list."""
    return tomllib.loads(HERE.joinpath("mutants.toml").read_text("utf-8"))["mutant"]


def tests_of(row: str) -> list[str]:
    """Return the tests of a row, as the page names them; those without a server come first."""
    (line,) = [one for one in PAGE.read_text("utf-8").splitlines() if one.startswith(f"| {row} |")]
    found = [f"{file}::{test}" for test, file in _LINK.findall(line)]
    return sorted(found, key=lambda test: ("interop" in test, "server/" in test, test))


def outcome(copy: Path, mutant: dict, row: str) -> str:
    """Say what became of one mutant: killed by which test, or how it lived."""
    path = copy / "src/scepkit" / mutant["file"]
    text = path.read_text("utf-8")
    if mutant["old"] not in text:
        return "DOES NOT APPLY"
    path.write_text(text.replace(mutant["old"], mutant["new"]), "utf-8")
    try:
        return _killer(copy, tests_of(row))
    finally:
        path.write_text(text, "utf-8")


def _killer(copy: Path, tests: list[str]) -> str:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    failed = re.findall(r"^(?:FAILED|ERROR) \S*::(\S+)", done.stdout, re.MULTILINE)
    if failed:
        return f"killed by {failed[0]}"
    return "SURVIVED" if done.returncode == 0 else f"NOT RUN: {done.stdout[-300:]}{done.stderr}"


def main() -> int:
    """Break what is asked for, or everything."""
    wanted = set(sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in ("src", "tests", "docs", "bench", "examples"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        lived = 0
        for mutant in mutants():
            for row in mutant["rows"]:
                if wanted and row not in wanted:
                    continue
                what = outcome(copy, mutant, row)
                lived += not what.startswith("killed")
                sys.stdout.write(f"{row:14} {mutant['file']:28} {what}\n")
                sys.stdout.flush()
    return 1 if lived else 0


if __name__ == "__main__":
    raise SystemExit(main())
