"""The background task: what becomes due with time, and what is kept no longer.

It expires requests, replaces and revokes certificates as planned, tells of those that were never
delivered, deletes records, and replaces RA certificates. CRLs are signed by `crl_signing`.
What cannot be taken back waits where the clock may be wrong (`clock_jumps`).

Every worker process has this thread. A lock on a file lets one of them work, which ends with the
process that holds it; if two did work, nothing would be wrong but the waste.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event, Thread

import structlog

from scepkit.ca.directory import paths, rotation
from scepkit.enrolment.third_parties import ASSENT_LIFETIME
from scepkit.errors import ScepError
from scepkit.keys import ownership
from scepkit.operations.purging import purge
from scepkit.operations.selection import Moment
from scepkit.server.background.clock_jumps import ClockJumps
from scepkit.server.directory import key_protection
from scepkit.server.directory.passphrases import PassphraseSource
from scepkit.server.settings import Settings
from scepkit.store import SERVER, AuditAction, AuditEvent, Store

LOCK = ".sweep.lock"

# Seconds from the start to the first round. Nothing is urgent: what expired is refused anyway,
# and an expired RA is replaced before the start.
_FIRST = 60.0
# How long a certificate may be signed and not delivered before the log tells of it.
_UNDELIVERED = timedelta(hours=1)
_PATIENCE = 10.0  # seconds for a part of a round to come to its end

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sweep:
    """One round of what has to be done from time to time; each part is harmless if done twice.

    Attributes:
        settings: how often and how long.
        store: what is swept.
        now: returns the time as an aware datetime.
        passphrases: finds what the CAs' keys are encrypted under.
        jumps: says whether the clock can be believed; None to believe it.
    """

    settings: Settings
    store: Store
    now: Callable[[], datetime]
    passphrases: PassphraseSource = field(default_factory=PassphraseSource)
    jumps: ClockJumps | None = None

    def run(self) -> None:
        """Do all of it; a failure of one part is logged, and the rest is done."""
        if self.jumps is None or self.jumps.is_settled(self.now()):
            _attempt(self._expire)
            _attempt(self._replace)
            _attempt(self._revoke)
            _attempt(self._forget_assents)
            _attempt(self._purge)
        _attempt(self._undelivered)
        for name in self.settings.authorities:
            _attempt(self._rotate, ca=name)

    def _expire(self) -> None:
        count = self.store.expire(self.now())
        if count:
            log.info("requests expired before they were decided", count=count)

    def _replace(self) -> None:
        count = self.store.replace_due(self.now())
        if count:
            log.info("certificates were replaced whose successor has not signed yet", count=count)

    def _revoke(self) -> None:
        count = self.store.revoke_due(self.now())
        if count:
            log.info("certificates were revoked as planned", count=count)

    def _undelivered(self) -> None:
        """Tell of what was signed and not delivered: devices come back for it, or never."""
        count = self.store.undelivered(self.now() - _UNDELIVERED)
        if count:
            log.warning(
                "certificates are signed and were not delivered for an hour",
                count=count,
                hint="the service that has to agree failed, or the devices do not come back",
            )

    def _forget_assents(self) -> None:
        self.store.forget_assents(self.now() - ASSENT_LIFETIME)

    def _purge(self) -> None:
        keep = timedelta(days=self.settings.retention_days)
        moment = Moment(self.now(), self.settings.renewal_graces)
        lifetime = timedelta(hours=self.settings.crl_hours)
        purged = purge(self.store, moment, keep=keep, crl_lifetime=lifetime, by=SERVER)
        if any(purged):
            log.info("old records were deleted", **purged._asdict())
        self.store.forget_early()

    def _rotate(self, ca: str) -> None:
        # Else what a killed change of the passphrase left would undo it: the old key comes back.
        key_protection.finish(self.settings)
        directory = self.settings.authority_directory(ca)
        if paths.has_request(directory) and not paths.exists(directory):
            return  # its certificate is waited for
        _attempt(self._rotate_ra, ca=ca)
        _attempt(self._rotate_ocsp, ca=ca)

    def _rotate_ra(self, ca: str) -> None:
        directory = self.settings.authority_directory(ca)
        before = timedelta(days=self.settings.ra_rotation_days)
        passphrase = self.passphrases.find()
        if rotation.rotate_ra(directory, now=self.now(), before=before, passphrase=passphrase):
            log.info("the RA has a new key and certificate", ca=ca)
            self._record(AuditAction.RA_REPLACED, ca)

    def _rotate_ocsp(self, ca: str) -> None:
        directory = self.settings.authority_directory(ca)
        passphrase = self.passphrases.find()
        if rotation.rotate_ocsp(directory, now=self.now(), passphrase=passphrase):
            log.info("the OCSP responder has a new key and certificate", ca=ca)
            self._record(AuditAction.OCSP_REPLACED, ca)

    def _record(self, action: AuditAction, ca: str) -> None:
        self.store.write_audit(AuditEvent(action, SERVER, self.now(), details={"ca": ca}))


def _attempt(part: Callable[..., None], **facts: str) -> None:
    """Do a part of a round, with the facts as its arguments; log them where it fails."""
    try:
        part(**facts)
    except ScepError as error:
        log.error(  # noqa: TRY400
            "background task failed",
            task=part.__name__.strip("_"),
            **facts,
            error=error.message,
            hint=error.hint,
        )
    except Exception:
        log.exception("bug in scepkit; please report it", **facts)


class Sweeper:
    """Sweeps every so many minutes, in a thread of its own, while this process holds the lock.

    Args:
        sweep: what to do.
        first: seconds until the first round.
    """

    def __init__(self, sweep: Sweep, *, first: float = _FIRST) -> None:
        self._sweep = sweep
        self._first = first
        self._stopped = Event()
        self._thread = Thread(target=self._work, name="scepkit-sweeper", daemon=True)
        self._path = sweep.settings.directory / LOCK
        self._lock: int | None = None

    def use(self, settings: Settings, passphrases: PassphraseSource) -> None:
        """Go by these settings from the next round on."""
        self._sweep = replace(self._sweep, settings=settings, passphrases=passphrases)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the part that is being done."""
        self._stopped.set()
        self._thread.join(_PATIENCE)
        if self._lock is not None and not self._thread.is_alive():
            os.close(self._lock)
            self._lock = None

    def _work(self) -> None:
        pause = self._first
        while not self._stopped.wait(pause):
            if self._is_ours():
                self._sweep.run()
            pause = self._sweep.settings.sweep_minutes * 60

    def _is_ours(self) -> bool:
        """Take the lock, or hold it still; it stays open, and with that taken, for good."""
        if self._lock is not None:
            return True
        try:
            descriptor = ownership.open_file(self._path)
        except OSError:
            # A directory that is mounted read-only: every process sweeps.
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            # Some network file systems have no locks: every process sweeps there, too.
            os.close(descriptor)
            return True
        self._lock = descriptor
        return True
