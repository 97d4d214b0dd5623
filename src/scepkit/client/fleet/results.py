"""The results of a fleet, `results.csv`: a row for each device, for people and programs.

While a fleet enrols, a row is added for each outcome, and the last one of a device counts. At the
beginning and at the end the file is written anew, with one row for each device.

What is lost of it by a power cut does no harm: the directory of each device says what it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Self

from scepkit.client.fleet.rows import RowFile, read_rows
from scepkit.errors import RequestRefused, ScepError
from scepkit.protocol.certificate import Certificate, show_serial

RESULTS = "results.csv"

_COLUMNS = ("name", "state", "serial", "not_after", "transactionID", "failInfo", "reason")
_MODE = 0o644
# Characters: more than any failInfoText has, and less than readers of CSV take.
_LONGEST_REASON = 5000


class State(StrEnum):
    """The state of a device.

    A refused device was refused by the CA; of a failed one the request or its answer failed
    otherwise.
    """

    DONE = "done"
    WAITING = "waiting"
    REFUSED = "refused"
    FAILED = "failed"


_STATES = frozenset(state.value for state in State)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a device: its certificate, or why it has none.

    Attributes:
        name: the device's.
        state: done, waiting for approval, refused or failed.
        serial: of its certificate, hex; "" without one.
        not_after: the end of its validity, ISO 8601 in UTC; "" without one.
        transaction_id: of the request; "" where none went out.
        fail_info: of a refusal, such as `badRequest`; "" without one.
        reason: why there is no certificate.
    """

    name: str
    state: State
    serial: str = ""
    not_after: str = ""
    transaction_id: str = ""
    fail_info: str = ""
    reason: str = ""

    @classmethod
    def done(cls, name: str, certificate: Certificate, transaction_id: str) -> Self:
        """Return the result of a device that has its certificate."""
        until = certificate.not_after.astimezone(UTC)
        shown = f"{until:%Y-%m-%dT%H:%M:%SZ}"
        return cls(name, State.DONE, show_serial(certificate.serial), shown, transaction_id)

    @classmethod
    def missed(cls, name: str, state: State, error: ScepError, transaction_id: str) -> Self:
        """Return the result of a device that has none (yet)."""
        info = error.failure.fail_info if isinstance(error, RequestRefused) else None
        return cls(
            name,
            state,
            transaction_id=transaction_id,
            fail_info=info.name if info is not None else "",
            reason=error.message,
        )

    @property
    def until(self) -> datetime | None:
        """Return the end of the certificate's validity; None without one."""
        return datetime.fromisoformat(self.not_after) if self.not_after else None

    @property
    def has_failed(self) -> bool:
        """Say whether it was refused, or failed."""
        return self.state in (State.REFUSED, State.FAILED)

    def values(self) -> tuple[str, ...]:
        """Return the values of its row."""
        return (
            self.name,
            self.state.value,
            self.serial,
            self.not_after,
            self.transaction_id,
            self.fail_info,
            # What a peer says must not move the cursor of whoever looks at the file.
            "".join(c if c.isprintable() else " " for c in self.reason[:_LONGEST_REASON]),
        )


def read_results(directory: Path) -> dict[str, Result]:
    """Return the latest result of each device by name, in the order of their first.

    Args:
        directory: the fleet's.

    Raises:
        SettingsError: the file cannot be used.
    """
    found: dict[str, Result] = {}
    for name, state, *rest in read_rows(directory / RESULTS, _COLUMNS):
        if state in _STATES:
            found[name] = Result(name, State(state), *rest)
    return found


class ResultFile:
    """The results of a fleet at work. Threads may share it.

    Args:
        directory: the fleet's, which is locked.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows = RowFile(directory / RESULTS, _COLUMNS, mode=_MODE)
        self._lock = Lock()
        self._states: dict[str, State] = {}
        self.tidy()

    def tidy(self) -> None:
        """Write the file with one row for each device.

        Raises:
            SettingsError: the file system refuses; what is there stays.
        """
        with self._lock:
            latest = read_results(self._directory)
            if latest:
                self._rows.replace(result.values() for result in latest.values())
            self._states = {name: result.state for name, result in latest.items()}

    def state(self, name: str) -> State | None:
        """Return the state of a device; None while nothing has become of it."""
        return self._states.get(name)

    def counts(self) -> Mapping[State, int]:
        """Return how many devices are in each state."""
        with self._lock:
            return Counter(self._states.values())

    def add(self, result: Result) -> None:
        """Add what became of a device.

        Raises:
            SettingsError: the file system refuses.
        """
        with self._lock:
            self._rows.append(result.values())
            self._states[result.name] = result.state

    def close(self) -> None:
        """Close the file."""
        self._rows.close()
