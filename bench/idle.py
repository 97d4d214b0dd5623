"""What costs without a request: an idle server's memory, and the start of the command line."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import watching
from servers import Sources

_STILL = 0.01
_LEAST, _MOST = 4, 40

IMPORTING = "import typer\n"
BARE = """
import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback()
def main() -> None:
    \"\"\"A program.\"\"\"


@app.command()
def enroll(url: str, out: str = typer.Option(..., help="A directory.")) -> None:
    \"\"\"Do something.\"\"\"


app()
"""
OURS = "import sys\nfrom scepkit.cli import main\nsys.exit(main())\n"
NAME = "`import typer`, and nothing else"


def settled(pid: int) -> int:
    """Return the memory of a process and its children once it stands still."""
    before = 0
    for number in range(_MOST):
        time.sleep(1)
        now = watching.proportional(pid)
        if number >= _LEAST and abs(now - before) < before * _STILL:
            return now
        before = now
    return before


def starts(sources: Sequence[Sources], scratch: Path, repeat: int) -> Iterator[dict[str, Any]]:
    """Measure the CPU time of `enroll --help`, in turns with programs that have nothing in them."""
    variables = dict(os.environ)
    programs = {
        NAME: (scratch / "importing.py", IMPORTING, variables),
        "a typer program with one command": (scratch / "bare.py", BARE, variables),
    }
    for one in sources:
        programs[one.name] = (scratch / "scep.py", OURS, one.environment())
    for file, text, _ in programs.values():
        file.write_text(text)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(repeat + 1):
        for name, (file, _, variables) in programs.items():
            spent = _cpu([sys.executable, str(file), "enroll", "--help"], variables)
            if number:  # the first one compiles
                seconds[name].append(spent)
    for name, all_of_it in seconds.items():
        # Whatever else the machine does only adds to it.
        least = min(all_of_it)
        yield {
            "program": name,
            "cpu": statistics.median(all_of_it),
            "least": least,
            "beyond": least - min(seconds[NAME]),
        }


def _cpu(command: Sequence[str], variables: dict[str, str]) -> float:
    """Run a program, and return the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
