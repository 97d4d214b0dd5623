"""Our server as a process, and a tap on the wire between a client and a server."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import sys
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from interop.programs import Daemon, Done
from server.live import scep_here
from waiting import PATIENCE, wait_until

_SETTINGS = """\
port = 0
log = "json"

[endpoint.default]
legacy = {legacy}

[endpoint.manual]
approval = "manual"
legacy = {legacy}

[endpoint.lost]
revocation_passphrase = true
"""

SCEP = (sys.executable, "-m", "scepkit")


def fetch(url):
    """GET something without a proxy, and return the HTTP status and the body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(url, daemon):
    """Wait until a daemon answers SCEP at a URL."""

    def answers():
        if daemon.process.poll() is not None:
            pytest.fail(f"{daemon.name} ended: {daemon.said()}")
        try:
            return fetch(f"{url}?operation=GetCACaps")[0] == HTTPStatus.OK
        except OSError:
            return False

    wait_until(answers, f"{daemon.name} to answer")


class Server:
    """`scep serve` in a directory of its own, until `stop`.

    At `url` a challenge is enough, at `manual` a person decides as well.
    """

    def __init__(self, directory, layout, legacy):
        self.directory = directory / "data"
        self.directory.mkdir()
        allowed = json.dumps(legacy.split(",") if legacy else [])
        (self.directory / "scep.toml").write_text(_SETTINGS.format(legacy=allowed))
        command = [*SCEP, "serve", "--dir", self.directory, "--layout", layout]
        name = f"scep serve ({layout}{', ' * bool(legacy)}{legacy})"
        self._daemon = Daemon(name, command, directory)
        self._challenges = defaultdict(deque)
        self.url = self._said("URL")
        self.manual = f"{self.url}/manual"
        self.fingerprint = self._said("fingerprint")
        self.origin = self.url.removesuffix("/scep")
        self.ca = self.directory / "ca.pem"
        self.has_ra = layout != "single"
        self.recipient = self.directory / ("ra.pem" if self.has_ra else "ca.pem")
        self.recipient_key = self.recipient.with_name(f"{self.recipient.stem}-key.pem")

    def _said(self, what):
        line = self._daemon.line()
        name, _, value = line.partition(" ")
        if name != what:
            self._daemon.stop()
            pytest.fail(f"{self._daemon.name} said {line!r} instead of its {what}")
        return value.strip()

    def challenge(self, endpoint="default"):
        """Return a challenge that nobody had before."""
        if not self._challenges[endpoint]:
            done = self.admin("challenge", "new", "--endpoint", endpoint, "--count", 16)
            self._challenges[endpoint] += done.out.split()
        return self._challenges[endpoint].popleft()

    def admin(self, *command):
        """Run `scep admin`, in this process, and it has to do what it is asked to."""
        done = scep_here("admin", *command, "--dir", self.directory)
        assert done.returncode == 0, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def pending(self):
        """Return the requests that wait for a decision."""
        return [
            json.loads(line) for line in self.admin("list", "--pending", "--json").out.splitlines()
        ]

    def approve_next(self):
        """Wait for a request that waits, approve it, and return what is listed of it."""
        (row,) = wait_until(self.pending, f"a request to wait at {self._daemon.name}")
        self.admin("approve", row["id"])
        return row

    @contextlib.contextmanager
    def rollover(self):
        """Have a next CA, which GetNextCACert shows, and yield the file of its certificate."""
        self.admin("rollover", "prepare")
        try:
            wait_until(lambda: self._offers("GetNextCACert"), "the next CA to be offered")
            yield self.directory / "next" / "ca.pem"
        finally:
            self.admin("rollover", "cancel", "--yes")
            wait_until(lambda: not self._offers("GetNextCACert"), "the next CA to be gone")

    def _offers(self, keyword):
        _, caps = fetch(f"{self.url}?operation=GetCACaps")
        return keyword in caps.decode().split()

    def new_chapter(self):
        """Let `answered` forget what came before.

        The log runs a little behind the answers, but in their order.
        """

        def asked():
            return self._daemon.said().count('"GetCACaps"')

        before = asked()
        assert fetch(f"{self.url}?operation=GetCACaps")[0] == HTTPStatus.OK
        wait_until(lambda: asked() > before, "the log to catch up")
        self._daemon.mark()

    def lines(self, **how):
        """Return the lines of this test in the log that say so."""
        whole, _, _ = self._daemon.lately().rpartition("\n")
        lines = [json.loads(text) for text in whole.splitlines() if text.startswith("{")]
        return [line for line in lines if how.items() <= line.items()]

    def answered(self, *outcomes, **how):
        """Wait until the log says that requests with these facts were answered, and how.

        Args:
            outcomes: of all such requests of this test: `SUCCESS`, `repeated` or a failInfo.
            how: what else the lines must say.

        Returns:
            The lines.
        """

        def seen():
            lines = self.lines(**how)
            return lines if len(lines) >= len(outcomes) else None

        lines = wait_until(
            seen, f"{len(outcomes)} lines with {how} in the log of {self._daemon.name}"
        )
        assert tuple(_outcome(line) for line in lines) == outcomes
        return lines

    def stop(self):
        """Stop the server; it ends well, and met nothing that it did not expect."""
        status = self._daemon.stop()
        said = self._daemon.said()
        assert status == 0, said
        assert '"level": "error"' not in said, said


def _outcome(line):
    if line["outcome"] == "FAILURE":
        return line["fail_info"]
    is_poll = line.get("message_type") == "CERT_POLL"
    return "repeated" if line.get("repeated") and not is_poll else line["outcome"]


@dataclass(frozen=True)
class Exchange:
    """One request and the server's answer to it, which may never have reached the client."""

    method: str
    path: str
    parameters: dict[str, str]
    body: bytes
    status: int
    content_type: str
    reply: bytes

    @property
    def operation(self):
        return self.parameters.get("operation", "")

    @property
    def message(self):
        """The pkiMessage, whichever way it was sent."""
        if self.method == "POST":
            return self.body
        return base64.b64decode(self.parameters["message"].replace(" ", "+"))


class Tap:
    """Passes requests on to a server and answers back, and remembers both."""

    def __init__(self, upstream):
        parts = urlsplit(upstream)
        self.exchanges = []
        self._to_lose = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(parts.netloc))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._http.server_port}"
        self.url = self.origin + parts.path

    def lose_reply(self):
        """Let the next answer to a PKIOperation not arrive."""
        self._to_lose += 1

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def pki_operations(self):
        return [e for e in self.exchanges if e.operation == "PKIOperation"]

    def _handler(self, upstream):
        tap = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self._pass_on(b"")

            def do_POST(self):
                self._pass_on(self.rfile.read(int(self.headers["content-length"])))

            def _pass_on(self, body):
                exchange = tap.ask(upstream, self.command, self.path, dict(self.headers), body)
                if tap.loses(exchange):
                    return
                self.send_response_only(exchange.status)
                self.send_header("Content-Type", exchange.content_type)
                self.send_header("Content-Length", str(len(exchange.reply)))
                self.end_headers()
                self.wfile.write(exchange.reply)

            def log_message(self, *args):
                pass

        return Handler

    def ask(self, upstream, method, target, headers, body):
        connection = http.client.HTTPConnection(upstream, timeout=PATIENCE)
        try:
            connection.request(method, target, body, {**headers, "Connection": "close"})
            answer = connection.getresponse()
            reply = answer.read()
        finally:
            connection.close()
        path, _, query = target.partition("?")
        exchange = Exchange(
            method=method,
            path=path,
            parameters={k: v[0] for k, v in parse_qs(query, keep_blank_values=True).items()},
            body=body,
            status=answer.status,
            content_type=answer.headers["Content-Type"],
            reply=reply,
        )
        self.exchanges.append(exchange)
        return exchange

    def loses(self, exchange):
        if self._to_lose and exchange.operation == "PKIOperation":
            self._to_lose -= 1
            return True
        return False
