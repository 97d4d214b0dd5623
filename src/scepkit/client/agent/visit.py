"""One visit to a directory: look at what is there, renew if it is due, and deploy.

All is read from the disk, and what matters is written there before and after each step. So a visit
that is killed at any instant is made good by the next.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from scepkit.client import clock, enroller, renewal_advice
from scepkit.client import events as renewal_events
from scepkit.client.agent import deployment, events, places, schedule, state_file
from scepkit.client.agent.events import AgentEvent
from scepkit.client.agent.result import Verdict, Visit, judge
from scepkit.client.agent.settings import AgentSettings, of_directory
from scepkit.client.agent.state import HookState, Standing, State
from scepkit.client.agent.state_file import StateFile
from scepkit.client.client import Connection
from scepkit.client.folder import Folder
from scepkit.client.folder.files import CERTIFICATE
from scepkit.client.folder.record import Record
from scepkit.client.renewer import RenewalOptions, Renewer
from scepkit.errors import (
    CertificateRevoked,
    DirectoryBusy,
    RequestRefused,
    ScepError,
    SettingsError,
    StillPending,
    TransportError,
)
from scepkit.protocol import certificate as certificates
from scepkit.protocol.certificate import Certificate


@dataclass(slots=True)
class Surroundings:
    """The things that visits of one agent share.

    Attributes:
        settings: what counts where a directory has none of its own.
        connection: how servers are reached.
        tell: takes the events.
        away: the servers that could not be reached in this pass, by URL, and why: others that wait
            for the same one would only wait, too.
        unsaved: the states that could not be written.
        eager: whether to try again what failed, without waiting.
    """

    settings: AgentSettings
    connection: Connection
    tell: Callable[[AgentEvent], None]
    away: MutableMapping[str, TransportError]
    unsaved: MutableMapping[Path, State]
    eager: bool = False


def visit(directory: Path, around: Surroundings) -> Visit:
    """Look after a directory once; nothing that goes wrong in it is raised."""
    try:
        with places.locked(directory):
            return _Work(directory, around).done()
    except DirectoryBusy:
        around.tell(events.AnotherAtWork(directory))
        return Visit(directory, Verdict.BUSY, state_file.seen(directory))


class _Work:
    """One visit under way."""

    def __init__(self, directory: Path, around: Surroundings) -> None:
        self._directory = directory
        self._around = around
        self._tell = around.tell
        self._folder = Folder(directory)
        self._now = clock.now().replace(microsecond=0)
        self._certificate: Certificate | None = None
        self._is_refused = False
        self._is_usable = True
        self._settings = self._read_settings()
        self._file = StateFile(directory, around.unsaved, around.tell)
        self._state = replace(self._file.read().by_clock(self._now), looked_at=self._now)

    def done(self) -> Visit:
        """Do all of it."""
        self._try(self._look, self._unusable)
        if self._is_usable:
            self._try(self._renew, self._failed)
            self._try(self._deploy, self._failed)
        self._state = self._with_next()
        self._file.write(self._state)
        verdict = Verdict.FAILED if self._is_refused else judge(self._certificate, self._state)
        return Visit(self._directory, verdict, self._state, self._certificate)

    def _try(self, step: Callable[[], None], failed: Callable[[ScepError], None]) -> None:
        """Do a step; what goes wrong in one directory must not keep an agent from the others."""
        try:
            step()
        except DirectoryBusy:
            raise
        except ScepError as error:
            failed(error)
        except Exception as error:  # noqa: BLE001
            failed(SettingsError(f"this should not happen: {type(error).__name__}: {error}"))

    def _unusable(self, error: ScepError) -> None:
        """Take note of a directory that only a person can put right."""
        self._is_usable = False
        failed = self._state.became(Standing.FAILED, self._now, error.message)
        self._state = replace(failed, renew_at=None)
        self._tell(events.DirectoryUnusable(self._directory, error))

    def _read_settings(self) -> AgentSettings:
        try:
            return of_directory(self._directory, self._around.settings)
        except SettingsError as error:
            self._tell(events.SettingsRefused(self._directory, error))
            self._is_refused = True
            return replace(self._around.settings, hooks=())

    def _look(self) -> None:
        """See which certificate there is, and since when.

        Raises:
            SettingsError: it cannot be used.
        """
        folder = self._folder
        folder.check_exists()
        self._certificate = folder.certificate()
        if self._certificate is None:
            return
        folder.check_renewable()
        digest = certificates.fingerprint(self._certificate.der)
        if self._state.certificate != digest:
            # Somebody else renewed it, or this agent did and was killed before it could say so.
            self._state = self._with_certificate(digest, folder.got_at(self._now))
        elif self._state.failures == 0 and not self._is_noted_revoked():
            self._state = self._state.became(Standing.VALID, self._now)
        self._ask_advice(self._certificate)
        self._state = replace(self._state, renew_at=self._renew_at(self._certificate))

    def _with_certificate(self, digest: str, got_at: datetime) -> State:
        """Return the state with another certificate."""
        return replace(
            self._state.became(Standing.VALID, self._now),
            certificate=digest,
            got_at=got_at,
            failures=0,
            running=False,
            retry_at=None,
            advised_at=None,
            advise_again_at=None,
            explanation="",
        )

    def _renew_at(self, certificate: Certificate) -> datetime:
        """Return when a certificate is to be renewed, but not soon after it was got."""
        return schedule.renew_at(
            certificate,
            self._state.got_at or self._now,
            at=self._settings.at,
            interval=self._settings.min_interval,
            advised=self._state.advised_at,
        )

    def _ask_advice(self, certificate: Certificate) -> None:
        """Ask the server when it wants the certificate to be renewed, if it may be asked now."""
        if self._folder.revocation() is not None:
            # Nobody knows when to renew that.
            return
        record = self._folder.record()
        again_at = None if self._around.eager else self._state.advise_again_at
        if record is None or record.url in self._around.away:
            return
        if not renewal_advice.is_time(record, again_at):
            return
        found, again_at = renewal_advice.ask(record, certificate, self._connection(), self._relay)
        self._state = replace(
            self._state,
            advised_at=found.at if found else None,
            advise_again_at=again_at,
            explanation=found.explanation if found else "",
        )

    def _renew(self) -> None:
        """Renew if that is due and not put off, or ask the CA what it has to say."""
        found, renew_at = self._certificate, self._state.renew_at
        is_interrupted = (self._directory / f"{CERTIFICATE}.new").exists()
        if not is_interrupted and (found is None or renew_at is None):
            if self._state.certificate or self._folder.waiting_request() is None:
                self._state = self._missing()
            elif not self._is_put_off():
                self._begin()
                self._attempt(None, self._ask_again)
            return
        is_due = self._folder.unfinished.exists() or (
            renew_at is not None and self._now >= renew_at
        )
        # A hold may have ended: that is asked as often as all else is while nothing is due.
        is_due = is_due and not self._is_noted_revoked()
        if not is_interrupted and (self._is_put_off() or not (is_due or self._is_look_due())):
            return
        if is_due:
            self._begin()
        elif not is_interrupted and self._away() is not None:
            # Nothing is due: the next look asks what this one cannot.
            return
        # What the server advises is in `renew_at` already.
        before = found.not_after - renew_at if found is not None and renew_at is not None else None
        options = RenewalOptions(before, advised=False)
        renewer = Renewer(self._folder, self._connection(), tell=self._relay)
        self._attempt(found, lambda: renewer.renew(options))

    def _begin(self) -> None:
        """Note that something is about to be asked for, before it is."""
        failures = self._state.failures + 1
        self._state = replace(self._state, failures=failures, running=True, tried_at=self._now)
        self._file.write(self._state)

    def _ask_again(self) -> None:
        """Ask for the first certificate, whose request waits."""
        enroller.resume(self._folder, self._connection(), tell=self._relay)

    def _missing(self) -> State:
        is_lost = bool(self._state.certificate)
        said = f"{self._directory / CERTIFICATE} is missing"
        waiting = "the first one is still awaited" if self._folder.unfinished.exists() else said
        return replace(
            self._state.became(Standing.MISSING, self._now, said if is_lost else waiting),
            renew_at=None,
            retry_at=None,
        )

    def _is_put_off(self) -> bool:
        """Say whether a renewal failed not long ago.

        One over which the agent was killed did not, the first time.
        """
        last = self._state
        if self._around.eager or (last.running and last.failures <= 1):
            return False
        return last.retry_at is not None and self._now < last.retry_at

    def _is_look_due(self) -> bool:
        if self._state.retry_at is not None:
            return True
        if self._folder.revocation() is not None and (
            self._around.eager or not self._is_noted_revoked()
        ):
            return True
        asked_at = self._state.asked_at
        return asked_at is None or self._now >= asked_at + self._settings.look_every

    def _is_noted_revoked(self) -> bool:
        """Say whether the agent has said that the certificate is revoked, and it still is."""
        is_said = self._state.standing is Standing.REVOKED
        return is_said and self._folder.revocation() is not None

    def _attempt(self, before: Certificate | None, ask: Callable[[], object]) -> None:
        """Ask the server for a certificate, or about revocation and the CA's successor.

        Args:
            before: the current certificate.
            ask: does it.
        """
        try:
            self._check_reachable()
            ask()
        except DirectoryBusy:
            self._state = replace(
                self._state, running=False, failures=max(self._state.failures - 1, 0)
            )
            self._file.write(self._state)
            raise
        except ScepError as error:
            self._failed(error)
        else:
            # Nobody may have said whether a hold has ended.
            is_well = self._folder.revocation() is None
            self._state = replace(
                self._state.became(Standing.VALID, self._now) if is_well else self._state,
                failures=0,
                running=False,
                retry_at=None,
                asked_at=self._now,
            )
        # Also after a failure: an interrupted installation may have been finished before it.
        self._see_new(before)

    def _see_new(self, before: Certificate | None) -> None:
        """Take note of a certificate that was installed just now."""
        found = self._certificate = self._folder.certificate()
        if found is None or (before is not None and found.der == before.der):
            return
        is_failed = self._state.failures > 0
        standing, said = self._state.standing, self._state.said
        self._state = self._with_certificate(certificates.fingerprint(found.der), self._now)
        if is_failed:
            self._state = self._state.became(standing, self._now, said)
        self._state = replace(self._state, renew_at=self._renew_at(found))
        self._tell(events.CertificateInstalled(self._directory, found))
        self._file.write(self._state)

    def _check_reachable(self) -> None:
        """Leave a server alone that was away a moment ago, for another directory.

        Raises:
            TransportError: it was.
        """
        error = self._away()
        if error is not None:
            raise error

    def _away(self) -> TransportError | None:
        """Return why the server could not be reached in this pass; None where nothing says so."""
        record = self._server_record()
        return None if record is None else self._around.away.get(record.url)

    def _connection(self) -> Connection:
        timeout = self._settings.timeout
        usual = self._around.connection
        return usual if timeout is None else replace(usual, timeout=timeout)

    def _relay(self, event: renewal_events.Event) -> None:
        if isinstance(event, renewal_events.NextCAUnknown | renewal_events.RenewalInfoUnknown):
            self._note_away(event.error)
        self._tell(events.RenewerSaid(self._directory, event))

    def _note_away(self, error: ScepError) -> None:
        if not isinstance(error, TransportError) or error.status is not None:
            return
        # Somebody may have damaged the record meanwhile: the next look says so.
        with suppress(SettingsError):
            record = self._server_record()
            if record is not None:
                self._around.away[record.url] = error

    def _server_record(self) -> Record | None:
        """Return the record that names the server: of the certificate, or of the first request."""
        return self._folder.record() or self._folder.unfinished_record()

    def _failed(self, error: ScepError) -> None:
        """Take note of a failure, and of when to try again."""
        is_refused = isinstance(error, RequestRefused) and self._folder.revocation() is not None
        if is_refused or isinstance(error, CertificateRevoked):
            self._revoked(error)
            return
        self._note_away(error)
        standing, last = Standing.of(error), self._state
        failures = last.failures if last.running else last.failures + 1
        retry_at = self._now + self._pause(error, failures)
        self._state = replace(
            last.became(standing, self._now, error.message),
            failures=failures,
            running=False,
            tried_at=self._now,
            retry_at=retry_at,
        )
        self._tell(events.RenewalFailed(self._directory, standing, error, retry_at))

    def _revoked(self, error: ScepError) -> None:
        """Take note of a revocation, which no further attempt would change."""
        self._state = replace(
            self._state.became(Standing.REVOKED, self._now, error.message),
            failures=0,
            running=False,
            retry_at=None,
            asked_at=self._now,
        )
        self._tell(events.RenewalFailed(self._directory, Standing.REVOKED, error, None))

    def _pause(self, error: ScepError, failures: int) -> timedelta:
        found = self._certificate
        left = found.not_after - self._now if found is not None else None
        longest = schedule.LONGEST_POLL if isinstance(error, StillPending) else schedule.LONGEST
        own = schedule.pause(failures, left, self._state.certificate, longest=longest)
        asked = error.retry_after if isinstance(error, TransportError) else None
        most = schedule.LONGEST.total_seconds()
        return own if asked is None else max(own, timedelta(seconds=min(asked, most)))

    def _deploy(self) -> None:
        """Run the hooks if they are due."""
        found, settings = self._certificate, self._settings
        if found is None or self._is_refused:
            return
        if not settings.hooks:
            # There were some, perhaps.
            self._state = replace(self._state, hook=HookState(done=self._state.hook.done))
            return
        hook = deployment.wanted(self._state.hook, found)
        self._state = replace(self._state, hook=hook)
        if deployment.is_deployed(hook, found):
            return
        if not (self._around.eager or deployment.is_time(hook, self._now)):
            return
        # Whatever a program is told to load has to fit together.
        self._folder.key()
        hook = deployment.begun(hook, found, self._now)
        self._state = replace(self._state, hook=hook)
        self._file.write(self._state)
        hook = deployment.run(hook, self._folder, found, settings, self._tell)
        self._state = replace(self._state, hook=hook)
        if not (self._directory / CERTIFICATE).exists():
            self._state, self._certificate = self._missing(), None

    def _with_next(self) -> State:
        """Return the state with what comes next."""
        now = self._state
        steps = []
        if now.retry_at is not None:
            steps.append(
                (now.retry_at, "ask again" if now.standing is Standing.WAITING else "try again")
            )
        elif now.renew_at is not None and now.standing is not Standing.REVOKED:
            steps.append((now.renew_at, "renew"))
        if now.hook.retry_at is not None:
            steps.append((now.hook.retry_at, "run the hook"))
        at, what = min(steps, default=(None, ""))
        return replace(now, next=what, next_at=at)
