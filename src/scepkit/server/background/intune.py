"""The background task of Intune: notifications that wait, what waits too long, and revocations.

Every worker process has this thread. A lease in the database lets one of them work, also where
several machines share it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog

from scepkit.enrolment.secret_box import SecretBox
from scepkit.errors import ScepError
from scepkit.server.intune import outstanding
from scepkit.server.intune.client import IntuneClient
from scepkit.server.intune.connections import in_use, registration_of
from scepkit.server.intune.kept_requests import KeptRequests
from scepkit.server.intune.outstanding import Outstanding
from scepkit.server.intune.revocation_queue import RevocationQueue
from scepkit.server.web import metrics

if TYPE_CHECKING:
    from scepkit.server.directory.data_directory import Home
    from scepkit.store import Store

LEASE = "intune"

_PAUSE = 10.0  # seconds between two rounds
_LEASE_TIME = timedelta(minutes=5)
_PATIENCE = 10.0  # seconds for a call to come to its end

log = structlog.get_logger()


@dataclass(slots=True)
class IntuneRounds:
    """Does the rounds; for one thread.

    Attributes:
        home: returns the data directory as it is served.
        store: its database.
        now: returns the time as an aware datetime.
    """

    home: Callable[[], Home]
    store: Store
    now: Callable[[], datetime]
    _holder: str = field(default_factory=lambda: str(uuid.uuid4()))
    _looked: dict[str, datetime] = field(default_factory=dict)
    _clients: Mapping[str, IntuneClient] = field(default_factory=dict)
    _of: Home | None = None

    @property
    def is_needed(self) -> bool:
        """Say whether an endpoint asks Intune."""
        return bool(in_use(self.home().settings))

    async def run(self) -> None:
        """Do a round, if it is this process's turn; a failure of one part is logged.

        Raises:
            ScepError: the database cannot be used.
        """
        home = self.home()
        used = in_use(home.settings)
        now = self.now()
        if not used or not self.store.take_lease(
            LEASE, self._holder, now=now, until=now + _LEASE_TIME
        ):
            return
        self._connect(home, used)
        for name, client in self._clients.items():
            requests = KeptRequests(name, self.store, SecretBox(home.challenge_key), self.now)
            await self._of_registration(home, requests, client, used[name])

    async def _of_registration(
        self, home: Home, requests: KeptRequests, client: IntuneClient, endpoints: tuple[str, ...]
    ) -> None:
        given_up = outstanding.give_up(requests, endpoints)
        if given_up:
            log.warning(
                "certificates that waited for Intune's word too long are revoked",
                by=requests.name,
                count=given_up,
            )
        await Outstanding(client, requests).send(outstanding.due(requests))
        outstanding.forget(requests)
        minutes = home.settings.intune[client.registration.name].revocation_minutes
        if minutes and self._is_due(client.registration.name, timedelta(minutes=minutes)):
            await self._revoke(RevocationQueue(client, endpoints, self.store, self.now))

    async def _revoke(self, queue: RevocationQueue) -> None:
        try:
            count = await queue.work_off()
        except ScepError as error:
            log.warning(
                "the revocation queue cannot be worked off",
                by=queue.name,
                error=error.message,
                hint=error.hint,
            )
        else:
            if count:
                log.info(
                    "requests of the revocation queue are answered", by=queue.name, count=count
                )

    def _is_due(self, name: str, pause: timedelta) -> bool:
        now = self.now()
        last = self._looked.get(name)
        if last is not None and last <= now < last + pause:
            return False
        self._looked[name] = now
        return True

    def _connect(self, home: Home, used: Mapping[str, tuple[str, ...]]) -> None:
        """Make the clients anew where the settings were read again."""
        if home is self._of:
            return
        files = home.files or {}
        self._clients = {
            name: IntuneClient(registration_of(home.settings, name, files[endpoints[0]].intune))
            for name, endpoints in used.items()
        }
        for name, client in self._clients.items():
            day = client.registration.secret_expires
            if day is not None:
                end = datetime.combine(day, datetime.min.time(), UTC)
                metrics.labelled(metrics.INTUNE_SECRET, name).set(end.timestamp())
        self._of = home

    def end(self) -> None:
        """Let another process have its turn.

        Raises:
            StoreError: the database cannot be written.
        """
        self.store.end_lease(LEASE, self._holder)


class IntuneJob:
    """Does rounds again and again, in a thread of its own.

    Args:
        rounds: what to do.
        pause: seconds between two rounds.
    """

    def __init__(self, rounds: IntuneRounds, pause: float = _PAUSE) -> None:
        self._rounds = rounds
        self._pause = pause
        self._stopped = Event()
        self._thread = Thread(target=self._work, name="scepkit-intune", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the round that is under way, or leave it behind if it takes long."""
        self._stopped.set()
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        loop = None
        try:
            while not self._stopped.wait(self._pause):
                if loop is None and self._rounds.is_needed:
                    loop = asyncio.new_event_loop()
                if loop is not None:
                    self._round(loop)
        finally:
            if loop is not None:
                self._end()
                loop.close()

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_until_complete(self._rounds.run())
        except ScepError as error:
            log.error(  # noqa: TRY400
                "background task failed", task="intune", error=error.message, hint=error.hint
            )
        except Exception:
            log.exception("bug in scepkit; please report it")

    def _end(self) -> None:
        try:
            self._rounds.end()
        except ScepError as error:
            log.warning("a lease was not given back", task="intune", error=error.message)
