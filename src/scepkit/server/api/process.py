"""The process of the API: it has the database and the key of challenges, and no key of a CA."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress
from dataclasses import replace

import structlog

from scepkit.errors import ScepError
from scepkit.server import log
from scepkit.server.api import tls
from scepkit.server.api.application import create
from scepkit.server.api.front import Front
from scepkit.server.api.service import Service
from scepkit.server.directory.data_directory import utc_now
from scepkit.server.directory.database import open_store
from scepkit.server.http import serving
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.connections import Connections
from scepkit.server.http.serving import HTTPServer, stopped_by_signals
from scepkit.server.http.tally import Tally
from scepkit.server.processes.shared import Shared
from scepkit.server.reloading.workers import Supervisor

SLOT = "api"
"""Its place among the processes, for its chain of audit records."""


def work(shared: Shared, listener: socket.socket) -> int:
    """Serve the API in this process until SIGTERM.

    Args:
        shared: what the processes of the server share.
        listener: the socket that listens.

    Returns:
        The exit status.
    """
    try:
        supervisor = Supervisor(shared.supervisor, shared.at_start)
        try:
            home = supervisor.received.home
            settings = home.settings
            log.configure(settings.log)
            home = replace(home, known_key=home.challenge_key)
            context = tls.context(settings) if settings.api_tls else None
            service = Service(home, open_store(settings, SLOT), utc_now, context)
        except ScepError:
            supervisor.close()
            raise
    except ScepError as error:
        structlog.get_logger().error("the API cannot start", error=error.message, hint=error.hint)
        with suppress(OSError):
            shared.api_fault.write_text(error.message, "utf-8")
        return 1
    shared.api_fault.unlink(missing_ok=True)
    supervisor.follow(service)
    serving.run(lambda: _serve(service, listener))
    service.store.close()
    return 0


async def _serve(service: Service, listener: socket.socket) -> None:
    settings, context = service.home.settings, service.context
    bounds = Bounds.of(settings, files=resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    front = Front(create(service), has_tls=context is not None)
    server = HTTPServer(front, Connections(bounds, Tally()))
    with stopped_by_signals(server):
        await server.serve(listener, context)
