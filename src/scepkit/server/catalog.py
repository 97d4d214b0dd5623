"""The endpoints in service; replaced as a whole when a CA's files change.

A rollover, a rotated RA or a next CA that was prepared reaches every worker process this way, each
by its own looking, without a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from threading import Event, Lock, Thread

import structlog

from scepkit.errors import ScepError
from scepkit.server.assembly import Served

# Seconds between two looks at the files of the CAs.
LOOK_SECONDS = 2.0

log = structlog.get_logger()


class Catalog:
    """The endpoints as they are served. Threads may share it.

    Args:
        stamp: returns something that changes with the files.
        build: reads the files and puts all endpoints together.

    Raises:
        ScepError: what `build` raises.
    """

    def __init__(
        self, stamp: Callable[[], Hashable], build: Callable[[], Mapping[str, Served]]
    ) -> None:
        self._stamp = stamp
        self._build = build
        self._lock = Lock()
        self._stopped = Event()
        # The stamp first: what changes while it is read is read again at the next look.
        self._seen = stamp()
        self._served = build()
        self._fault: ScepError | None = None

    @property
    def served(self) -> Mapping[str, Served]:
        """The endpoints in service at this moment: read it once for each request."""
        return self._served

    @property
    def fault(self) -> ScepError | None:
        """The error of the files as they are now; None when they can be read."""
        return self._fault

    def refresh(self) -> bool:
        """Look at the files and, when they changed, serve their new contents.

        What cannot be read is logged, once, and the old goes on being served.

        Returns:
            Whether something else is served now.
        """
        with self._lock:
            try:
                seen = self._stamp()
                if seen == self._seen:
                    # Perhaps again: what could not be read was put back as it was.
                    self._fault = None
                    return False
                served = self._build()
            except ScepError as error:
                self._report(error)
                return False
            self._seen, self._served, self._fault = seen, served, None
        log.info("the CAs changed and were read again", endpoints=sorted(served))
        return True

    def watch(self) -> None:
        """Look again and again, in a thread of its own, until `close`."""
        Thread(target=self._watch, name="scepkit-catalog", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.refresh()
            except Exception:
                log.exception("bug in scepkit; please report it")

    def _report(self, error: ScepError) -> None:
        if self._fault is not None and error.message == self._fault.message:
            return
        # Without its traceback and cause, which hold what was read.
        self._fault = ScepError(error.message, hint=error.hint)
        log.error(
            "the CAs changed but cannot be read; the old ones stay in service",
            error=error.message,
            hint=error.hint,
        )
