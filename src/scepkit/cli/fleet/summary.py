"""The state of a fleet in numbers, and the exit status that goes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scepkit.cli.failure import FAILED, PENDING
from scepkit.client.fleet.plan import Plan
from scepkit.client.fleet.results import RESULTS, Result, State


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """The state of a fleet in numbers.

    Attributes:
        directory: the fleet's.
        plan: what it is about.
        counts: how many devices are in each state.
    """

    directory: Path
    plan: Plan
    counts: Mapping[State, int]

    @property
    def to_do(self) -> int:
        """Return how many devices nothing has become of yet."""
        return max(0, self.plan.devices - sum(self.counts.values()))

    @property
    def failed(self) -> int:
        """Return how many devices were refused, or failed."""
        return self.counts.get(State.REFUSED, 0) + self.counts.get(State.FAILED, 0)

    @property
    def exit_status(self) -> int:
        """Return 0 if all are done, 1 if some failed, 3 if it goes on."""
        if self.failed:
            return FAILED
        return PENDING if self.to_do + self.counts.get(State.WAITING, 0) else 0

    def fields(self) -> Sequence[tuple[str, str]]:
        """Return its rows for people."""
        return [
            ("devices", str(self.plan.devices)),
            *((state.value, str(self.counts.get(state, 0))) for state in State),
            ("to do", str(self.to_do)),
            *((("results", str(self.directory / RESULTS)),) if self.counts else ()),
        ]

    def json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "directory": str(self.directory),
            "list": self.plan.list,
            "url": self.plan.url,
            "devices": self.plan.devices,
            **{state.value: self.counts.get(state, 0) for state in State},
            "to_do": self.to_do,
        }


def of(directory: Path, plan: Plan, results: Iterable[Result]) -> FleetSummary:
    """Return the summary of a fleet's directory."""
    return FleetSummary(directory, plan, Counter(result.state for result in results))
