"""Transcripts: what is typed, and what comes out.

    # a comment
    @ server pending grant     start the server: what its policy says, in order (see DECISIONS)
    @ rollover                 put the server's next CA in force
    @ offer AES SHA-256        let the server say that it can do this (GetCACaps)
    @ env NAME=value           set a variable for the commands that follow
    @ stdin text               what is piped into the next command
    @ file NAME text           make a file
    $ scep get caps $URL       a command; other commands than scep are the shell's
    | AES                      a line of its stdout
    ! error: *                 a line of its stderr
    ? 1                        its exit status, when it is not 0

`*` stands for anything. $URL and $SHA256 are the server's, $WRONG is a fingerprint of nobody.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field


@dataclass
class Step:
    """A directive, or a command with what is expected of it."""

    kind: str
    text: str
    line: int
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    status: int = 0


def read(text):
    """Cut a transcript into steps."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("# "):
            continue
        mark, rest = line[0], line[2:]
        if mark in "$@":
            steps.append(Step(mark, rest, number))
        elif mark == "|":
            steps[-1].out.append(rest)
        elif mark == "!":
            steps[-1].err.append(rest)
        elif mark == "?":
            steps[-1].status = int(rest)
        else:
            raise ValueError(f"line {number}: {line!r}")
    return steps


def run(step, scep, variables):
    """Run a command and fail unless it does what the transcript says."""

    def fill(text):
        return re.sub(r"\$([A-Z0-9]+)", lambda match: variables[match[1]], text)

    text = fill(step.text)
    if text.startswith("scep "):
        status, out, err = scep(*shlex.split(text)[1:])
    else:
        done = subprocess.run(text, shell=True, capture_output=True, text=True, check=False)
        status, out, err = done.returncode, done.stdout, done.stderr
    shown = f"line {step.line}: $ {text}\n{out}--- stderr\n{err}--- status {status}"
    assert status == step.status, shown
    assert _matches([fill(line) for line in step.out], out), shown
    assert _matches([fill(line) for line in step.err], err), shown


def _matches(expected, actual):
    pattern = "".join(re.escape(line).replace(r"\*", ".*") + "\n" for line in expected)
    return re.fullmatch(pattern, actual) is not None
