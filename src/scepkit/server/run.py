"""Running the server: the checks before it, the socket, and the processes."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import NamedTuple

from cryptography import x509

from scepkit.errors import SettingsError
from scepkit.keys import pem
from scepkit.server import log
from scepkit.server.background.audit import new_cas_of
from scepkit.server.directory.data_directory import Home, utc_now, with_keys, with_new_cas
from scepkit.server.directory.database import open_store
from scepkit.server.endpoints.assembly import assemble
from scepkit.server.notifications.channels import channels_of
from scepkit.server.processes import supervision
from scepkit.server.processes.child_process import in_child
from scepkit.server.reloading.control import Control
from scepkit.server.reloading.hang_up import SIGHUP, HangUp
from scepkit.server.reloading.key_reading import read_keys
from scepkit.server.reloading.reloader import Reloader, ThisProcess
from scepkit.server.settings import DEFAULT, Settings, api, public_urls
from scepkit.server.settings.profiles import log_ins


class Checked(NamedTuple):
    """The outcome of the checks before a start.

    Attributes:
        made: the names of the CAs that were made.
        sound: the files whose keys were found sound, as `pem.sound_files` has them.
    """

    made: tuple[str, ...]
    sound: frozenset[bytes]


def check(home: Home, layout: str | None = None) -> Checked:
    """Make what is new, and check all that is opened later, so that a fault is one early line.

    What reads the keys and makes the tables is done in a child process, and leaves nothing in the
    memory of this one.

    Args:
        home: the data directory.
        layout: the key layout for the default CA, if it is new.

    Raises:
        StoreError: the database cannot be used.
        SettingsError: a file that a setting names cannot be used, a setting does not fit its CA, or
            the address for the metrics cannot be used.
    """
    checked = in_child(partial(_check_keys, home, layout))
    pem.take_as_sound(checked.sound)
    if home.settings.metrics:
        host, _, port = home.settings.metrics.rpartition(":")
        bind(host.strip("[]"), int(port), option="the metrics setting").close()
    return checked


def _check_keys(home: Home, layout: str | None) -> Checked:
    home = with_new_cas(home, now=utc_now(), layout=layout)
    with open_store(home.settings) as store:
        assemble(home, store)
        channels_of(home.settings, home.secrets)
        store.write_audit(*new_cas_of(home))
    return Checked(home.made, pem.sound_files())


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

    The server takes the signals over for as long as it runs. Before that nothing is under way.

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


def bind_api(settings: Settings) -> tuple[socket.socket, x509.Certificate | None] | None:
    """Return the listening socket of the API and the certificate that it shows, if it is served.

    Args:
        settings: the server's; a certificate is made where they want one and name none.

    Returns:
        None where there is no API; no certificate where it does not speak TLS.

    Raises:
        SettingsError: the address or a file cannot be used, or what it needs is not installed.
    """
    if not settings.api:
        return None
    if importlib.util.find_spec("fastapi") is None:
        raise SettingsError(
            "the API's part of scepkit is not installed",
            hint="install it with its extra `api`: pip install '.[server,api]' in a checkout",
        )
    from scepkit.server.api import tls

    certificate = tls.prepare(settings, utc_now()) if settings.api_tls else None
    return bind(*api.address(settings), option="the api setting"), certificate


def serve(
    home: Home,
    listener: socket.socket,
    hang_up: HangUp,
    announce: Callable[[], None],
    api_listener: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Args:
        home: the data directory.
        listener: what `bind` returned.
        hang_up: has taken over SIGHUP.
        announce: says where the server is; called once commands find it.
        api_listener: the socket of `bind_api`; with it there are several processes.

    Raises:
        SettingsError: the worker processes could not start.
    """
    _allow_all_descriptors()
    log.configure(home.settings.log)

    def begin() -> None:
        announce()
        public_urls.warn_of_none(home.settings)
        log_ins.warn(home.settings)

    if home.settings.workers == 1 and api_listener is None:
        _serve_here(home, listener, hang_up, begin)
    else:
        supervision.serve(home, listener, hang_up, begin, api_listener)


def _allow_all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one; worker processes inherit it.

    The soft one is 1024 almost everywhere, for the sake of programs that use select(), and as many
    silent connections would keep everybody else out.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve_here(
    home: Home, listener: socket.socket, hang_up: HangUp, begin: Callable[[], None]
) -> None:
    # Not before: the supervisor of several processes does without.
    from scepkit.server import monitoring
    from scepkit.server.app import create
    from scepkit.server.http import serving
    from scepkit.server.web.metrics import RecordMetrics

    app = create(with_keys(home, now=utc_now()))
    settings = home.settings
    if settings.metrics:
        revocations = RecordMetrics.of(settings.database_url)
        monitoring.serve(settings.metrics, app.health.states, revocations)
    reloader = Reloader(app.in_force.home, ThisProcess(app.in_force), read_keys)
    hang_up.start(partial(reloader.reload, reason=SIGHUP))
    with Control(settings.directory, reloader.reload):
        begin()
        serving.run(lambda: app.serve(listener))
