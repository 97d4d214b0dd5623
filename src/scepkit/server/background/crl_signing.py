"""The newest CRL of every CA, in memory, and the thread that has it made when it is time.

Every worker process looks at the database once a second. What somebody else made is read, be it
another worker or `scep admin revoke`; what is missing, outdated by a revocation or near its end is
made by one of them. After that there is a pause, so that ten thousand revocations in a burst make a
few CRLs; and when a CRL cannot be made, the last one stays.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread

import structlog

from scepkit.ca.authority import Authority
from scepkit.ca.extensions import ca_id
from scepkit.errors import ScepError
from scepkit.keys import ownership
from scepkit.operations import revocation
from scepkit.server.web.crl_and_ca import Resource, of_certificate, of_crl
from scepkit.store import CRLState, Store

LOCK = ".crl.lock"

# Seconds between two looks at the database: how long a revocation may be missing after a pause.
LOOK_SECONDS = 1.0
# Seconds from one CRL of a CA to the next, at least; and for large ones so many times as long as
# it took, so that a CA with a million entries does not spend its life signing lists.
PAUSE_SECONDS = 5.0
PAUSE_FACTOR = 10

# The share of the time between when a CRL is due and when it ends, after which it is late.
_LATE = 3

_PATIENCE = 30.0  # seconds for a CRL that is being made to come to its end

log = structlog.get_logger()


@dataclass(slots=True)
class _CurrentCRL:
    """The state of one CA's CRL.

    Attributes:
        authority: the CA.
        certificate: its certificate, to be served.
        crl: its newest CRL, to be served.
        state: of that CRL.
        fault: why no newer one could be made or read; empty when all is well.
        took: the seconds that making one took the last time.
        pause_until: when the next one may be made, by the monotonic clock.
    """

    authority: Authority
    certificate: Resource
    crl: Resource | None = None
    state: CRLState | None = None
    fault: str = ""
    took: float = 0.0
    pause_until: float = float("-inf")


class CRLs:
    """The CRLs and the certificates of a server's CAs. Threads may share it.

    Args:
        store: where revocations and CRLs are.
        lifetime: how long a CRL is good for.
        lock: a file; who has it locked makes CRLs.
        now: returns the time as an aware datetime.
        monotonic: returns the seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        store: Store,
        *,
        lifetime: timedelta,
        lock: Path,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lifetime = lifetime
        self._lock = lock
        self._now = now
        self._monotonic = monotonic
        # Replaced as a whole when the CAs change; what is in it changes under `_looking` alone.
        self._current: Mapping[str, _CurrentCRL] = {}
        self._looking = Lock()
        self._stopped = Event()
        self._thread: Thread | None = None

    def use(self, authorities: Iterable[Authority], lifetime: timedelta | None = None) -> None:
        """Serve these CAs from now on, earlier generations and those to come among them.

        Args:
            authorities: the CAs.
            lifetime: how long the next CRLs are good for; as before when None.
        """
        self._lifetime = lifetime or self._lifetime
        before = self._current
        self._current = {
            (name := ca_id(one.key_hash)): _updated(before.get(name), one) for one in authorities
        }

    def start(self) -> None:
        """Read the stored CRLs, and then look again and again in a thread until `close`."""
        self._each(self._read)
        self._thread = Thread(target=self._work, name="scepkit-crls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the CRL that is being made."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def look(self) -> None:
        """Read the CRLs that others made, and make those that are due."""
        self._each(self._update)

    def crl(self, name: str) -> Resource | None:
        """Return the CRL of a CA.

        Args:
            name: its id, see `scepkit.ca.extensions.ca_id`.

        Returns:
            The newest; None when there is none yet.

        Raises:
            KeyError: there is no such CA.
        """
        return self._current[name].crl

    def certificate(self, name: str) -> Resource:
        """Return the certificate of a CA.

        Raises:
            KeyError: there is no such CA.
        """
        return self._current[name].certificate

    def problems(self) -> list[str]:
        """Return the problems of the CRLs of CAs; empty when all is well."""
        return [one for one in map(self._problem_of, self._current.values()) if one is not None]

    def _problem_of(self, current: _CurrentCRL) -> str | None:
        name = str(current.authority.own.subject_name)
        state, fault = current.state, current.fault
        if state is None:
            return f"no CRL of {name} could be made: {fault}" if fault else None
        until = f"{state.next_update:%Y-%m-%d %H:%M} UTC"
        if state.next_update <= self._now():
            return f"the CRL of {name} ended at {until}: {fault or 'none is newer'}"
        if fault:
            return f"the last CRL of {name}, good until {until}, is served: {fault}"
        if self._now() > _late_at(state):
            return f"a new CRL of {name} is late; the last one, good until {until}, is served"
        return None

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self.look()
            if self._stopped.wait(LOOK_SECONDS):
                return

    def _each(self, act: Callable[[_CurrentCRL], object]) -> None:
        """Do something for every CA; what fails for one is its fault, and the rest is done."""
        with self._looking:
            for current in self._current.values():
                if self._stopped.is_set():
                    return
                try:
                    act(current)
                except ScepError as error:
                    self._note_fault(current, error.message, error.hint)
                except Exception as error:
                    # Other than elsewhere it is not told twice: it comes again every second.
                    if self._note_fault(current, f"{type(error).__name__}, a bug in scepkit"):
                        log.exception("bug in scepkit; please report it")

    def _note_fault(self, current: _CurrentCRL, fault: str, hint: str | None = None) -> bool:
        """Note why a CA has no newer CRL; say whether that is new."""
        if fault == current.fault:
            return False
        current.fault = fault
        name = str(current.authority.own.subject_name)
        log.error("no new CRL; the last one is served", ca=name, error=fault, hint=hint)
        return True

    def _update(self, current: _CurrentCRL) -> None:
        if self._read(current):
            # Another process made it: the pause is between two CRLs, whoever makes them.
            self._pause(current)
        if current.state is None or revocation.is_due(current.state, self._now(), self._lifetime):
            self._make(current)
        else:
            _clear_fault(current)

    def _read(self, current: _CurrentCRL) -> bool:
        """Read the CRL if it is another one than before, and say whether it is."""
        issuer = current.authority.key_hash
        state = self._store.crl_state(issuer)
        if state is None:
            return False
        if current.state is not None and state.number == current.state.number:
            current.state = state
            return False
        row = self._store.crl(issuer)
        if row is None:
            return False
        current.crl = of_crl(row, current.state)
        current.state = CRLState(row.number, row.this_update, row.next_update, row.outdated)
        return True

    def _make(self, current: _CurrentCRL) -> None:
        """Make a CRL, unless the last one is a moment old or another process is at it."""
        started = self._monotonic()
        if started < current.pause_until:
            return
        with _locked(self._lock) as is_ours:
            if not is_ours:
                return
            try:
                row = revocation.current_crl(
                    self._store, current.authority, now=self._now(), lifetime=self._lifetime
                )
            finally:
                current.took = self._monotonic() - started
                self._pause(current)
        _clear_fault(current)
        log.info(
            "a CRL was signed",
            ca=ca_id(current.authority.key_hash),
            number=row.number,
            octets=len(row.der),
            ms=round(current.took * 1000),
        )
        self._read(current)

    def _pause(self, current: _CurrentCRL) -> None:
        current.pause_until = self._monotonic() + max(PAUSE_SECONDS, PAUSE_FACTOR * current.took)


def _updated(current: _CurrentCRL | None, authority: Authority) -> _CurrentCRL:
    if current is None:
        return _CurrentCRL(authority, of_certificate(authority.certificate))
    if current.authority.certificate == authority.certificate:
        return current
    return replace(current, authority=authority, certificate=of_certificate(authority.certificate))


def _late_at(state: CRLState) -> datetime:
    due = revocation.due_at(state)
    return due + (state.next_update - due) / _LATE


def _clear_fault(current: _CurrentCRL) -> None:
    if current.fault:
        current.fault = ""
        log.info("the CRL is current again", ca=ca_id(current.authority.key_hash))


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Say whether no other process is at it, and keep others away meanwhile.

    Where the file cannot be made, or the file system has no locks, nobody is kept away: two that
    make the same list only waste time.
    """
    try:
        descriptor = ownership.open_file(path)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True
    finally:
        os.close(descriptor)
