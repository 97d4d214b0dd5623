"""The deployment of a new certificate by its hooks: a state of its own.

The hooks are due while the certificate is another than the one for which they succeeded last. So
they run whoever renewed it, and also when the agent was killed right after the renewal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scepkit.client import clock
from scepkit.client.agent import events, hooks, schedule
from scepkit.client.agent.events import AgentEvent
from scepkit.client.agent.hooks import HookFailure
from scepkit.client.agent.settings import AgentSettings, Command
from scepkit.client.agent.state import HookState
from scepkit.client.folder import Folder
from scepkit.protocol import certificate as certificates
from scepkit.protocol.certificate import Certificate


def is_deployed(state: HookState, certificate: Certificate) -> bool:
    """Say whether the hooks succeeded for a certificate."""
    return state.done == certificates.fingerprint(certificate.der)


def wanted(state: HookState, certificate: Certificate) -> HookState:
    """Return the state of the hooks with regard to the current certificate."""
    digest = certificates.fingerprint(certificate.der)
    return state if state.wanted == digest else HookState(done=state.done, wanted=digest)


def is_time(state: HookState, now: datetime) -> bool:
    """Say whether the hooks that are due may run: not soon after they failed.

    If the agent was killed over them, they run again at once, the first time.
    """
    is_first = state.running and state.failures <= 1
    return state.retry_at is None or now >= state.retry_at or is_first


def begun(state: HookState, certificate: Certificate, now: datetime) -> HookState:
    """Return the state of hooks that begin: to be kept before they do."""
    failures = state.failures + 1
    left = certificate.not_after - now
    pause = schedule.pause(failures, left, state.wanted, "hook")
    return replace(
        state, failures=failures, running=True, tried_at=now, retry_at=now + pause, said=""
    )


def run(
    state: HookState,
    folder: Folder,
    certificate: Certificate,
    settings: AgentSettings,
    tell: Callable[[AgentEvent], None],
) -> HookState:
    """Run the hooks, one after the other, until one fails; return their state.

    Args:
        state: what `begun` returned.
        folder: the directory.
        certificate: the new one.
        settings: the commands, and their time limit.
        tell: takes the events.
    """
    variables = hooks.environment(folder, certificate)
    for command in settings.hooks:
        tell(events.HookBegins(folder.path, command))
        failure = hooks.run(command, variables, settings.hook_timeout)
        if failure is not None:
            return _failed(state, folder, command, failure, tell)
    tell(events.HooksDone(folder.path))
    return HookState(done=state.wanted, wanted=state.wanted, tried_at=state.tried_at)


def _failed(
    state: HookState,
    folder: Folder,
    command: Command,
    failure: HookFailure,
    tell: Callable[[AgentEvent], None],
) -> HookState:
    """Return the state of hooks, one of which failed; the pause counts from its end."""
    now = clock.now()
    pause = (state.retry_at - state.tried_at) if state.retry_at and state.tried_at else None
    retry_at = now + (schedule.SHORTEST if pause is None else pause)
    tell(events.HookFailed(folder.path, command, failure, retry_at))
    return replace(
        state,
        running=False,
        tried_at=now,
        retry_at=retry_at,
        exit_status=failure.exit_status,
        said=failure.said,
        output=failure.output,
    )
