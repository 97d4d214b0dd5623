"""Foreign programs: where they are, how they are run, and how those that stay are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass

import pytest

from interop import building
from waiting import PATIENCE

APT = (
    "apt-get install --no-install-recommends openssl gnutls-bin scep strongswan-pki"
    " libstrongswan-extra-plugins libstrongswan-standard-plugins certmonger dbus bubblewrap curl"
    " nginx-light iproute2 sqlite3 sudo systemd haproxy freeradius eapoltest hostapd"
    " wpasupplicant charon-systemd strongswan-swanctl"
)

# certmonger keeps its helpers out of PATH, in Debian's place or Fedora's; nginx is out of a user's.
_HELPERS = ("/usr/lib/certmonger", "/usr/libexec/certmonger", "/usr/sbin")


def require(*names):
    """Return the paths of programs; without them the test is skipped, and fails where CI runs."""
    path = os.pathsep.join([os.environ["PATH"], *_HELPERS])
    found = [shutil.which(name, path=path) for name in names]
    if None in found:
        missing = ", ".join(name for name, where in zip(names, found, strict=True) if not where)
        do_without(f"not installed: {missing}; on Debian: {APT}")
    return found


def built(peer):
    """Return the directory of a peer that `make peers` built; without it as `require` does."""
    directory = building.place(peer)
    if not directory.exists():
        do_without(f"not built: {peer.id}; make peers does it, with {peer.where}")
    return directory


def inside(peer, *shared):
    """Return a function from a program's name to the command that runs it in a peer's tree.

    The tree is its /usr and /etc. It sees the machine's /tmp, the network and what is shared.

    Args:
        peer: a DebianPeer.
        shared: directories that it may write to.
    """
    root = built(peer) / "root"
    (bwrap,) = require("bwrap")
    links = [("--symlink", f"usr/{name}", f"/{name}") for name in ("bin", "sbin", "lib", "lib64")]
    users = [("--ro-bind", f"/etc/{name}", f"/etc/{name}") for name in ("passwd", "group")]
    options = [
        *("--ro-bind", root / "usr", "/usr", "--ro-bind", root / "etc", "/etc"),
        *(part for option in (*links, *users) for part in option),
        *("--proc", "/proc", "--dev", "/dev", "--bind", "/tmp", "/tmp", "--die-with-parent"),
        *(part for path in shared for part in ("--bind", path, path)),
    ]
    return lambda name: (bwrap, *options, name)


def expect(version, said):
    """Go on only where a program is of the version that the compatibility page names."""
    if version not in said:
        do_without(f"not {version}, which docs/compatibility.md names: {said[:80]!r}")


def do_without(reason):
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def environment(home, **more):
    """Return an environment that holds nothing of the user's but the PATH."""
    home = str(home)
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    fixed = {"HOME": home, "XDG_CONFIG_HOME": home, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    return kept | fixed | more


@dataclass(frozen=True)
class Done:
    """What a program that ended left behind."""

    status: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err


def run(*command, cwd, **variables):
    """Run a program to its end, in an environment of its own."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(cwd, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=PATIENCE,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Daemon:
    """A program that stays until `stop`, or as long as a `with` block does.

    What it says on stderr is in `log`; its stdin is a pipe that `stop` closes.

    Args:
        name: for messages.
        command: the program and its arguments.
        directory: where its home and its log are.
        ends_by: the signal that ends it; None when it ends with its stdin.
    """

    running: list[Daemon] = []  # noqa: RUF012 - one list for all of them is the point

    def __init__(self, name, command, directory, *, ends_by=signal.SIGTERM):
        self.name = name
        self.log = directory / "stderr.log"
        self._ends_by = ends_by
        self._mark = 0
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                env=environment(directory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                start_new_session=True,
            )
        self.running.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def line(self):
        """Return the next line of its stdout."""
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            status = self.stop()
            pytest.fail(f"{self.name} ended with {status}:\n{self.said()}", pytrace=False)
        return line.rstrip("\n")

    def said(self):
        """Return its log."""
        return self.log.read_text(errors="replace")

    def mark(self):
        """Begin a new chapter of its log."""
        self._mark = len(self.said())

    def lately(self):
        """Return its log since `mark`."""
        return self.said()[self._mark :]

    def stop(self):
        """End it and return its exit status."""
        if self in self.running:
            self.running.remove(self)
        with self.process as process:
            process.stdin.close()
            if self._ends_by is not None:
                process.send_signal(self._ends_by)
            try:
                return process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                pytest.fail(f"{self.name} did not stop:\n{self.said()}", pytrace=False)
