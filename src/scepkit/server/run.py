"""Running the server: the socket, the worker processes, the signals."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from scepkit.errors import ScepError, SettingsError
from scepkit.server import endpoint_files, log, monitoring
from scepkit.server.app import create
from scepkit.server.assembly import assemble
from scepkit.server.background.audit import record_new
from scepkit.server.data_directory import Home, open_existing, open_store
from scepkit.server.http import tally
from scepkit.server.http.tally import Tally
from scepkit.server.reloading.control import Control
from scepkit.server.reloading.hang_up import HangUp
from scepkit.server.reloading.reloader import Reloader, ThisProcess
from scepkit.server.reloading.workers import Supervisor, Workers
from scepkit.server.settings import DEFAULT, Settings, public_urls
from scepkit.server.web import metrics
from scepkit.server.web.health import State
from scepkit.server.web.metrics import RevocationMetrics

# Seconds that requests under way have to finish after SIGTERM.
GRACE = 30

# Seconds that a worker process may take to say that it lives.
HEALTHCHECK = 10

# Seconds until the next try to replace a worker process, when there was no way to start it.
RETRY = 2.0

_SIGHUP = "SIGHUP"  # the reason in the audit record; who sent it is not known

_SUPERVISOR = "SCEPKIT_SUPERVISOR"
_CONNECTIONS = "SCEPKIT_WORKER_CONNECTIONS"
_CONNECTIONS_KEY = "SCEPKIT_WORKER_CONNECTIONS_KEY"


def check(home: Home) -> None:
    """Check the addresses and files that are opened later, so that a fault is one early line.

    Raises:
        StoreError: the database cannot be used.
        SettingsError: a file that a setting names cannot be used, a setting does not fit its CA, or
            the address for the metrics cannot be used.
    """
    with open_store(home.settings) as store:
        assemble(home, store)
        record_new(home, store)
    if home.settings.metrics:
        host, _, port = home.settings.metrics.rpartition(":")
        bind(host.strip("[]"), int(port), option="the metrics setting").close()


def try_out(settings: Settings) -> None:
    """Try the settings of a new directory, before its scep.toml is written with them.

    Raises:
        SettingsError: the address cannot be used, or the URL cannot be in a certificate.
    """
    public_urls.locations(settings, DEFAULT)
    bind(settings.host, settings.port).close()


def bind(host: str, port: int, option: str = "") -> socket.socket:
    """Return a listening socket, so that a taken port is known before anything else is done.

    Args:
        host: an address of this machine.
        port: 0 for a free one.
        option: where another address can be chosen, for the hint; "" for the usual place.

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
            f"cannot listen on {host}:{port}: {_why(error)}", hint=_bind_hint(error, option)
        ) from error
    listener.set_inheritable(True)
    return listener


def _why(error: OSError | OverflowError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _bind_hint(error: OSError | OverflowError, option: str) -> str:
    port = option or "--port, or `port` in scep.toml"
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return (
                "this server may be running already, or another program listens there; "
                f"choose another port with {port}"
            )
        case errno.EACCES:
            return (
                "ports below 1024 need root, or CAP_NET_BIND_SERVICE in the systemd unit; "
                f"choose a higher one with {port}"
            )
    host = option or "--host, or `host` in scep.toml"
    return f"name an address of this machine with {host} (0.0.0.0: all of them)"


# Seconds after which a signal that should have ended a block is taken to be lost.
_SIGNAL_LOST = 1.0


class _Stopped(KeyboardInterrupt):
    """SIGTERM or SIGINT; like its base class, nothing on the way catches it."""


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block, and no more than the block.

    uvicorn takes the signals over for as long as it runs. Before that nothing is under way; and
    when it is done it raises the signal once more, which must not be an exit by signal.

    What a handler raises is lost where Python ignores exceptions, as in the callback of a weak
    reference. So a signal that did not end the block is sent once more.
    """
    over = threading.Event()

    def again(number: int) -> None:
        if not over.wait(_SIGNAL_LOST):
            os.kill(os.getpid(), number)

    def stop(number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=again, args=(number,), name="scepkit-stop", daemon=True).start()
        raise _Stopped

    previous = [(one, signal.signal(one, stop)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        with contextlib.suppress(_Stopped):
            yield
    finally:
        over.set()
        for number, handler in previous:
            signal.signal(number, handler)


def serve(home: Home, listener: socket.socket, hang_up: HangUp) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Args:
        home: the data directory.
        listener: what `bind` returned.
        hang_up: has taken over SIGHUP.

    Raises:
        SettingsError: the worker processes could not start.
    """
    _allow_all_descriptors()
    if home.settings.workers == 1:
        _serve_here(home, listener, hang_up)
    else:
        _serve_in_workers(home, listener, hang_up)


def _allow_all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one; worker processes inherit it.

    The soft one is 1024 almost everywhere, for the sake of programs that use select(), and as many
    silent connections would keep everybody else out.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve_here(home: Home, listener: socket.socket, hang_up: HangUp) -> None:
    app = create(home, Tally())
    public_urls.warn_of_none(home.settings)
    if home.settings.metrics:
        _serve_metrics(home.settings, app.state.health.states)
    in_force = app.state.in_force
    reloader = Reloader(in_force.home, ThisProcess(in_force))
    hang_up.start(partial(reloader.reload, reason=_SIGHUP))
    with Control(home.settings.directory, reloader.reload):
        uvicorn.Server(_config(app)).run(sockets=[listener])


def _serve_in_workers(home: Home, listener: socket.socket, hang_up: HangUp) -> None:
    """Serve from several processes, which open the database and read the keys themselves."""
    settings = home.settings
    log.configure(settings.log)
    # Here and not in each worker, which would say it again whenever one is replaced.
    public_urls.warn_of_none(settings)
    home = replace(home, files=endpoint_files.read_all(settings))
    with _shared_by_workers() as directory:
        if settings.metrics:
            _serve_metrics(settings, partial(monitoring.shared, directory))
        workers = Workers(home, Path(os.environ[_SUPERVISOR]))
        workers.start()
        reloader = Reloader(home, workers)
        config = _config("scepkit.server.run:worker", workers=settings.workers, factory=True)
        supervisor = Multiprocess(config, sockets=[listener])
        # From uvicorn, which would replace all workers.
        hang_up.take()
        hang_up.start(partial(reloader.reload, reason=_SIGHUP))
        with Control(settings.directory, reloader.reload):
            supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise SettingsError("the worker processes could not start", hint="the log says why")


def _serve_metrics(settings: Settings, states: Callable[[], Iterable[State]]) -> None:
    monitoring.serve(settings.metrics, states, RevocationMetrics.of(settings.database_url))


@contextlib.contextmanager
def _shared_by_workers() -> Iterator[Path]:
    """Give the workers a directory for their metrics (see prometheus_client) and connections."""
    directory = Path(tempfile.mkdtemp(prefix="scep-workers-"))
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    shared = {metrics.MULTIPROCESS: directory / "metrics", _CONNECTIONS: directory / "connections"}
    os.environ[_SUPERVISOR] = str(directory / "supervisor")
    try:
        for variable, path in shared.items():
            path.mkdir()
            os.environ[variable] = str(path)
        os.environ[_CONNECTIONS_KEY] = tally.new_key().hex()
        # systemd-tmpfiles leaves alone what is locked.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield shared[metrics.MULTIPROCESS]
    finally:
        os.close(descriptor)
        for variable in (*shared, _CONNECTIONS_KEY, _SUPERVISOR):
            os.environ.pop(variable, None)
        shutil.rmtree(directory, ignore_errors=True)


def worker() -> Starlette:
    """Return the application in a worker process; uvicorn calls it by name."""
    _leave_with_parent()
    # For the supervisor, though a terminal that is closed sends it to all.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = Supervisor(Path(os.environ[_SUPERVISOR]))
        received = supervisor.received
        settings = received.settings
        log.configure(settings.log)
        home = open_existing(
            settings.directory,
            now=datetime.now(UTC),
            settings=settings,
            passphrases=received.passphrases,
        )
        key = bytes.fromhex(os.environ[_CONNECTIONS_KEY])
        tally = Tally(Path(os.environ[_CONNECTIONS]), key)
        app = create(replace(home, files=received.files), tally, _slot())
    except ScepError as error:
        structlog.get_logger().error("a worker cannot start", error=error.message, hint=error.hint)
        _end_in_vain()
    supervisor.follow(app.state.in_force)
    _mark_of_start().touch()
    return app


def _slot() -> str:
    """Take the first free place among the workers, for as long as this process lives.

    One that replaces another goes on with its chain of audit records.
    """
    for number in count(1):
        path = Path(os.environ[_CONNECTIONS]).with_name(f"slot-{number}")
        # It stays open, and locked, until the process ends.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return str(number)
    raise AssertionError("there are numbers enough")


def _mark_of_start() -> Path:
    """Return the file that is there once a worker of this server has started."""
    return Path(os.environ[_CONNECTIONS]).with_name("started")


def _end_in_vain() -> NoReturn:
    """End a worker that cannot start: with all others if none ever did, or else alone.

    At the start of the server no other one could either. Later on the others serve, and must not
    end for what may be over soon, such as a lock in the database: there is another try in a while.
    """
    if not _mark_of_start().exists():
        sys.exit(STARTUP_FAILURE)
    # uvicorn would only note them, and nothing is under way.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    time.sleep(RETRY)
    sys.exit(1)


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
        http="scepkit.server.http.connection:HTTPConnection",
        ws="none",
        workers=workers,
        factory=factory,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # Done where connections are counted: see `Bounds`.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        # A worker on a starved machine is slow, not dead; one that is dead is known after this.
        timeout_worker_healthcheck=HEALTHCHECK,
    )
