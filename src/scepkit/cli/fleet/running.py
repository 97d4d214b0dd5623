"""A fleet that enrols, as its operator sees it: what is told on the way, and what came of it."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from scepkit.cli import failure, terminal
from scepkit.cli.device.events import EventPrinter
from scepkit.cli.fleet import summary
from scepkit.client.fleet import events
from scepkit.client.fleet.enroller import FleetEnroller
from scepkit.client.fleet.plan import Plan
from scepkit.client.fleet.results import RESULTS, Result, State, read_results
from scepkit.errors import ScepError

_GOES_ON = "the same command goes on"
_MOST_SAID = 10  # mistakes and failures, before they are only counted


class FleetPrinter:
    """Prints the events of a fleet, with a bar or a line now and then.

    Attributes:
        has_begun: whether requests went out.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self._said = 0
        self._course: terminal.Course | None = None
        self._shown = ExitStack()
        self._check: Callable[[int], None] | None = None

    def __call__(self, event: events.FleetEvent) -> None:
        """Print an event."""
        match event:
            case events.RowWrong():
                self._say_some(str(event.problem), "there is more that is wrong")
            case events.RowsChecked():
                if self._check is None:
                    self._check = self._shown.enter_context(terminal.tally("rows checked"))
                self._check(event.more)
            case events.FleetBegun():
                self.close()
                self._begin(event)
            case events.DeviceEnded():
                self._end(event.result)
            case events.ServerAway():
                terminal.say(f"waiting: {event.reason}; asking again in {event.seconds:.0f} s")
            case events.ServerBack():
                terminal.say("the server answers again")
            case events.Stopping():
                terminal.say("waiting for the requests under way; Ctrl-C again ends at once")
            case _:
                EventPrinter()(event)

    def close(self) -> None:
        """End what moves on the terminal."""
        self._shown.close()

    def _begin(self, event: events.FleetBegun) -> None:
        self.has_begun = True
        if event.devices > event.to_do:
            done = event.devices - event.to_do
            terminal.say(f"{done} of {event.devices} devices have their certificates already")
        self._course = terminal.Course("devices", event.to_do)
        self._shown.enter_context(self._course.shown())

    def _end(self, result: Result) -> None:
        if result.state is not State.DONE:
            reason = f": {result.reason}" if result.reason else ""
            self._say_some(
                f"{result.name} {result.state.value}{reason}", f"{RESULTS} has the others"
            )
        if self._course is not None:
            self._course.advance()

    def _say_some(self, line: str, rest: str) -> None:
        self._said += 1
        if self._said <= _MOST_SAID:
            terminal.say(line)
        elif self._said == _MOST_SAID + 1:
            terminal.say(rest)


def run(fleet: FleetEnroller, printer: FleetPrinter, directory: Path, *, as_json: bool) -> int:
    """Enrol a fleet, and return the exit status.

    Raises:
        ScepError: it cannot begin, or not go on.
    """
    try:
        with _terminated_like_interrupted():
            report = fleet.run()
    except KeyboardInterrupt:
        printer.close()
        _say_state(directory)
        terminal.say(f"{_GOES_ON}: devices that have their certificates are left alone")
        return failure.INTERRUPTED
    except ScepError as error:
        printer.close()
        if printer.has_begun:
            _say_state(directory)
            hint = failure.hint(error)
            error.hint = f"{hint}; then {_GOES_ON}" if hint else _GOES_ON
        raise
    finally:
        printer.close()
    found = summary.FleetSummary(directory, report.plan, report.counts)
    if as_json:
        terminal.json_data(found.json())
    else:
        terminal.data_fields(found.fields())
        _say_rest(found, report.stopped)
    return found.exit_status


def _say_rest(found: summary.FleetSummary, stopped: str) -> None:
    """Say what is left to do, if anything is."""
    if waiting := found.counts.get(State.WAITING, 0):
        terminal.say(f"{waiting} waiting for approval: the same command asks again")
    if failed := found.failed:
        were = "was" if failed == 1 else "were"
        terminal.error(
            f"{failed} of {found.plan.devices} devices {were} refused, or failed"
            + (f"; stopped: {stopped}" if stopped else ""),
            f"scep fleet status {shlex.quote(str(found.directory))} --failed says why; {_GOES_ON}, "
            "and asks for them again",
        )


def _say_state(directory: Path) -> None:
    """Say how far it has come."""
    with suppress(ScepError):
        found = summary.of(directory, Plan.read(directory), read_results(directory).values())
        terminal.fields(found.fields())


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
