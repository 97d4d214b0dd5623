"""A worker process, from its start to its end."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from scepkit.errors import ScepError
from scepkit.server import log
from scepkit.server.app import Application, create
from scepkit.server.directory.data_directory import open_existing
from scepkit.server.http import serving
from scepkit.server.http.tally import Tally
from scepkit.server.processes.shared import Shared
from scepkit.server.processes.workers import STARTUP_FAILURE
from scepkit.server.reloading.channel import connected
from scepkit.server.reloading.workers import Received, Supervisor
from scepkit.store.committing.remote_writer import Connect, await_committer


def work(
    number: int, shared: Shared, listener: socket.socket, *, has_committer: bool = False
) -> int:
    """Serve in this process, which is a worker, until SIGTERM.

    Args:
        number: of its place among the workers. One that replaces another goes on with its chain of
            audit records.
        shared: what the workers share.
        listener: the socket that listens.
        has_committer: whether another process commits for this one.

    Returns:
        The exit status.
    """
    app = _application(number, shared, has_committer=has_committer)
    shared.mark_of_start.touch()
    serving.run(lambda: app.serve(listener))
    return 0


def _application(number: int, shared: Shared, *, has_committer: bool) -> Application:
    committer: Connect | None = None
    try:
        if has_committer:
            committer = partial(connected, shared.committer)
            # First: a reload waits for all that have asked the supervisor, and meanwhile the
            # supervisor answers nobody, such as a committer that starts.
            await_committer(committer)
        supervisor = Supervisor(shared.supervisor, shared.at_start)
        try:
            app = _assembled(number, shared, supervisor.received, committer)
        except ScepError:
            # Else other settings, which may be what helps, would wait for this worker in vain.
            supervisor.close()
            raise
    except ScepError as error:
        structlog.get_logger().error("a worker cannot start", error=error.message, hint=error.hint)
        _end_in_vain(shared)
    supervisor.follow(app.in_force)
    return app


def _assembled(
    number: int, shared: Shared, received: Received, committer: Connect | None
) -> Application:
    settings = received.settings
    log.configure(settings.log)
    home = open_existing(
        settings.directory,
        now=datetime.now(UTC),
        settings=settings,
        passphrases=received.passphrases,
    )
    tally = Tally(shared.connections, shared.key)
    home = replace(home, files=received.files, secrets=received.secrets)
    api_fault = partial(_text_of, shared.api_fault)
    return create(home, tally, str(number), committer=committer, api_fault=api_fault)


def _text_of(path: Path) -> str:
    """Return the text of a file; none of one that is not there."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _end_in_vain(shared: Shared) -> NoReturn:
    """End a worker that cannot start: with all others if none ever did, or else alone.

    At the start of the server no other one could either. Later on the others serve, and must not
    end for what may be over soon, such as a lock in the database: there is another try in a while.
    """
    sys.exit(1 if shared.mark_of_start.exists() else STARTUP_FAILURE)
