"""The process that commits for all workers of a server."""

from __future__ import annotations

import signal

import structlog

from scepkit.errors import ScepError
from scepkit.server import log
from scepkit.server.directory.data_directory import Home
from scepkit.server.directory.database import open_store
from scepkit.server.processes.shared import Shared
from scepkit.server.processes.workers import STARTUP_FAILURE
from scepkit.server.reloading.channel import listen
from scepkit.server.reloading.workers import Supervisor
from scepkit.store import Store
from scepkit.store.committing.committer import Committer

SLOT = "committer"
"""Its place among the processes, for its chain of audit records."""


def work(shared: Shared) -> int:
    """Commit in this process, from SIGTERM on until the last worker is gone.

    Args:
        shared: what the processes of the server share.

    Returns:
        The exit status.
    """
    try:
        supervisor = Supervisor(shared.supervisor, shared.at_start)
        try:
            home = supervisor.received.home
            log.configure(home.settings.log)
            store = open_store(home.settings, SLOT)
            committer = Committer(listen(shared.committer), store)
        except (ScepError, OSError):
            supervisor.close()
            raise
    except (ScepError, OSError) as error:
        message = error.message if isinstance(error, ScepError) else str(error)
        structlog.get_logger().error("the process that commits cannot start", error=message)
        # As for a worker: at the start of the server no other one could either.
        return 1 if shared.mark_of_start.exists() else STARTUP_FAILURE
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: committer.stop())
    supervisor.follow(_InForce(home, store))
    committer.serve()
    store.close()
    return 0


class _InForce:
    """The settings of this process: who is told of what is written.

    Args:
        home: the data directory, with the settings in force.
        store: tells them.
    """

    def __init__(self, home: Home, store: Store) -> None:
        self.home = home
        self._store = store
        self._prepared: Home | None = None

    def prepare(self, home: Home) -> None:
        """Keep settings that may come into force."""
        self._prepared = home

    def switch(self) -> None:
        """Put into force what was prepared."""
        if self._prepared is not None:
            self.home, self._prepared = self._prepared, None
            self._store.subscribe(self.home.settings.subscriptions)

    def drop(self, fault: ScepError | None) -> None:  # noqa: ARG002 - the workers tell of it
        """Keep the settings in force."""
        self._prepared = None
