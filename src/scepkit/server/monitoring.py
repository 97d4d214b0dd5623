"""The address that the setting `metrics` names: /metrics, and /healthz with its reasons.

It is served from a thread of the process that the operator started. With several worker processes
these look at themselves, and leave what they found in the directory of their metrics.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.registry import Collector

from scepkit.errors import SettingsError
from scepkit.server.web import metrics
from scepkit.server.web.health import WATCH_SECONDS, State, States, Word, worst

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MOST: Final = 32
"""The connections to this address at a time; monitoring has one or two."""

_PATTERN: Final = "health-{}.json"
# Seconds after which a process that has not looked at itself is taken to hang.
_SILENT: Final = 3 * WATCH_SECONDS
_STATUS: Final = {Word.FAILING: "503 Service Unavailable"}


def serve(address: str, states: Callable[[], Iterable[State]], *more: Collector) -> None:
    """Serve metrics and health at another address than the server's own.

    Args:
        address: `HOST:PORT`.
        states: returns what is wrong; called by a thread for each request.
        more: what is to be collected beside the metrics of the processes.

    Raises:
        SettingsError: the address cannot be used.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        server = make_server(
            host, int(port), _application(states, *more), _server(host), handler_class=_Silent
        )
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"cannot serve metrics at {address}: {getattr(error, 'strerror', None) or error}",
            hint="choose another address with the metrics setting",
        ) from error
    threading.Thread(target=server.serve_forever, name="scepkit-metrics", daemon=True).start()


class _Silent(WSGIRequestHandler):
    timeout = 30  # seconds for a request to come

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write nothing: stderr is the server's log."""


def _server(host: str) -> type[WSGIServer]:
    class Server(_Bounded, WSGIServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server


class _Bounded(ThreadingMixIn):
    """A thread for each connection, and no more than `MOST` of them: others are closed at once."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST)
        super().__init__(*arguments, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer, in a thread of its own, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[attr-defined] # of the server
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


def _application(
    states: Callable[[], Iterable[State]], *more: Collector
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    prometheus = make_wsgi_app(metrics.registry(*more))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return prometheus(environ, start_response)  # type: ignore[no-any-return]
        found = tuple(states())
        body = json.dumps(_document(found)).encode("utf-8")
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(_STATUS.get(worst(found), "200 OK"), headers)
        return [body]

    return application


def _document(states: States) -> dict[str, object]:
    return {
        "status": worst(states).text,
        "states": [_shown(one) for one in states],
    }


def _shown(state: State) -> dict[str, str]:
    shown = {"state": state.word.text, "reason": state.reason}
    return shown | {"hint": state.hint} if state.hint else shown


def _read(shown: Mapping[str, str]) -> State:
    return State(Word[shown["state"].upper()], shown["reason"], shown.get("hint", ""))


def share(states: States) -> None:
    """Leave the findings of this process for the one that serves the metrics.

    A directory that cannot be written is no reason to stop looking; it shows as silence.
    """
    if directory := os.environ.get(metrics.MULTIPROCESS):
        path = Path(directory) / _PATTERN.format(os.getpid())
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(_document(states)), "utf-8")
            temporary.replace(path)
        except OSError:
            pass


def shared(directory: Path) -> States:
    """Return the last findings of the living worker processes, each state once."""
    found = list(_shared(directory))
    if not found:
        return (State(Word.DEGRADED, "no worker process has looked at itself yet"),)
    return tuple(dict.fromkeys(state for states in found for state in states))


def _shared(directory: Path) -> Iterator[States]:
    """Yield the states of each process."""
    for path in sorted(directory.glob(_PATTERN.format("*"))):
        pid = int(path.stem.partition("-")[2])
        try:
            os.kill(pid, 0)
            age = time.time() - path.stat().st_mtime
            document = json.loads(path.read_text("utf-8"))
        except OSError:
            # The process is gone, and perhaps the file with it.
            continue
        if age > _SILENT:
            reason = f"the worker process {pid} has not looked at itself for {_SILENT:g} seconds"
            yield (State(Word.FAILING, reason),)
            continue
        yield tuple(_read(one) for one in document["states"])
