"""Commands of `scep` given by another user than the one who runs the tests, who has to be root.

To root nothing is forbidden, so whatever is about permissions has to be tried by somebody else. One
process imports everything; each command is a fork of it, which may become another user for good.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

import scepkit

NOBODY = 65534  # without a right to anything
NAMELESS = 54321  # in no list of users

_SOURCE = [str(Path(module.__file__).parents[1]) for module in (scepkit, sqlalchemy)]

_SERVER = """
import contextlib, io, json, os, signal, sys
from scepkit.cli import app, main
import scepkit.server.run, scepkit.server.endpoints.assembly
from scepkit.keys import pem as keys

scepkit.server.run.serve = lambda home, listener, hang_up, announce, *_: announce()
# Making one is slow.
rsa = keys.generate("rsa:2048")
keys._GENERATORS["rsa:2048"] = lambda: rsa

def run(asked):
    if asked["uid"] is not None:
        os.setgroups([]); os.setresgid(*3 * [asked["uid"]]); os.setresuid(*3 * [asked["uid"]])
    signal.alarm(60)
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(asked["arguments"])
    return [status, out.getvalue(), err.getvalue(), [*os.getresuid(), *os.getresgid()]]

for line in sys.stdin:
    asked = json.loads(line)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = run(asked)
        except BaseException as error:
            answer = [-1, "", repr(error), []]
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        said = answer.read() or json.dumps([-1, "", "it hangs", []])
    os.waitpid(child, 0)
    print(said, flush=True)
"""


@dataclass(frozen=True)
class Done:
    """A command that came to its end; -1 where it did not.

    Attributes:
        ids: real, effective and saved user and group at the end.
    """

    status: int
    out: str
    err: str
    ids: list[int]


class Commands:
    """Runs `scep`, as root or as somebody else; `scep serve` ends where it would begin to serve.

    Args:
        within: a command that runs the one which follows it, in a place of its own.
    """

    def __init__(self, *within: str) -> None:
        self._process = subprocess.Popen(
            [*within, _python(), "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, *arguments, uid: int | None = None, cwd="/", **env: str) -> Done:
        """Run a command to its end.

        Args:
            arguments: of `scep`.
            uid: who gives it; root unless given.
            cwd: the directory that it is given in.
            env: variables of its environment.
        """
        asked = {"arguments": [*map(str, arguments)], "uid": uid, "cwd": str(cwd), "env": env}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def python(*arguments, first="", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that everybody may read, as root.

    Args:
        arguments: of it.
        first: where it looks first for what it imports.
        env: variables of its environment.
    """
    return subprocess.run(
        [_python(), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=_environment(first) | env,
    )


def _environment(first="") -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(first), *_SOURCE]))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCEP_", "SUDO_"))}
    return kept | {"NO_COLOR": "1", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def _python() -> str:
    """Return a Python that everybody may read; that of the tests may be in root's home."""
    names = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
    for name in names:
        try:
            tried = subprocess.run(
                [name, "-c", "import scepkit.cli, sqlalchemy"],
                capture_output=True,
                check=False,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(_SOURCE)},
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return name
    pytest.skip("other users may not read this Python, or what it imports")


def needs_root() -> None:
    """Skip a test that nobody but root can run."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a command as somebody else")
