"""How many files does one operation walk through, and how often does it change file?

    make walk
    python bench/walk.py --files

Every function of scepkit that begins is noted with its file, in order. A file is *entered* when a
function in it begins. A *change* leads from a function in one file to one in another; a change
*back* leads into a file that had been left before. Resumed coroutines and generators,
comprehensions, modules that are being imported and other people's code do not count.

Server: an enrolment, a renewal and an OCSP request, not the first of its kind, so that nothing is
loaded or made for the first time; from the server's application on, all threads together. Several
are walked, and the shortest counts: what runs in the background may fall into one of them.
Command line: `scep enroll`, `scep renew` and `scep admin revoke`, from `main` on, against a server
in another process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import inspect
import io
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from enrolments import minted
from rich.console import Console
from rich.table import Table
from servers import Sources, ours

import scepkit
from scepkit import Client, generate_key
from scepkit.cli import main as scep
from scepkit.protocol.certificate import fingerprint
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.server import app as application
from scepkit.server.app import Application
from scepkit.server.directory import data_directory
from scepkit.server.http.exchange import Exchange, Head
from scepkit.store import Store

DER = Encoding.DER
TIMES = 5
_RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_BEGINS = 8
SOURCE = str(Path(scepkit.__file__).parent) + os.sep


@dataclass
class Walk:
    """The files of the functions that run in operations of one kind, in order.

    Attributes:
        steps: the file of each function that began.
        noting: whether anything is noted at present.
        walked: the files that each operation changed into.
    """

    steps: list[str] = field(default_factory=list)
    noting: bool = False
    walked: list[list[str]] = field(default_factory=list)

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note a function that begins; the signature is `sys.setprofile`'s."""
        code = frame.f_code
        if not self.noting or event != "call" or not code.co_filename.startswith(SOURCE):
            return
        # A coroutine or a generator that goes on is past its first instructions.
        resumed = code.co_flags & _RESUMABLE and frame.f_lasti > _BEGINS
        if not resumed and not code.co_name.startswith("<"):
            self.steps.append(code.co_filename[len(SOURCE) :])

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note what runs in the block: one more operation of the kind."""
        self.steps.clear()
        self.noting = True
        try:
            yield
        finally:
            self.noting = False
        steps = self.steps
        changed = [one for n, one in enumerate(steps) if n == 0 or steps[n - 1] != one]
        self.walked.append(changed)

    @property
    def files(self) -> Counter[str]:
        """How often each file was changed into."""
        return Counter(self._path)

    @property
    def changes(self) -> int:
        """How often the file changed."""
        return max(0, len(self._path) - 1)

    @property
    def back(self) -> int:
        """How many changes led into a file that had been left."""
        return len(self._path) - len(set(self._path))

    @property
    def _path(self) -> list[str]:
        """The shortest walk; the first one loads and makes what the others find."""
        return min(self.walked[1:], key=len)


class Wire:
    """A connection that keeps what is sent."""

    date = b""
    full = None

    def __init__(self) -> None:
        self.sent = b""

    def write(self, octets: bytes) -> None:
        """Keep octets."""
        self.sent += octets

    def resume(self) -> None:
        """Do nothing: all is there."""

    def finish(self, exchange: Exchange) -> None:
        """Do nothing more."""

    def end_answering(self, exchange: Exchange) -> None:
        """Do nothing more."""

    def abort(self) -> None:
        """Keep nothing."""
        self.sent = b""

    def makefile(self, _mode: str) -> io.BytesIO:
        """Return what was sent, as http.client wants it."""
        return io.BytesIO(self.sent)


class InProcess:
    """Carries requests into an application whose event loop runs in another thread."""

    def __init__(self, app: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request of a client's flow, as a transport does."""
        path = urlsplit(url).path
        return self.ask(path, request.method, request.body, request.query)

    def ask(self, path: str, method: str, body: bytes, query: bytes = b"") -> HTTPResponse:
        """Send any request."""
        asked = self._ask(Head(method, b"", path, query, [], True, False), body)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def _ask(self, head: Head, body: bytes) -> HTTPResponse:
        wire = Wire()
        exchange = Exchange(head, "192.0.2.7", wire, "192.0.2.7")
        exchange.add(body)
        exchange.end()
        await exchange.run(self._app.answer)
        answer = http.client.HTTPResponse(wire, method=head.method)  # type: ignore[arg-type]
        answer.begin()
        return HTTPResponse(answer.status, answer.read(), answer.getheader("content-type", ""))


@contextlib.contextmanager
def started(app: Application, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Run what an application does in the background, and the loop in a thread of its own."""
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    app.start()
    try:
        yield
    finally:
        app.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def on_the_server(scratch: Path, walk: Walk) -> Iterator[str]:
    """Walk the server's operations; yield the name of each when it is done."""
    threading.setprofile(walk.profile)
    home = data_directory.prepare(scratch / "server", now=datetime.now(UTC), layout="single")
    loop = asyncio.new_event_loop()
    app = application.create(home)
    with started(app, loop), Store.open(home.settings.database_url) as store:
        challenges = minted(data_directory.challenges_of(home, store), TIMES, now=datetime.now(UTC))
        transport = InProcess(app, loop)
        client = Client("http://localhost/scep", transport=transport)
        ca = client.get_ca(fingerprint(home.material.ca.certificate.public_bytes(DER)))
        for challenge in challenges:
            key = generate_key("rsa:2048")
            with walk.noted():
                issued = client.enrol(ca, key, "CN=device1", challenge=challenge)
        yield "server: enrolment"
        certificates = [issued]
        for _ in range(TIMES):
            with walk.noted():
                renewed = client.renew(ca, key, issued.certificate, generate_key("rsa:2048"))
            certificates.append(renewed)
        yield "server: renewal"
        for one in certificates:
            question = ocsp.OCSPRequestBuilder().add_certificate(
                one.certificate.x509(), home.material.ca.certificate, SHA1()
            )
            with walk.noted():
                transport.ask("/ocsp/default", "POST", question.build().public_bytes(DER))
        yield "server: OCSP request"
    threading.setprofile(None)


def on_the_command_line(scratch: Path, walk: Walk) -> Iterator[str]:
    """Walk the commands; yield the name of each when it is done."""
    home = scratch / "single"
    with ours(home, Sources("walked"), layout="single") as server:
        url, challenges = server.url, server.challenges(2)
        for n, challenge in enumerate(challenges):
            out = str(scratch / f"device{n}")
            _command(walk, "enroll", url, "--subject", "CN=device1", "--challenge", challenge,
                     "--insecure", "--out", out)  # fmt: skip
        yield "scep enroll"
        for n in range(len(challenges)):
            _command(walk, "renew", str(scratch / f"device{n}"), "--force")
        yield "scep renew"
        for n in range(len(challenges)):
            pem = (scratch / f"device{n}" / "cert.pem").read_bytes()
            certificate = x509.load_pem_x509_certificate(pem)
            _command(
                walk,
                "admin",
                "revoke",
                f"{certificate.serial_number:x}",
                "--dir",
                str(home),
                "--yes",
            )
        yield "scep admin revoke"


def _command(walk: Walk, *arguments: str) -> None:
    said = io.StringIO()
    sys.setprofile(walk.profile)
    try:
        with walk.noted(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = scep(list(arguments))
    finally:
        sys.setprofile(None)
    if status:
        raise SystemExit(f"scep {' '.join(arguments)}: {said.getvalue()}")


def main() -> None:
    """Walk everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", action="store_true", help="list the files of each walk")
    options = parser.parse_args()
    table = Table("operation", "files", "changes", "back")
    listed = Console()
    walk = Walk()
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        walks = (on_the_server(Path(scratch), walk), on_the_command_line(Path(scratch), walk))
        for name in (name for one in walks for name in one):
            table.add_row(name, str(len(walk.files)), str(walk.changes), str(walk.back))
            if options.files:
                listed.print(f"[bold]{name}[/bold]")
                for file, times in sorted(walk.files.items()):
                    listed.print(f"{times:5}  {file}")
            walk.walked.clear()
    listed.print(table)


if __name__ == "__main__":
    main()
