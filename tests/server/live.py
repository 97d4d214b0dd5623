"""`scep serve` as a process of its own, and devices that talk to it over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

import forge
import warm
from enrolment import devices
from scepkit.cli import main
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates
from waiting import PATIENCE, wait_until

SCEP = [sys.executable, "-m", "scepkit"]
PKI_OPERATION = "/scep?operation=PKIOperation"
PKI_MESSAGE = {"Content-Type": "application/x-pki-message"}


def environment(**more):
    """Return the environment without what would change the server's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCEP_", "PROMETHEUS_"))}
    return kept | {"NO_COLOR": "1", "COLUMNS": "80"} | more


def scep(*arguments, **more):
    """Run `scep` to its end."""
    return warm.run(arguments, env=environment(**more), timeout=PATIENCE)


def scep_here(*arguments):
    """Run `scep` in this process, which is quicker by all that a new one would load."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: int = 11

    @property
    def text(self):
        return self.body.decode("ascii")


def read_answer(connection: socket.socket, method="GET") -> Answer:
    """Read one answer from a socket."""
    reading = http.client.HTTPResponse(connection, method=method)
    reading.begin()
    with contextlib.closing(reading):
        body = reading.read()
    names = [name.lower() for name, _ in reading.getheaders()]
    assert len(set(names)) == len(names), names
    headers = {name.lower(): value for name, value in reading.getheaders()}
    return Answer(reading.status, headers, body, reading.version)


class Server:
    """A server process.

    Args:
        directory: its data directory.
        arguments: further options of `scep serve`.
        terminal: a file descriptor for its stderr, in place of a file; -1 for none at all.
        within: a command that runs the one which follows it, in a place of its own.
        customize: a program that runs in it first.
        env: variables of its environment.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        terminal: int | None = None,
        within: Sequence[str] = (),
        customize: Path | None = None,
        **env: str,
    ) -> None:
        self.directory = directory
        self.log_path = directory.with_name(f"{directory.name}.log")
        words = ["serve", "--dir", str(directory), "--port", "0", *map(str, arguments)]
        with self.log_path.open("ab") as log:
            if within or terminal == -1:
                self.process = _started(words, within, log, terminal, environment(**env))
            else:
                self.process = warm.start(
                    words,
                    stderr=log if terminal is None else terminal,
                    env=environment(**env),
                    start_new_session=True,
                    customize=customize,
                )
        self._ra = None
        # Whatever hangs is killed, so that reading its output comes to an end.
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        try:
            self.said = [self.process.stdout.readline() for _ in range(2)]
            found = re.fullmatch(r"URL +(\S+?(?::(\d+))?/scep)\n", self.said[0])
            assert found, (self.said, self.log)
        except BaseException:
            self.kill()
            raise
        finally:
            watchdog.cancel()
        self.url, self.port = found[1], int(found[2] or 0)
        self.fingerprint = self.said[1].split()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.kill()

    # its life

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, number=signal.SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it and all that it started, also when it is gone itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    @property
    def workers(self) -> list[int]:
        """The processes that serve; another one forks them, which is its only child."""
        return [pid for pid in self.forked if _listens(pid)]

    @property
    def committer(self) -> int | None:
        """The process that commits for several workers, once it is there."""
        return next((pid for pid in self.forked if not _listens(pid)), None)

    @property
    def forked(self) -> list[int]:
        """All processes that are forked to work."""
        return [pid for forks in children_of(self.pid) for pid in children_of(forks)]

    # its log

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def lines(self) -> list[dict]:
        """The JSON lines of the log."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def logged(self, **wanted) -> dict:
        """Wait for the first line with these values; the answer is out before its line."""

        def find():
            found = [one for one in self.lines if wanted.items() <= one.items()]
            return found[0] if found else None

        return wait_until(find, f"a log line with {wanted}")

    # talking to it

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def raw(self, *pieces: bytes, method="GET") -> Answer:
        """Send bytes over a connection of their own and read one answer."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_answer(connection, method)

    def ask(self, target="/scep", method="GET", body=None, headers=None, **more) -> Answer:
        """Send a request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {}, **more)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read(), response.version)

    def post(self, message: bytes, path="/scep") -> Answer:
        return self.ask(f"{path}?operation=PKIOperation", "POST", message, PKI_MESSAGE)

    @property
    def ra(self) -> Certificate:
        """The certificate to encrypt to, from GetCACert, as it was when first asked for."""
        if self._ra is None:
            self._ra = self.ra_at("/scep")
        return self._ra

    def shown_at(self, path="/scep", message="") -> list[x509.Certificate]:
        """Return what GetCACert shows at this moment."""
        return certificates(self.ask(f"{path}?operation=GetCACert{message}"))

    def ra_at(self, path: str) -> Certificate:
        """Return the certificate to encrypt to at a path, at this moment."""
        return Certificate.of(self.shown_at(path)[0])

    def read(self, answer: Answer, signer=None, ra: Certificate | None = None) -> devices.Reply:
        """Read the CertRep in an answer, of the default endpoint's RA or of another one."""
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/x-pki-message"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-length"] == str(len(answer.body))
        _, signed = forge.signing_time_of(answer.body)
        assert abs(signed - datetime.now(UTC)) < timedelta(minutes=5)
        return devices.read(answer.body, ra or self.ra, signer)

    def enrol(self, challenge, **how) -> devices.Reply:
        """Enrol over POST."""
        message = devices.pkcs_req(challenge, to=self.ra, **how)
        return self.read(self.post(message), how.get("signer"))


def _started(words, within, log, terminal, env):
    command = [*SCEP, *words]
    if terminal == -1:
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    command = [*within, *command]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log if terminal in {None, -1} else terminal,
        text=True,
        env=env,
        start_new_session=True,
    )


def children_of(pid) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _listens(pid: int) -> bool:
    """Say whether a process holds a TCP socket that listens."""
    listening = {
        f"socket:[{line.split()[9]}]"
        for file in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    held = set()
    with contextlib.suppress(OSError):
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                held.add(str(one.readlink()))
    return bool(held & listening)


def is_running(pid: int) -> bool:
    """Say whether a process is there and not only its exit status."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def certificates(answer: Answer) -> list[x509.Certificate]:
    """Return what is in the answer to GetCACert."""
    return [one.x509() for one in ca_certificates.parse(answer.body)]
