"""A terminal in which the commands of a page are typed, and a second one for `scep serve`."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
from pathlib import Path

from waiting import PATIENCE, wait_until

_QUESTION = re.compile(r"\[y/N\]: \Z")
_NOBODY = "\x04"  # Ctrl-D: the end of what is typed

# What a shell keeps from one command to the next: its variables and its directory.
_TYPE = """
set -o pipefail
if [ -e "$0.state" ]; then . "$0.state"; cd "$(cat "$0.place")"; fi
eval "$1"
status=$?
export -p >"$0.state"
pwd >"$0.place"
exit $status
"""
_SERVE = """
if [ -e "$0.state" ]; then . "$0.state"; cd "$(cat "$0.place")"; fi
eval "exec $1"
"""


class Terminal:
    """A shell in which one command after another is typed.

    Args:
        directory: where it begins.
        kept: a path, beside which the shell's state and the server's output are kept.
        environment: its variables.
        outside: the command that leads into the system where it is, such as a chroot.
        inside: `kept`, as that system names it.
        after: is called with each command after it.
    """

    def __init__(
        self, directory, kept, environment, *, outside=(), inside=None, after=lambda _command: None
    ):
        self._directory = directory
        self._environment = environment
        self._after = after
        self._output = kept.with_name(kept.name + ".serve")
        self._outside = list(outside)
        self._kept = str(inside or kept)
        for end in (".state", ".place"):  # of a terminal that was here before
            kept.with_name(kept.name + end).unlink(missing_ok=True)
        self._server = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def type(self, text, answers=()):
        """Type a command; return its exit status and all that it writes.

        `scep serve` stays, in a terminal of its own, once it has said that it is ready; one that
        runs already is stopped before.

        Args:
            text: the command.
            answers: what is typed at its questions, one after the other; at any more, nothing.
        """
        if text.startswith("scep serve"):
            return self._serve(text)
        ours, its = pty.openpty()
        termios.tcsetwinsize(
            its, (50, 500)
        )  # as COLUMNS says: wide enough for every line of a page
        process = subprocess.Popen(
            [*self._outside, "bash", "-c", _TYPE, self._kept, text],
            **self._how(stdin=its, stdout=its),
        )
        os.close(its)
        with os.fdopen(ours, "r+b", buffering=0) as screen:
            shown = _talk(screen, [*answers])
        status = process.wait(PATIENCE)
        if status == 0:
            self._after(text)
        return status, shown

    def _serve(self, text):
        self.stop()
        with self._output.open("wb") as out:
            self._server = subprocess.Popen(
                [*self._outside, "bash", "-c", _SERVE, self._kept, text],
                **self._how(stdin=subprocess.DEVNULL, stdout=out),
            )
        wait_until(lambda: self._server.poll() is not None or self._ready(), text)
        return self._server.poll() or 0, self._output.read_text("utf-8")

    def _ready(self):
        return "fingerprint  sha256:" in self._output.read_text("utf-8")

    def _how(self, **more):
        return more | {
            "cwd": self._directory,
            "env": self._environment | {"TERM": "dumb", "COLUMNS": "500"},
            "stderr": subprocess.STDOUT,
        }

    def _server_process(self):
        """Return the number of the server's process; what leads outside takes no SIGTERM itself."""
        number = self._server.pid
        if self._outside:
            number = Path(f"/proc/{number}/task/{number}/children").read_text().split()[0]
        return int(number)

    def stop(self):
        """Stop the server, as Ctrl-C in its terminal does."""
        if self._server and self._server.poll() is None:
            os.kill(self._server_process(), signal.SIGTERM)
            self._server.wait(PATIENCE)
        self._server = None


def _talk(screen, answers):
    """Read a terminal to its end, and answer the questions on it."""
    shown, answered = b"", 0
    while True:
        assert select.select([screen], [], [], PATIENCE)[0], shown.decode("utf-8", "replace")
        more = b""
        with contextlib.suppress(OSError):  # what Linux says when everybody has left
            more = screen.read(4096)
        if not more:
            return shown.decode("utf-8").replace("\r\n", "\n")
        shown += more
        if len(shown) > answered and _QUESTION.search(shown.decode("utf-8", "replace")):
            screen.write((f"{answers.pop(0)}\n" if answers else _NOBODY).encode())
            answered = len(shown)
