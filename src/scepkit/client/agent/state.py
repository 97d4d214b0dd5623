"""The state of an agent's work on a directory, which `agent.json` in it holds, for people too.

What matters is read from it at every pass, and nothing is kept in memory. The agent decides by what
it wrote itself, and not by a certificate's notBefore; but a time that is not past yet, because the
clock was set back, tells nothing, and counts as now.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import accumulate, takewhile
from typing import Any

from scepkit.client.agent import schedule
from scepkit.errors import (
    CertificateRevoked,
    RequestRefused,
    ScepError,
    StillPending,
    TransportError,
)

MAX_SIZE = 64 * 1024
"""Octets of a state as JSON: what is written has no more, so that it can be read."""

MOST_LINES = 10
"""Lines of a hook's output that are kept."""

_LONGEST_TEXT = 3000
"""Octets of each text in it: a server, a hook or an older file may say anything."""

_MOST_FAILURES = 1_000_000


class Standing(StrEnum):
    """The standing of a directory: how its certificate is doing."""

    NEW = "not looked at yet"
    VALID = "valid"
    WAITING = "waiting for approval"
    UNREACHABLE = "server unreachable"
    REFUSED = "refused"
    REVOKED = "revoked"
    FAILED = "failed"
    MISSING = "no certificate"

    @classmethod
    def of(cls, error: ScepError) -> Standing:
        """Return the standing after an attempt to renew that ended with an error."""
        match error:
            case StillPending():
                return cls.WAITING
            case TransportError():
                return cls.UNREACHABLE
            case RequestRefused():
                return cls.REFUSED
            case CertificateRevoked():
                return cls.REVOKED
        return cls.FAILED


@dataclass(frozen=True, slots=True)
class HookState:
    """The state of the hooks, which put a certificate to use.

    Attributes:
        done: SHA-256 of the certificate for which all of them succeeded last; "" for none yet.
        wanted: SHA-256 of the one that they are due for, or were.
        failures: how often in a row they failed for that one.
        running: whether they were begun, and their end is not known.
        tried_at: when they were begun last.
        retry_at: when they are begun again.
        exit_status: of the one that failed; None where it did not end by itself.
        said: why they failed, in a line.
        output: the last lines of its output.
    """

    done: str = ""
    wanted: str = ""
    failures: int = 0
    running: bool = False
    tried_at: datetime | None = None
    retry_at: datetime | None = None
    exit_status: int | None = None
    said: str = ""
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """The state of a directory.

    Attributes:
        standing: how its certificate is doing.
        since: from when on it has been so.
        said: what went wrong, in a line; "" where nothing did.
        looked_at: when the agent looked last.
        certificate: SHA-256 of the current certificate.
        got_at: when that was got, by this machine's clock.
        failures: how often in a row a renewal failed.
        running: whether one was begun, and its end is not known.
        tried_at: when one was begun last.
        retry_at: when it is tried again; None where nothing failed.
        renew_at: when the next one is due.
        next: what the agent does next: `renew`, `ask again`, `try again`, `run the hook` or "".
        next_at: when.
        asked_at: when the CA was last asked about revocation and its successor.
        advised_at: when the server wants the certificate to be renewed.
        advise_again_at: when it is to be asked for that again.
        explanation: URL of a page that says why the server wants that.
        hook: the state of the hooks.
    """

    standing: Standing = Standing.NEW
    since: datetime | None = None
    said: str = ""
    looked_at: datetime | None = None
    certificate: str = ""
    got_at: datetime | None = None
    failures: int = 0
    running: bool = False
    tried_at: datetime | None = None
    retry_at: datetime | None = None
    renew_at: datetime | None = None
    next: str = ""
    next_at: datetime | None = None
    asked_at: datetime | None = None
    advised_at: datetime | None = None
    advise_again_at: datetime | None = None
    explanation: str = ""
    hook: HookState = field(default_factory=HookState)

    def became(self, standing: Standing, now: datetime, said: str = "") -> State:
        """Return this state with another standing, since now unless it was so before."""
        since = self.since if standing is self.standing and self.since else now
        return replace(self, standing=standing, since=since, said=said)

    def by_clock(self, now: datetime) -> State:
        """Return this state without times that cannot be: the clock may have been set back.

        What was done at a time that is not past yet, was done now; so nothing waits for ever, and
        nothing is done again at once.
        """
        got, since, hook = self.got_at, self.since, self.hook
        tried, retry = _at_most(self.tried_at, self.retry_at, now)
        hook_tried, hook_retry = _at_most(hook.tried_at, hook.retry_at, now)
        return replace(
            self,
            got_at=min(got, now) if got else None,
            since=min(since, now) if since else None,
            tried_at=tried,
            retry_at=retry,
            # What is not past yet is not known: to ask once more is not much.
            asked_at=self.asked_at if self.asked_at and self.asked_at <= now else None,
            hook=replace(hook, tried_at=hook_tried, retry_at=hook_retry),
        )


def _at_most(
    tried: datetime | None, retry: datetime | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return when something was tried and is tried again, both by a clock that says `now`."""
    if tried is None or retry is None:
        return None if tried is None else min(tried, now), None
    pause = min(max(retry - tried, timedelta()), schedule.LONGEST)
    tried = min(tried, now)
    return tried, tried + pause


def parse(content: bytes) -> State:
    """Read a state.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    hook: HookState = _read(HookState, _object(found).pop("hook", {}))
    state: State = _read(State, found)
    return replace(state, hook=hook)


def text(state: State) -> str:
    """Return a state as JSON, in ASCII and no longer than MAX_SIZE: long texts are cut."""
    return json.dumps(_cut(asdict(state)), indent=2, default=_text) + "\n"


def _cut(value: Any) -> Any:
    match value:
        case dict():
            return {name: _cut(one) for name, one in value.items()}
        case tuple():
            return tuple(map(_cut, value[-MOST_LINES:]))
        case str() if len(json.dumps(value)) > _LONGEST_TEXT:
            sizes = accumulate(len(json.dumps(one)) - 2 for one in value)
            return value[: sum(1 for _ in takewhile(_LONGEST_TEXT.__ge__, sizes))]
    return value


def _text(value: object) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - damaged, and no mistake of ours
    return found


def _read(kind: type[Any], found: Any) -> Any:
    """Return a value of a class; what a later version has added is left out.

    Raises:
        ValueError: something in it is not what it has to be.
    """
    values = _object(found)
    known = [one for one in fields(kind) if one.name in values]
    return kind(**{one.name: _value(str(one.type), values[one.name]) for one in known})


def _value(kind: str, value: Any) -> Any:
    """Read the value of a field by the text of its type."""
    match kind, value:
        case (("datetime | None" | "int | None"), None):
            return None
        case "datetime | None", str():
            return _time(value)
        case "str", str():
            return value
        case "bool", bool():
            return value
        case (("int" | "int | None"), int()) if not isinstance(value, bool):
            least = 0 if kind == "int" else -_MOST_FAILURES
            return max(least, min(value, _MOST_FAILURES))
        case "Standing", str():
            return Standing(value)
        case "tuple[str, ...]", list() if all(isinstance(one, str) for one in value):
            return tuple(value)
    raise ValueError(f"{value!r} is not of the kind {kind}")


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} is a time without a zone")
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        # The year 9999 of one zone is the year 10000 of another one.
        raise ValueError(f"{text} is no time in UTC") from error
