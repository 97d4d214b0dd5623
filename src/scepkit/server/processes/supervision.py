"""The supervisor of several processes: it has them started, replaced, and told new settings."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from scepkit.errors import SettingsError
from scepkit.server.directory import endpoint_files, notification_files
from scepkit.server.directory.data_directory import Home
from scepkit.server.processes.shared import Shared, share
from scepkit.server.processes.workers import WorkerProcesses, processes_beside
from scepkit.server.reloading.control import Control
from scepkit.server.reloading.hang_up import SIGHUP, HangUp
from scepkit.server.reloading.key_reading import have_keys_read
from scepkit.server.reloading.reloader import Reloader
from scepkit.server.reloading.workers import Received, Workers


def serve(
    home: Home,
    listener: socket.socket,
    hang_up: HangUp,
    begin: Callable[[], None],
    api: socket.socket | None = None,
) -> None:
    """Serve from several processes, which open the database and read the keys themselves.

    Args:
        home: the data directory.
        listener: the socket that listens.
        hang_up: has taken over SIGHUP.
        begin: says where the server is; called once commands find it.
        api: the socket of the API; None where there is none.

    Raises:
        SettingsError: the worker processes could not start.
        Local: they cannot be replaced any more.
    """
    settings = home.settings
    home = replace(
        home,
        # Else each process would derive what it is encrypted under by itself.
        known_key=home.challenge_key,
        files=endpoint_files.read_all(settings, home.read_challenge_key),
        secrets=notification_files.read_all(settings),
    )
    with share(settings.workers + processes_beside(settings.workers, api)) as shared:
        workers = Workers(home, shared.supervisor)
        try:
            # Before there is another thread.
            inherited = replace(shared, at_start=Received.of(home))
            processes = WorkerProcesses(settings, inherited, listener, api)
            workers.start()
            read_keys = partial(
                have_keys_read, path=shared.key_reader, start=processes.start_key_reader
            )
            reloader = Reloader(home, workers, read_keys)
            hang_up.start(partial(reloader.reload, reason=SIGHUP))
            if settings.metrics:
                _serve_metrics(home, shared)
            with Control(settings.directory, reloader.reload):
                begin()
                could_start = processes.run()
        finally:
            # Ends workers that nobody can signal any more.
            workers.close()
    if not could_start:
        raise SettingsError("the worker processes could not start", hint="the log says why")


def _serve_metrics(home: Home, shared: Shared) -> None:
    from scepkit.server import monitoring
    from scepkit.server.web.metrics import RecordMetrics

    revocations = RecordMetrics.of(home.settings.database_url)
    monitoring.serve(home.settings.metrics, partial(monitoring.shared, shared.metrics), revocations)
