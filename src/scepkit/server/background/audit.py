"""The audit record of a server process: its start, CAs that it made, the ends of others' chains.

Every worker process has a chain of its own, so every one has this thread.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from threading import Event, Thread

import structlog

from scepkit.errors import ScepError, StoreError
from scepkit.keys.pem import sha256_fingerprint
from scepkit.operations.rollover import event
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.directory.data_directory import Home
from scepkit.server.directory.database import open_store
from scepkit.server.settings import Settings
from scepkit.store import SERVER, AuditAction, AuditEvent, Store

_PATIENCE = 10.0  # seconds for a record to be written, at the end of the server

log = structlog.get_logger()


class AuditJoining:
    """Writes the start into the audit record, and later what is new in other chains.

    Args:
        store: where the record is.
        authorities: returns the CAs that are served.
        now: the clock.
        pause: seconds between two looks at the other chains.
    """

    def __init__(
        self,
        store: Store,
        authorities: Callable[[], Mapping[str, LoadedCA]],
        now: Callable[[], datetime],
        pause: float,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._now = now
        self._pause = pause
        self._stopped = Event()
        self._began: datetime | None = now()
        self._thread = Thread(target=self._work, name="scepkit-audit", daemon=True)

    def use(self, pause: float) -> None:
        """Look at the other chains every so many seconds from now on."""
        self._pause = pause

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the record that is being written."""
        self._stopped.set()
        self._thread.join(_PATIENCE)

    def write(self) -> None:
        """Write the start, until that is done once; then what is new.

        Raises:
            StoreError: the database cannot be written.
        """
        if self._began is None:
            self._store.join_audit(self._now())
            return
        self._store.write_audit(
            AuditEvent(AuditAction.STARTED, SERVER, self._began, details=self._facts())
        )
        self._began = None

    def _facts(self) -> dict[str, object]:
        """Return the version, and whose certificates are in force: a change between starts shows.

        Keys are files, which somebody can replace without scepkit.
        """
        return {
            "version": importlib.metadata.version("scepkit"),
            "authorities": {
                name: {
                    "ca": sha256_fingerprint(one.material.ca.certificate),
                    "ra": sha256_fingerprint(one.material.ra.certificate),
                }
                for name, one in self._authorities().items()
            },
        }

    def _work(self) -> None:
        while True:
            try:
                self.write()
            except ScepError as error:
                # What is done in the meantime has its record, or is not done.
                log.warning(
                    "the audit record could not be joined", error=error.message, hint=error.hint
                )
            except Exception:
                log.exception("bug in scepkit; please report it")
            if self._stopped.wait(self._pause):
                return


def new_cas_of(home: Home) -> Iterator[AuditEvent]:
    """Yield the CAs of a data directory that were made, as the audit record has them."""
    now = datetime.now(UTC)
    for name in home.made:
        certificate = home.authorities[name].material.ca.certificate
        yield event(AuditAction.CA_MADE, certificate, ca=name, by=SERVER, now=now)


def record(settings: Settings, *events: AuditEvent) -> str:
    """Write into the audit record of a running server.

    Returns:
        Why that is not possible, which is no reason to go back; "" where it is.
    """
    try:
        with open_store(settings) as store:
            store.write_audit(*events)
    except StoreError as error:
        log.warning("the audit record was not written", error=error.message, hint=error.hint)
        return f"the audit record was not written: {error.message}"
    return ""
