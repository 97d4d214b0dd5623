"""/healthz: one word for everybody, within a time that the database cannot exceed.

`failing` is that no device can be enrolled at all; `degraded` is everything else that somebody has
to see to. docs/reference/answers.md has the table of them.

One thread of its own looks at the server, when it is asked and from time to time by itself. Whoever
asks waits for a look that was begun a moment ago, but no longer than the bound: a database that
does not answer holds up one thread, however often it is asked for. Every change is a line of the
log; the details are shown where the metrics are, see `monitoring`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from threading import Condition, Thread
from typing import TypeAlias

import structlog
from cryptography import x509

from scepkit.errors import ScepError, StoreError
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.http.exchange import NO_STORE, Exchange
from scepkit.server.intune.connections import in_use
from scepkit.server.settings import Settings
from scepkit.store import Store

# Days before its end from which a client secret is reported: whoever renews it may be away.
_SECRET_DAYS = 30
_RENEW = (
    "make another one in Entra, write it into secret_file, set secret_expires, then scep admin "
    "reload"
)
# How long Intune may not have been told of a request.
_UNTOLD = timedelta(hours=2)


class Word(IntEnum):
    """The condition of a server; the higher, the worse."""

    OK = 0
    DEGRADED = 1
    FAILING = 2

    @property
    def text(self) -> str:
        """Return the word itself."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class State:
    """One thing that is wrong.

    Attributes:
        word: what it makes of the server.
        reason: what it is, for operators.
        hint: what they may do about it; empty where that is not known.
    """

    word: Word
    reason: str
    hint: str = ""


def worst(states: Iterable[State]) -> Word:
    """Return the condition that all states together make."""
    return max((state.word for state in states), default=Word.OK)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Finds faults of the server. Threads may share it.

    Attributes:
        settings: which endpoints there are.
        store: the database.
        authorities: returns the CAs that are served; those that wait for their certificates are
            not among them.
        unreadable: returns why the CAs' files cannot be read; None when they can.
        crl_problems: returns what is wrong with the CRLs.
        log_is_lost: returns whether the last line of the log could not be written.
        now: returns the time as an aware datetime.
        not_reloaded: returns why changed settings are not in force; None when they are.
        api_fault: returns why the API cannot start; "" when it can.
        unread: returns why CAs that no endpoint has any more are not served, by name.
    """

    settings: Settings
    store: Store
    authorities: Callable[[], Mapping[str, LoadedCA]]
    unreadable: Callable[[], ScepError | None]
    crl_problems: Callable[[], Iterable[str]]
    log_is_lost: Callable[[], bool]
    now: Callable[[], datetime]
    not_reloaded: Callable[[], ScepError | None] = lambda: None
    api_fault: Callable[[], str] = lambda: ""
    unread: Callable[[], Mapping[str, str]] = dict

    def find(self) -> Iterator[State]:
        """Yield all states; the database is asked last, as it may take its time."""
        yield from self._of_certificates()
        if fault := self.unreadable():
            reason = f"the server could not be started again: {fault.message}"
            yield State(Word.DEGRADED, reason, fault.hint)
        if fault := self.not_reloaded():
            reason = f"the settings were not read again; the old ones are in force: {fault.message}"
            yield State(Word.DEGRADED, reason, fault.hint)
        if reason := self.api_fault():
            yield State(Word.DEGRADED, f"the API cannot start: {reason}")
        for problem in self.crl_problems():
            yield State(Word.DEGRADED, problem)
        if self.log_is_lost():
            yield State(Word.DEGRADED, "the log cannot be written")
        try:
            self.store.ping()
            yield from self._of_intune()
            dead = self.store.dead_letters()
        except StoreError as error:
            yield State(Word.FAILING, error.message, error.hint)
            return
        for name, count in dead.items():
            reason = f"{count} notifications of {name!r} could not be delivered and were given up"
            hint = "scep admin outbox list --dead shows why; retry or drop them"
            yield State(Word.DEGRADED, reason, hint)

    def _of_intune(self) -> Iterator[State]:
        """Look at the secrets by which Intune is asked, and at what it has still to be told.

        Raises:
            StoreError: the database does not answer.
        """
        used, now = in_use(self.settings), self.now()
        for name in used:
            day = self.settings.intune[name].secret_expires
            left = None if day is None else (day - now.date()).days
            if left is not None and left <= _SECRET_DAYS:
                said = f"expires on {day}" if left > 0 else f"expired on {day}"
                reason = f"the client secret of [intune.{name}] {said}"
                yield State(Word.DEGRADED, reason, _RENEW)
        count, oldest = self.store.waiting_notices() if used else (0, None)
        if oldest is not None and now - oldest > _UNTOLD:
            since = f"{oldest:%Y-%m-%d %H:%M} UTC"
            reason = f"{count} notifications for Intune wait, the oldest since {since}"
            yield State(Word.DEGRADED, reason, "scep admin intune test")

    def _of_certificates(self) -> Iterator[State]:
        """Look at the CAs' and RAs' certificates: what is not valid now issues nothing."""
        endpoints = self.settings.endpoint
        now, there = self.now(), self.authorities()
        found = {name: tuple(_faults(name, there, now)) for name in self.settings.issuing}
        hit = [name for name, one in endpoints.items() if found[one.ca]]
        word = Word.FAILING if len(hit) == len(endpoints) else Word.DEGRADED
        for faults in found.values():
            yield from (State(word, fault, hint) for fault, hint in faults)
        for name, fault in self.unread().items():
            reason = f"the CRL of {name!r}, a CA that no endpoint has, is not signed: {fault}"
            hint = "put the files right; or, if nobody needs the CRL, remove the CA's directory"
            yield State(Word.DEGRADED, reason, hint)


def _faults(
    name: str, authorities: Mapping[str, LoadedCA], now: datetime
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a CA, and what may be done about it."""
    if name not in authorities:
        yield (
            f"the CA {name!r} waits for its certificate from the CA above",
            f"scep admin ca install {name} CERT --chain ROOT",
        )
        return
    material = authorities[name].material
    own, ra = material.ca.certificate, material.ra.certificate
    for role, certificate in (("CA", own), *([] if ra == own else [("RA", ra)])):
        if fault := _fault(certificate, now):
            yield f"the certificate of the {role} of {name!r} {fault}", ""


def _fault(certificate: x509.Certificate, now: datetime) -> str | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return f"is not valid before {start:%Y-%m-%d %H:%M} UTC: is the clock right?"
    if now > end:
        return f"expired at {end:%Y-%m-%d %H:%M} UTC"
    return None


States: TypeAlias = tuple[State, ...]

# Seconds that an answer stands: asking more often must not make the database write more often.
STANDS = 1.0
# Seconds that an answer may take; then the database is taken to be out of order.
BOUND = 2.0
# Seconds between two looks that nobody asked for.
WATCH_SECONDS = 10.0

UNAVAILABLE = 503

log = structlog.get_logger()


class Health:
    """Looks at a server and answers /healthz. Threads may share it.

    Args:
        find: finds what is wrong; it may take as long as it wants.
        share: called with what was found, after every look.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[State]],
        share: Callable[[States], None] = lambda _states: None,
    ) -> None:
        self._find = find
        self._share = share
        self._changed = Condition()
        self._look: Future[States] | None = None  # the newest; it may not be over
        self._begun = self._ended = float("-inf")
        self._told: frozenset[State] = frozenset()
        self._thread: Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Look from time to time, in a thread, until `close`."""
        self._thread = Thread(target=self._work, name="scepkit-health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the look that is under way, which nobody waits for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def answer(self, exchange: Exchange) -> None:
        """Answer with the word alone: 503 for `failing`, else 200."""
        look, patience = self._wanted()
        try:
            if not look.done():
                await asyncio.wait_for(asyncio.wrap_future(look), patience)
            states = look.result()
        except TimeoutError:
            states = self._hanging(look)
        word = worst(states)
        status = UNAVAILABLE if word is Word.FAILING else 200
        body = b'{"status":"%s"}' % word.text.encode("ascii")
        await exchange.send(HTTPResponse(status, body, "application/json", NO_STORE))

    def states(self) -> States:
        """Return the problems of now, or of a second ago; within the bound."""
        look, patience = self._wanted()
        try:
            return look.result(patience)
        except TimeoutError:
            return self._hanging(look)

    def _wanted(self) -> tuple[Future[States], float]:
        """Return a look that is fresh or under way, and how long to wait for it."""
        with self._changed:
            now = time.monotonic()
            look = self._look
            if look is None or (look.done() and now - self._ended >= STANDS):
                look = self._begin(now)
            return look, max(0.0, self._begun + BOUND - now)

    def _begin(self, now: float) -> Future[States]:
        look: Future[States] = Future()
        # So that nobody who stops waiting for it can cancel it.
        look.set_running_or_notify_cancel()
        self._look, self._begun = look, now
        self._changed.notify_all()
        return look

    def _hanging(self, look: Future[States]) -> States:
        state = State(Word.FAILING, f"the database does not answer within {BOUND:g} seconds")
        with self._changed:
            if look.done():
                # It came to its end at this very moment, and has told so.
                return look.result()
            self._tell((state,))
        return (state,)

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        pause = STANDS
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, pause)
                pause = WATCH_SECONDS
                if self._closed:
                    return
                look = self._look
                if look is None or look.done():
                    look = self._begin(time.monotonic())
            states = self._found()
            self._share(states)
            with self._changed:
                self._ended = time.monotonic()
                if not self._closed:  # else it may have seen that the database was closed
                    self._tell(states)
                look.set_result(states)

    def _is_due(self) -> bool:
        return self._closed or (self._look is not None and not self._look.done())

    def _found(self) -> States:
        try:
            return tuple(self._find())
        except Exception as error:
            log.exception("bug in scepkit; please report it")
            return (State(Word.DEGRADED, f"{type(error).__name__}, a bug in scepkit"),)

    def _tell(self, states: States) -> None:
        """Write a line for each state that is new, and one when the last of them is over."""
        before, self._told = self._told, frozenset(states)
        for state in states:
            if state not in before:
                log.warning("health", status=state.word.text, reason=state.reason)
        if before and not states:
            log.info("health", status=Word.OK.text)
