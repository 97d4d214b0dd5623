"""The events of a fleet that enrols: small values that a program prints, logs or ignores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scepkit.client.events import CATrusted, OthersCanWrite
from scepkit.client.fleet.devices import Problem
from scepkit.client.fleet.results import Result


@dataclass(frozen=True, slots=True)
class RowWrong:
    """There is a mistake in the list of the devices; nothing will be sent.

    Attributes:
        problem: the mistake.
    """

    problem: Problem


@dataclass(frozen=True, slots=True)
class RowsChecked:
    """More rows of the list are right.

    Attributes:
        more: how many.
    """

    more: int


@dataclass(frozen=True, slots=True)
class FleetBegun:
    """The list is right, and the first request goes out.

    Attributes:
        directory: of the fleet.
        devices: how many there are in the list.
        to_do: how many of them have no certificate yet.
    """

    directory: Path
    devices: int
    to_do: int


@dataclass(frozen=True, slots=True)
class DeviceEnded:
    """Something became of a device, and is in the results.

    Attributes:
        result: what.
    """

    result: Result


@dataclass(frozen=True, slots=True)
class ServerAway:
    """The server does not answer, or has no time; nobody asks it for a while.

    Attributes:
        reason: why.
        seconds: until it is asked again.
    """

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerBack:
    """The server answers again."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The run was interrupted, and ends with the requests that are under way."""


FleetEvent: TypeAlias = (
    CATrusted
    | OthersCanWrite
    | RowWrong
    | RowsChecked
    | FleetBegun
    | DeviceEnded
    | ServerAway
    | ServerBack
    | Stopping
)

TellFleet: TypeAlias = Callable[[FleetEvent], None]
"""Takes the events, one at a time, in whichever thread they happen."""


def ignore(_event: FleetEvent) -> None:
    """Do nothing with an event."""
