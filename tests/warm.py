"""`scep` as a process that is forked from one in which everything is loaded already.

It is a process like any other, with its own memory, descriptors, signals and end: only what Python
does before `main` is not done again, which takes longer than most commands.

What acts on Python's own start cannot be had so: tests of that start `scep` themselves.

    test ── nursery ─┬─ scep serve
                     └─ scep renew
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from scepkit.keys import pem

_LOADED = (
    "alembic.command",
    "scepkit.cli",
    "scepkit.cli.admin.commands",
    "scepkit.client.aio",
    "scepkit.client.agent",
    "scepkit.client.enroller",
    "scepkit.client.fleet",
    "scepkit.client.renewer",
    "scepkit.client.revoker",
    # Not the application: prometheus_client looks at the environment when it is imported.
    "scepkit.server.run",
    "scepkit.store.schema",
)
# Variables that libraries and Python read once, when they are loaded.
_READ_ONCE = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "OPENSSL_", "SSL_", "TZ", "PROMETHEUS_")

_CUSTOMIZED = """\
import runpy, sys
from scepkit.cli import main
runpy.run_path(sys.argv.pop(1))
sys.exit(main())
"""

_OURS = dict(os.environ)  # before any test changed it

_LENGTH = struct.Struct("!I")
_NUMBER = struct.Struct("!i")


def start(
    words: Sequence[object],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: object = subprocess.PIPE,
    start_new_session: bool = False,
    customize: Path | None = None,
) -> Started | subprocess.Popen[str]:
    """Start `scep`, with nothing on its stdin.

    Args:
        words: its command line.
        env: its environment. A variable that is read once makes it a process of the usual kind.
        cwd: where it runs; None: here.
        stdout: as `subprocess.Popen` has it: PIPE, or a file.
        stderr: the same.
        start_new_session: whether it and its children are a group of their own.
        customize: a program that runs in it first.
    """
    words = [str(one) for one in words]
    if _read_once(env) != _read_once(_OURS) or sys.platform != "linux":
        before = ["-c", _CUSTOMIZED, str(customize)] if customize else ["-m", "scepkit"]
        return subprocess.Popen(
            [sys.executable, *before, *words],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
            text=True,
        )
    asked = {
        "words": words,
        "env": dict(env),
        "cwd": str(cwd or Path.cwd()),
        "session": start_new_session,
        "customize": customize and str(customize),
        # What this process has read is not checked again for the primes of its keys.
        "sound": [one.hex() for one in pem.sound_files()],
    }
    return Started(_nursery(), asked, stdout, stderr)


def run(
    words: Sequence[object], *, timeout: float | None = None, **how: object
) -> subprocess.CompletedProcess[str]:
    """Run `scep` to its end.

    Args:
        words: its command line.
        timeout: seconds after which it is killed.
        how: see `start`.

    Raises:
        subprocess.TimeoutExpired: it had not ended.
    """
    with start(words, **how) as running:
        try:
            out, err = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return subprocess.CompletedProcess(words, running.returncode, out, err)


def _read_once(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_ONCE)}


class Started:
    """What `subprocess.Popen` is for other programs: a `scep` that was forked.

    Attributes:
        pid: its number.
        returncode: its exit status, or the negative number of the signal that ended it; None until
            somebody has asked for it.
        stdout: what it writes, if that was asked for.
        stderr: the same.
    """

    stdin = None

    def __init__(
        self, nursery: _Nursery, asked: dict[str, object], stdout: object, stderr: object
    ) -> None:
        self.args = asked["words"]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        with contextlib.ExitStack() as given:
            self.stdout, out = _output(stdout, given)
            self.stderr, err = _output(stderr, given)
            self._word, theirs = socket.socketpair()
            given.enter_context(theirs)
            nursery.ask(asked, [out, err, theirs.fileno()])
        self.pid = self._hear()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._close()
        self.wait()

    def _close(self) -> None:
        for one in (self.stdout, self.stderr):
            if one:
                one.close()

    def _hear(self) -> int:
        message = self._word.recv(_NUMBER.size, socket.MSG_WAITALL)
        if len(message) < _NUMBER.size:
            raise ConnectionError("the process that forks is gone")
        return _NUMBER.unpack(message)[0]

    def poll(self) -> int | None:
        """Return the exit status if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when it has ended.

        Args:
            timeout: seconds after which to give up.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        with self._lock:
            if self.returncode is None:
                if not select.select([self._word], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                self.returncode = self._hear()
                self._word.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """Read all that it writes, wait for its end, and return stdout and stderr.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        end = None if timeout is None else time.monotonic() + timeout
        said = {}
        readers = [
            threading.Thread(target=lambda n=n, one=one: said.update({n: one.read()}), daemon=True)
            for n, one in enumerate((self.stdout, self.stderr))
            if one and not one.closed
        ]
        for one in readers:
            one.start()
        for one in readers:
            one.join(None if end is None else max(0, end - time.monotonic()))
            if one.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if end is None else max(0, end - time.monotonic()))
        self._close()
        return said.get(0), said.get(1)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _output(where: object, given: contextlib.ExitStack):
    """Return the file to read from, if any, and the descriptor to write to."""
    if where is None or where == subprocess.PIPE:
        reading, writing = os.pipe()
        given.callback(os.close, writing)
        return os.fdopen(reading, encoding="utf-8"), writing
    return None, where if isinstance(where, int) else where.fileno()


# --- the process that forks -----------------------------------------------------------------------


class _Nursery:
    """The process that forks, for one process of the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
                env=_OURS,
            )
        atexit.register(self.close)

    def ask(self, asked: dict[str, object], descriptors: list[int]) -> None:
        text = json.dumps(asked).encode()
        with self._lock:
            socket.send_fds(self._channel, [_LENGTH.pack(len(text))], descriptors)
            self._channel.sendall(text)

    def close(self) -> None:
        self._channel.close()
        self._process.wait()


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


class _Forks:
    """The loop of the process that forks."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._words: dict[int, socket.socket] = {}  # by process
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def next(self) -> dict | None:
        """Return what is asked of this process, when it is a new one; None at the very end."""
        while True:
            ready, _, _ = select.select([self._channel, self._reading], [], [])
            if self._reading in ready:
                os.read(self._reading, 512)
            self._tell_ends()
            if self._channel in ready:
                head, descriptors, _, _ = socket.recv_fds(self._channel, _LENGTH.size, 3)
                if not head:
                    return None
                text = self._channel.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
                if self._fork(descriptors):
                    return json.loads(text)

    def _tell_ends(self) -> None:
        while self._words:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._words.pop(pid) as word, contextlib.suppress(OSError):
                word.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _fork(self, descriptors: list[int]) -> bool:
        """Return whether this is the new process."""
        out, err, told = descriptors
        word = socket.socket(fileno=told)
        pid = os.fork()
        if pid:
            os.close(out)
            os.close(err)
            self._words[pid] = word
            word.sendall(_NUMBER.pack(pid))
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(out, 1)
        os.dup2(err, 2)
        for one in (out, err, self._reading, self._writing):
            os.close(one)
        for one in (word, self._channel, *self._words.values()):
            one.close()
        return True


def _become(asked: dict) -> None:
    """Have this process be as one that was started so."""
    if asked["session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["scep", *asked["words"]]
    sys.orig_argv = [sys.executable, "-m", "scepkit", *asked["words"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    pem.take_as_sound(frozenset(map(bytes.fromhex, asked["sound"])))
    if asked["customize"]:
        runpy.run_path(asked["customize"])


def _end(status: int) -> NoReturn:
    """End this process as Python does, but do not take apart what the parent has loaded."""
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _main(descriptor: int) -> int:
    for name in _LOADED:
        importlib.import_module(name)
    from scepkit.cli import app

    # Puts all commands together.
    _ = app._command().commands["admin"].commands
    gc.collect()
    gc.freeze()
    asked = _Forks(socket.socket(fileno=descriptor)).next()
    if asked is None:
        return 0
    _become(asked)
    from scepkit.cli import main

    status = main(asked["words"])
    _end(status)


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1])))
