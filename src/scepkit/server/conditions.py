"""The states of a running server that /healthz reports, and the checks that find them.

`failing` is that no device can be enrolled at all; `degraded` is everything else that somebody has
to see to. docs/reference/answers.md has the table of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from cryptography import x509

from scepkit.errors import ScepError, StoreError
from scepkit.server.ca_loading import HeldCA
from scepkit.server.settings import Settings
from scepkit.store import Store


class Word(IntEnum):
    """The condition of a server; the higher, the worse."""

    OK = 0
    DEGRADED = 1
    FAILING = 2

    @property
    def text(self) -> str:
        """The word itself."""
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
        authorities: returns the CAs that are served.
        unreadable: returns why the CAs' files cannot be read; None when they can.
        crl_problems: returns what is wrong with the CRLs.
        log_is_lost: returns whether the last line of the log could not be written.
        now: returns the time as an aware datetime.
    """

    settings: Settings
    store: Store
    authorities: Callable[[], Mapping[str, HeldCA]]
    unreadable: Callable[[], ScepError | None]
    crl_problems: Callable[[], Iterable[str]]
    log_is_lost: Callable[[], bool]
    now: Callable[[], datetime]

    def find(self) -> Iterator[State]:
        """Yield all states; the database is asked last, as it may take its time."""
        yield from self._of_certificates()
        if fault := self.unreadable():
            reason = f"the server could not be started again: {fault.message}"
            yield State(Word.DEGRADED, reason, fault.hint)
        for problem in self.crl_problems():
            yield State(Word.DEGRADED, problem)
        if self.log_is_lost():
            yield State(Word.DEGRADED, "the log cannot be written")
        try:
            self.store.ping()
        except StoreError as error:
            yield State(Word.FAILING, error.message, error.hint)

    def _of_certificates(self) -> Iterator[State]:
        """Look at the CAs' and RAs' certificates: what is not valid now issues nothing."""
        endpoints = self.settings.endpoint
        now, ended = self.now(), {}
        for name, ca in self.authorities().items():
            if faults := list(_faults(ca, now)):
                ended[name] = faults
        hit = [name for name, one in endpoints.items() if one.ca in ended]
        word = Word.FAILING if len(hit) == len(endpoints) else Word.DEGRADED
        for faults in ended.values():
            yield from (State(word, fault) for fault in faults)


def _faults(ca: HeldCA, now: datetime) -> Iterator[str]:
    material = ca.material
    own, ra = material.ca.certificate, material.ra.certificate
    for role, certificate in (("CA", own), *([] if ra == own else [("RA", ra)])):
        if fault := _fault(certificate, now):
            yield f"the certificate of the {role} of {ca.name!r} {fault}"


def _fault(certificate: x509.Certificate, now: datetime) -> str | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return f"is not valid before {start:%Y-%m-%d %H:%M} UTC: is the clock right?"
    if now > end:
        return f"expired at {end:%Y-%m-%d %H:%M} UTC"
    return None
