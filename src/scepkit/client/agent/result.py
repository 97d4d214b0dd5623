"""The result of a visit to a directory, and of a look at it that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from scepkit.client import clock
from scepkit.client.agent import schedule, state_file
from scepkit.client.agent.state import Standing, State
from scepkit.client.folder import Folder
from scepkit.client.folder.files import CERTIFICATE
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate, fingerprint

FIRST_WAITS = "the first certificate is still awaited"


class Verdict(Enum):
    """The verdict on a visit."""

    WELL = "well"
    WAITS = "waits"
    FAILED = "failed"
    BUSY = "busy"


def judge(found: Certificate | None, now: State) -> Verdict:
    """Return the verdict on a directory.

    Args:
        found: its certificate.
        now: its state.
    """
    if found is None and now.standing is Standing.WAITING and not now.certificate:
        return Verdict.WAITS
    is_over = found is None or clock.now() > found.not_after
    if is_over or now.hook.failures:
        return Verdict.FAILED
    if now.standing is Standing.WAITING:
        return Verdict.WAITS
    return Verdict.WELL if now.standing is Standing.VALID else Verdict.FAILED


@dataclass(frozen=True, slots=True)
class Visit:
    """The result of a visit.

    Attributes:
        directory: which.
        verdict: whether somebody should look at it.
        state: of the directory now.
        certificate: the current one; None where there is none that can be read.
    """

    directory: Path
    verdict: Verdict
    state: State
    certificate: Certificate | None = None


def seen(directory: Path) -> Visit:
    """Look at a directory, and change nothing.

    Where no agent has looked at its certificate, the usual schedule tells when it is due.
    """
    state, folder = state_file.seen(directory).by_clock(clock.now()), Folder(directory)
    found = None
    try:
        folder.check_exists()
        found = folder.certificate()
        state = _current(state, folder, found)
    except ScepError as error:
        state = state.became(Standing.FAILED, clock.now(), error.message)
    return Visit(directory, judge(found, state), state, found)


def _current(state: State, folder: Folder, found: Certificate | None) -> State:
    """Return the state with what can be seen of the directory now."""
    now = clock.now()
    if found is None and not state.certificate and folder.waiting_request() is not None:
        # Another agent, or none, has asked for it.
        return state if state.retry_at else state.became(Standing.WAITING, now, FIRST_WAITS)
    if found is None:
        return state.became(Standing.MISSING, now, f"{folder.path / CERTIFICATE} is missing")
    folder.check_renewable()
    is_revoked = folder.revocation() is not None
    if state.certificate == fingerprint(found.der):
        if not is_revoked or state.standing is Standing.REVOKED:
            return state
        revoked = state.became(Standing.REVOKED, now, "it was revoked after the last look")
        return replace(revoked, next="", next_at=None)
    got_at = folder.got_at(now)
    due = schedule.renew_at(found, got_at)
    standing = Standing.VALID
    if is_revoked:
        standing = Standing.REVOKED
    elif folder.unfinished.exists():
        standing = Standing.WAITING
    fresh = State(looked_at=state.looked_at, hook=state.hook).became(standing, now)
    return replace(fresh, got_at=got_at, renew_at=due, next="renew", next_at=due)
