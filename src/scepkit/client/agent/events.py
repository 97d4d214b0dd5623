"""The events of an agent: small values that a program prints, logs or ignores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from scepkit.client.events import Event
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate

if TYPE_CHECKING:
    from scepkit.client.agent.hooks import HookFailure
    from scepkit.client.agent.settings import Command
    from scepkit.client.agent.state import Standing


@dataclass(frozen=True, slots=True)
class RenewerSaid:
    """A renewal has an event of its own.

    Attributes:
        directory: where.
        event: what happened.
    """

    directory: Path
    event: Event


@dataclass(frozen=True, slots=True)
class RootUnreadable:
    """A directory cannot be looked into for others.

    Attributes:
        directory: which.
        error: why not.
    """

    directory: Path
    error: OSError


@dataclass(frozen=True, slots=True)
class AnotherAtWork:
    """Another process is at work in a directory, which is left to it.

    Attributes:
        directory: which.
    """

    directory: Path


@dataclass(frozen=True, slots=True)
class StateDamaged:
    """The state of a directory cannot be read, and was begun anew.

    Attributes:
        directory: which.
        kept: where the damaged file is; None where it could not be kept.
    """

    directory: Path
    kept: Path | None


@dataclass(frozen=True, slots=True)
class StateNotKept:
    """The state of a directory cannot be written.

    Attributes:
        directory: which.
        error: why not.
    """

    directory: Path
    error: ScepError


@dataclass(frozen=True, slots=True)
class DirectoryUnusable:
    """A directory cannot be used as it is, and is looked at again at the next pass.

    Attributes:
        directory: which.
        error: why not.
    """

    directory: Path
    error: ScepError


@dataclass(frozen=True, slots=True)
class SettingsRefused:
    """The agent.toml of a directory cannot be used: the usual settings count, and no hook runs.

    Attributes:
        directory: which.
        error: why not.
    """

    directory: Path
    error: ScepError


@dataclass(frozen=True, slots=True)
class CertificateInstalled:
    """There is a new certificate in a directory.

    Attributes:
        directory: which.
        certificate: the new one.
    """

    directory: Path
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """A certificate could not be renewed, or waits for approval.

    Attributes:
        directory: its directory.
        standing: how its certificate is doing.
        error: why not.
        retry_at: when it is tried again; None for a certificate that is revoked.
    """

    directory: Path
    standing: Standing
    error: ScepError
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class HookBegins:
    """A hook begins.

    Attributes:
        directory: with the certificate.
        command: its words.
    """

    directory: Path
    command: Command


@dataclass(frozen=True, slots=True)
class HooksDone:
    """All hooks succeeded: the certificate is in use.

    Attributes:
        directory: with the certificate.
    """

    directory: Path


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A hook failed: the certificate is renewed, and not deployed.

    Attributes:
        directory: with the certificate.
        command: its words.
        failure: how it failed.
        retry_at: when it is tried again.
    """

    directory: Path
    command: Command
    failure: HookFailure
    retry_at: datetime


AgentEvent: TypeAlias = (
    RenewerSaid
    | RootUnreadable
    | AnotherAtWork
    | StateDamaged
    | StateNotKept
    | DirectoryUnusable
    | SettingsRefused
    | CertificateInstalled
    | RenewalFailed
    | HookBegins
    | HooksDone
    | HookFailed
)
