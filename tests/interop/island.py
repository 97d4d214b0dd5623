"""A network of its own for programs that need the name of an interface, a port or a place in /run.

It needs root and network namespaces. What these are not there for is skipped, where CI runs, too:
no package brings them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interop.programs import require, run
from waiting import wait_until

# Whatever ends the tests ends what they started.
_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class Island:
    """Interfaces and mounts that nobody else sees, until the process that holds them ends.

    Args:
        start: the fixture that starts a program and stops it.
        directory: where commands are run, and start's log is.
        script: shell commands that make what the island has besides an empty /run.
    """

    def __init__(self, start, directory, script):
        require("setpriv", "unshare", "nsenter", "ip", "mount")
        if os.geteuid():
            pytest.skip("a network of its own takes root")
        self._start = start
        self.directory = directory
        setup = f"set -e; mount -t tmpfs tmpfs /run; ip link set lo up; {script}"
        words = ("unshare", "--net", "--mount", "sh", "-c", f"{setup}; exec sleep infinity")
        holder = start(*_WITH_US, *words)
        self.pid = holder.pid

        def up():
            if holder.poll() is not None:
                said = (directory / "log").read_text(errors="replace")
                pytest.skip(f"no network of its own could be made: {said[-400:]}")
            return Path(f"/proc/{self.pid}/comm").read_text() == "sleep\n"

        wait_until(up, "a network of its own")
        self.inside = ("nsenter", "--net", "--mount", "--target", str(self.pid))

    def start(self, *words):
        """Start a program there."""
        return self._start(*_WITH_US, *self.inside, *words)

    def tried(self, *words):
        """Run a command there, and return all that came of it."""
        return run(*self.inside, *words, cwd=self.directory)

    def run(self, *words):
        """Run a command there, and return its output."""
        done = self.tried(*words)
        assert done.status == 0, f"{words}\n{done.text}"
        return done.out
