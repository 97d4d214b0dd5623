"""OCSP responses that are signed before they are asked for.

Every worker process keeps its own, so every one has this thread.
"""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import structlog

from scepkit.errors import ScepError
from scepkit.server.endpoints.served import Endpoints

# How often it looks, and what it looks for: what is too old before two more looks.
LOOK_SECONDS = 15.0
_WITHIN = timedelta(seconds=2 * LOOK_SECONDS)

_PATIENCE = 10.0  # seconds for a response to be signed

log = structlog.get_logger()


class OCSPPresigner:
    """Has the OCSP services of a catalogue sign ahead, in a thread of its own.

    Args:
        endpoints: what is served.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._stopped = Event()
        self._thread = Thread(target=self._work, name="scepkit-ocsp-ahead", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the response that is being signed."""
        self._stopped.set()
        self._thread.join(_PATIENCE)

    def look(self) -> int:
        """Sign the responses that are due; return their number."""
        # Endpoints with one CA share its service.
        services = {id(one.ocsp): one.ocsp for one in self._endpoints.served.values()}
        stopped = self._stopped.is_set
        return sum(service.sign_ahead(_WITHIN, stopped) for service in services.values())

    def _work(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.look()
            except ScepError as error:
                # Nothing is lost: whoever asks has it signed then.
                log.warning("no OCSP response could be signed ahead", error=error.message)
            except Exception:
                log.exception("bug in scepkit; please report it")
