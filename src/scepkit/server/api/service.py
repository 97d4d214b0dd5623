"""The API's share of a server: the settings in force, the database, and the bounds of tokens."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime

from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.rate_limit import Limiters
from scepkit.errors import ScepError, StoreError, UsageError
from scepkit.server.api import tls
from scepkit.server.api.places import Places
from scepkit.server.api.problems import Kind, ProblemError
from scepkit.server.directory import data_directory
from scepkit.server.directory.data_directory import Home
from scepkit.store import Store

# Seconds that a look at the database stands: anybody may ask.
_STANDS = 5.0


class Service:
    """The API's share of a server. Threads may share it.

    Args:
        home: the data directory, without its CAs.
        store: its database.
        now: returns the time as an aware datetime.
        context: what TLS is done with; None where it is not done here.

    Attributes:
        home: the data directory, with the settings in force.
        store: as given.
        now: as given.
        wrong_tokens: counts them by address.
        requests: counts those of each token.
        bulks: the places for large requests.
        context: as given.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        now: Callable[[], datetime],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.home = home
        self.store = store
        self.now = now
        self.wrong_tokens = Limiters(now)
        self.requests = Limiters(now)
        self.bulks = Places(2)
        self.context = context
        self._prepared: Home | None = None
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._is_up = False

    # --- settings that are read again -------------------------------------------------------------

    def prepare(self, home: Home) -> None:
        """Look whether other settings can be used; nothing changes yet.

        Raises:
            SettingsError: the files of TLS cannot be used.
        """
        self._prepared = None
        if self.context is not None:
            tls.context(home.settings)
        self._prepared = home

    def switch(self) -> None:
        """Put into force what was prepared.

        Raises:
            UsageError: nothing was.
        """
        if self._prepared is None:
            raise UsageError("no settings were prepared")
        if self.context is not None:
            tls.load(self.context, self._prepared.settings)
        self.home, self._prepared = self._prepared, None

    def drop(self, fault: ScepError | None) -> None:  # noqa: ARG002 - the workers tell of it
        """Keep the settings in force."""
        self._prepared = None

    # --- for the routes ---------------------------------------------------------------------------

    def challenges_of(self, endpoint: str) -> OneTimeChallenges:
        """Return the one-time challenges of an endpoint.

        Raises:
            ProblemError: it has none.
        """
        try:
            return data_directory.challenges_of(self.home, self.store, endpoint)
        except UsageError as error:
            raise ProblemError(Kind.CANNOT_MINT, error.message, hint=error.hint) from error

    def is_up(self) -> bool:
        """Say whether the database can be written, by a look of a few seconds ago at most."""
        with self._lock:
            if time.monotonic() - self._looked >= _STANDS:
                try:
                    self.store.ping()
                    self._is_up = True
                except StoreError:
                    self._is_up = False
                self._looked = time.monotonic()
            return self._is_up
