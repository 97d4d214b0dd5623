"""Running the server: the socket, the worker processes, the signals."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import uvicorn
from httptools import HttpParserError
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from scepkit.errors import SettingsError
from scepkit.server import metrics
from scepkit.server.app import create
from scepkit.server.directory import Home, open_existing
from scepkit.server.settings import Settings
from scepkit.store import Store

# Seconds that requests under way have to finish after SIGTERM.
GRACE = 30

# Octets of a URL: longer ones httptools cannot take apart.
_MAX_URL = 0xFFFF
# Octets of URL and headers together after which a connection is not listened to any more.
_MAX_HEAD = _MAX_URL + 16 * 1024
# Octets that the event loop reads at most at once.
_MAX_READ = 256 * 1024

_HEAD_TOO_LARGE = "Request head too large."

_WORKER_SETTINGS = "SCEPKIT_WORKER_SETTINGS"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with a bound on what a peer can make it hold before a request is whole."""

    url = b""
    _head = 0
    _untold = 0

    def data_received(self, data: bytes) -> None:
        """Count what the parser keeps to itself: it tells of a header only when it is whole."""
        self._untold += len(data)
        if self._untold > _MAX_HEAD + _MAX_READ:
            self.send_400_response(_HEAD_TOO_LARGE)
            return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be read on, and close the connection."""
        if len(self.url) <= _MAX_URL:
            super().send_400_response(msg)
            return
        body = f"the URL is longer than {_MAX_URL} octets; use POST\n".encode("ascii")
        self.transport.write(
            b"HTTP/1.1 414 URI Too Long\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start counting."""
        self._head = self._untold = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        super().on_url(url)
        if len(self.url) > _MAX_URL:
            raise HttpParserError("URL too long")
        self._count(url)

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, which the application counts."""
        self._untold = 0
        super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(name, value)
        super().on_header(name, value)

    def _count(self, *pieces: bytes) -> None:
        self._untold = 0
        self._head += sum(map(len, pieces))
        if self._head > _MAX_HEAD:
            # The parser turns it into HTTP 400 and the connection is closed.
            raise HttpParserError(_HEAD_TOO_LARGE)


def check(home: Home) -> None:
    """Open and close the database, so that a fault is one line before anything listens.

    Raises:
        StoreError: it cannot be used.
    """
    Store.open(home.settings.database_url).close()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a taken port is known before anything else is done.

    Raises:
        SettingsError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {_why(error)}", hint=_bind_hint(error)
        ) from error
    listener.set_inheritable(True)
    return listener


def _why(error: OSError | OverflowError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _bind_hint(error: OSError | OverflowError) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "another program listens there; choose another port with --port (0: a free one)"
        case errno.EACCES:
            return "ports below 1024 need root; choose a higher one with --port"
    return "name an address of this machine with --host (0.0.0.0: all of them)"


class _Stopped(KeyboardInterrupt):
    """SIGTERM or SIGINT; like its base class, nothing on the way catches it."""


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block, and no more than the block.

    uvicorn takes the signals over for as long as it runs. Before that nothing is under way; and
    when it is done it raises the signal once more, which must not be an exit by signal.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped

    previous = [(one, signal.signal(one, stop)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        with contextlib.suppress(_Stopped):
            yield
    finally:
        for number, handler in previous:
            signal.signal(number, handler)


def serve(home: Home, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way and return.

    Args:
        home: the data directory.
        listener: what `bind` returned.
    """
    if home.settings.workers == 1:
        _serve_here(home, listener)
    else:
        _serve_in_workers(home, listener)


def _serve_here(home: Home, listener: socket.socket) -> None:
    app = create(home)
    if home.settings.metrics:
        metrics.serve(home.settings.metrics)
    uvicorn.Server(_config(app)).run(sockets=[listener])


def _serve_in_workers(home: Home, listener: socket.socket) -> None:
    """Serve from several processes, which open the database and read the keys themselves."""
    with _shared_metrics():
        if home.settings.metrics:
            metrics.serve(home.settings.metrics)
        os.environ[_WORKER_SETTINGS] = home.settings.model_dump_json()
        config = _config("scepkit.server.run:worker", workers=home.settings.workers, factory=True)
        Multiprocess(config, sockets=[listener]).run()


@contextlib.contextmanager
def _shared_metrics() -> Iterator[None]:
    """Give the workers a directory to put their metrics in (see prometheus_client)."""
    directory = tempfile.mkdtemp(prefix="scep-metrics-")
    os.environ[metrics.MULTIPROCESS] = directory
    try:
        yield
    finally:
        os.environ.pop(metrics.MULTIPROCESS, None)
        shutil.rmtree(directory, ignore_errors=True)


def worker() -> Starlette:
    """Return the application in a worker process; uvicorn calls it by name."""
    _leave_with_parent()
    settings = Settings.model_validate_json(os.environ[_WORKER_SETTINGS])
    return create(open_existing(Path(settings.directory), now=datetime.now(UTC), settings=settings))


def _leave_with_parent() -> None:
    """End this worker when its parent is gone, kill -9 included: it would keep the port."""
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=leave, name="scepkit-parent", daemon=True).start()


def _config(
    app: Starlette | str, *, workers: int | None = None, factory: bool = False
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        workers=workers,
        factory=factory,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE,
    )
