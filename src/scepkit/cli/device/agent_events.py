"""The words for an agent's work: its events, a line at the end, and all of it for programs."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.cli import describe, failure, terminal
from scepkit.cli.device import hints
from scepkit.cli.device.events import EventPrinter
from scepkit.client import clock
from scepkit.client import events as renewal
from scepkit.client.agent import events
from scepkit.client.agent.result import Verdict
from scepkit.client.agent.state import Standing
from scepkit.client.folder import Folder
from scepkit.errors import SettingsError
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from scepkit.client.agent.events import AgentEvent
    from scepkit.client.agent.result import Visit
    from scepkit.client.agent.state import HookState
    from scepkit.errors import ScepError

# What needs no line: the agent says itself when it tries again; trust is as it was.
_HUSHED = renewal.RequestContinued | renewal.KeyStays | renewal.RequestPrepared | renewal.CATrusted


class Listener:
    """Prints the events of a pass, and remembers what could not be looked into.

    Attributes:
        unread: the directories, in which there may be certificates.
    """

    def __init__(self) -> None:
        self.unread: list[Path] = []

    def __call__(self, event: AgentEvent) -> None:
        """Take an event."""
        if isinstance(event, events.RootUnreadable):
            self.unread.append(event.directory)
        tell(event)


def tell(event: AgentEvent) -> None:
    """Print an event; each line names the directory."""
    where = event.directory
    match event:
        case events.RenewerSaid():
            if not isinstance(event.event, _HUSHED) or _is_weak(event.event):
                terminal.say(f"{where}:")
                EventPrinter()(event.event)
        case events.RenewalFailed() | events.HookFailed():
            _tell_failure(event)
        case events.DirectoryUnusable() | events.SettingsRefused():
            terminal.error(f"{where}: {event.error.message}", _hint(event.error, where))
        case events.StateNotKept():
            terminal.warn(
                f"{where}: cannot keep the state, going on without: {event.error.message}",
                failure.hint(event.error),
            )
        case events.StateDamaged():
            kept = f", and is kept as {event.kept}" if event.kept else ""
            terminal.warn(f"{where}: agent.json was damaged{kept}; beginning a new one")
        case events.RootUnreadable():
            terminal.warn(f"cannot look into {where}: {event.error.strerror}")
        case _:
            terminal.say(f"{where}: {_line(event)}")


def _tell_failure(event: events.RenewalFailed | events.HookFailed) -> None:
    """Print what failed, and when it is tried again."""
    where = event.directory
    if event.retry_at is None:
        terminal.error(f"{where}: {event.error.message}", _hint(event.error, where))
        return
    again = f"again at {event.retry_at:%Y-%m-%d %H:%M} UTC"
    if isinstance(event, events.HookFailed):
        terminal.error(f"{where}: renewed, not deployed: {event.failure.said}; trying {again}")
        for line in event.failure.output:
            terminal.say(f"  {line}")
    elif event.standing is Standing.WAITING:
        terminal.say(f"{where}: waiting for approval; asking {again}")
    else:
        hint = _hint(event.error, where)
        terminal.error(f"{where}: {event.error.message}; trying {again}", hint)


def _hint(error: ScepError, directory: Path) -> str:
    """Return the hint of an error, with the command that helps where the directory tells it."""
    with suppress(SettingsError):
        hints.name_command(error, Folder(directory), "scep renew DIR --url URL")
    return failure.hint(error)


def _is_weak(event: renewal.Event) -> bool:
    """Say whether a CA is trusted in spite of weak algorithms, what it says no more, or its end."""
    if not isinstance(event, renewal.CATrusted):
        return False
    choice = event.ca.choice
    is_legacy = choice.digest.legacy is not None or choice.cipher.legacy is not None
    is_over = describe.is_over(event.ca.certificates.anchor)
    return is_legacy or bool(event.ca.withdrawn) or is_over


def _line(event: AgentEvent) -> str:
    """Return the line for an event that needs nobody to do anything."""
    match event:
        case events.AnotherAtWork():
            return "busy: another scep is at work there"
        case events.CertificateInstalled():
            found = event.certificate
            return (
                f"got the certificate {show_serial(found.serial)} of {describe.subject(found)}, "
                f"valid until {found.not_after:%Y-%m-%d %H:%M} UTC"
            )
        case events.HookBegins():
            return f"running {shlex.join(event.command)}"
        case events.HooksDone():
            return "deployed"
    return ""


def summarise(visits: Sequence[Visit]) -> None:
    """Say how many directories there are, and how they are doing."""
    counts = Counter(word(one) for one in visits)
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    many = f"{len(visits)} director{'y' if len(visits) == 1 else 'ies'}"
    terminal.say(f"{many}: {said}" if said else f"{many} with a certificate")


def word(visit: Visit) -> str:
    """Return the word for how a directory is doing."""
    found, state = visit.certificate, visit.state
    if visit.verdict is Verdict.BUSY:
        return "busy"
    if found is not None and clock.now() > found.not_after:
        return "expired"
    if state.standing is Standing.VALID and state.hook.failures:
        return "renewed, not deployed"
    return state.standing.value


def exit_status(visits: Sequence[Visit], unread: Sequence[Path]) -> int:
    """Return the exit status for what came of all visits.

    Args:
        visits: all.
        unread: the directories that could not be looked into.
    """
    verdicts = {one.verdict for one in visits}
    if unread or Verdict.FAILED in verdicts:
        return failure.FAILED
    return failure.PENDING if Verdict.WAITS in verdicts else 0


def details(visit: Visit) -> dict[str, object]:
    """Return the state of a directory for programs."""
    found, state = visit.certificate, visit.state
    return {
        "directory": str(visit.directory),
        "state": word(visit),
        **({} if found is None else describe.summary(found)),
        **{
            one.name: _json(getattr(state, one.name))
            for one in fields(state)
            if one.name not in {"hook", "certificate", "running"}
        },
        "hook": hook_details(state.hook),
    }


def hook_details(hook: HookState) -> dict[str, object]:
    """Return the state of the hooks for programs."""
    return {
        "state": hook_word(hook),
        **{one.name: _json(getattr(hook, one.name)) for one in fields(hook)},
    }


def hook_word(hook: HookState) -> str:
    """Return the word for the state of the hooks."""
    if hook.failures:
        return f"failed ({hook.failures})" if not hook.running else "interrupted"
    if hook.wanted and hook.wanted != hook.done:
        return "pending"
    return "done" if hook.done else "none"


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return describe.timestamp(value)
    return list(value) if isinstance(value, tuple) else value
