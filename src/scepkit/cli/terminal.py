"""Everything that the commands print.

The rules:
- This is the only file that prints.
- Data goes to stdout, and nothing else does; talk goes to stderr.
- An error is one line, `error: what happened`, and where it helps another, `hint: what to do`;
  with --json it is one JSON object on one line, the last on stderr: stdout holds data or nothing.
- Nothing needs colour to be understood; there is some on a terminal that wants it.
- Text from a peer is shown with its control characters escaped, so that it cannot move the cursor
  or pass for something that we say. So all talk passes through `escape`.
- A letter that the terminal's encoding has not is shown escaped, too, and ends no command.
- No challenge and no key is ever printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import typer

from scepkit.cli.failure import Failure, of_scep
from scepkit.errors import ScepError, UsageError

if TYPE_CHECKING:
    from scepkit.protocol.scep.transaction import Wait

# What a shell reports for a command that was stopped by SIGPIPE.
_BROKEN_PIPE = 141
# How Python writes, unless somebody has said it otherwise (PYTHONIOENCODING).
_STRICT = ("strict", "surrogateescape")
_EVERY = 5.0  # seconds between two lines of a tally


def replace_closed_streams() -> None:
    """Give a process that was started without stdout or stderr ones that lead nowhere.

    Otherwise the next file that is opened, the database for one, would get their number, and
    whatever else writes to stderr would write into it. Worker processes inherit them.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)


def write_and_read_any_text() -> None:
    """Let stdout escape letters that its encoding has not, as stderr does, and stdin take octets.

    Otherwise a name with such a letter would end a list in its midst. Octets on stdin that are no
    text are told from text where it is known what they should be.
    """
    out, read = sys.stdout, sys.stdin
    if isinstance(out, io.TextIOWrapper) and out.errors in _STRICT and not _takes_any_text(out):
        out.reconfigure(errors="backslashreplace")
    if isinstance(read, io.TextIOWrapper) and read.errors == "strict":
        read.reconfigure(errors="surrogateescape")


def _takes_any_text(stream: io.TextIOWrapper) -> bool:
    """Say whether all letters can be written, and names of files as the octets that they are."""
    return stream.errors == "surrogateescape" and stream.encoding.lower() == "utf-8"


def escape(text: str) -> str:
    """Return text that is safe to show on a terminal: one line, no control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def data(text: str) -> None:
    """Write data to stdout as it is, and a line end where there is none.

    Raises:
        typer.Exit: nobody reads stdout any more.
    """
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python would flush at its end goes nowhere, without a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None


def json_data(value: Mapping[str, object]) -> None:
    """Write a value to stdout as JSON."""
    data(json.dumps(value, indent=2))


def json_lines(values: Iterable[Mapping[str, object]]) -> None:
    """Write rows to stdout, each a JSON object on a line of its own."""
    for row in values:
        data(json.dumps(row))


def say(text: str = "") -> None:
    """Write a line of talk to stderr."""
    _talk("", "", text)


def warn(text: str, hint: str = "") -> None:
    """Write a warning and its hint to stderr."""
    _talk("warning:", typer.colors.YELLOW, text)
    _hint(hint)


def fields(rows: Sequence[tuple[str, str]]) -> None:
    """Write names and values to stderr, the values under each other."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        say(f"  {name:<{width}}  {value}")


def data_fields(rows: Sequence[tuple[str, str]]) -> None:
    """Write names and values to stdout, the values under each other."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        data(f"{name:<{width}}  {escape(value)}")


def error(message: str, hint: str = "") -> None:
    """Write an error and its hint to stderr."""
    _talk("error:", typer.colors.RED, message)
    _hint(hint)


def scep_error(raised: ScepError, *, as_json: bool) -> None:
    """Write an error that was raised on purpose; as `failure` does."""
    failure(of_scep(raised), as_json=as_json)


def failure(found: Failure, *, as_json: bool) -> None:
    """Write a failure to stderr.

    Args:
        found: what went wrong.
        as_json: for programs: one line, an object, the last line on stderr.
    """
    if as_json:
        details = {
            "error": found.message,
            "hint": found.hint,
            "code": found.code,
            "exit_status": found.status,
        }
        if found.fail_info:
            details["fail_info"] = found.fail_info
        _talk("", "", json.dumps(details))
    elif found.is_error:
        error(found.message, found.hint)
    else:
        say(found.message)
        _hint(found.hint)


def trace(raised: BaseException) -> None:
    """Write where an error came from that nobody thought of, if SCEP_DEBUG=1 asks for that."""
    if os.environ.get("SCEP_DEBUG") == "1":
        traceback.print_exception(raised)


def can_ask() -> bool:
    """Say whether somebody sits at a terminal and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def shows_data() -> bool:
    """Say whether data goes to a terminal, and to no file or program."""
    return sys.stdout.isatty()


def is_unseen() -> bool:
    """Say whether there is a terminal for the answer, but none that shows the question."""
    return sys.stdin.isatty() and not sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Ask for yes or no on the terminal; no unless told otherwise."""
    return typer.confirm(escape(question), default=False, err=True)


def ask_before(
    step: str, show: Callable[[], None], question: str, *, look: str, yes: bool = False
) -> None:
    """Show what a step does, and ask whether it is meant.

    Args:
        step: what would happen, for an error where nobody can be asked.
        show: says what the step does.
        question: what is asked.
        look: how to see that first.
        yes: whether it is answered already.

    Raises:
        UsageError: nobody is there to ask.
        Abort: it is not meant.
    """
    if yes:
        return
    if not can_ask():
        raise UsageError(
            f"{step}, and there is no terminal to ask at", hint=f"{look}, then give --yes"
        )
    show()
    if not confirm(question):
        raise typer.Abort


def say_first(lines: Sequence[str], most: int) -> None:
    """Say the first lines of a list, indented, and how many more there are."""
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  and {len(lines) - most} more")


def secret(question: str, *, twice: bool = False) -> str:
    """Ask for something that must not be seen while it is typed; twice where it is new."""
    answer: str = typer.prompt(
        escape(question), hide_input=True, err=True, confirmation_prompt=twice
    )
    return answer


class Progress:
    """Shows on stderr why a flow waits: a moving line on a terminal, one plain line elsewhere."""

    def __init__(self) -> None:
        self._said = ""

    def pause(self, wait: Wait) -> None:
        """Wait as long as a flow asks."""
        if sys.stderr.isatty():
            self._spin(wait)
            return
        # While the CA thinks, once is enough.
        if not wait.pending or wait.reason != self._said:
            say(f"{wait.reason}; asking again in {wait.seconds:g} s")
        self._said = wait.reason
        time.sleep(wait.seconds)

    def _spin(self, wait: Wait) -> None:
        # Only here: half of what rich imports is never needed otherwise.
        from rich.console import Console
        from rich.text import Text

        at = datetime.now().astimezone() + timedelta(seconds=wait.seconds)
        # With a transactionID in it, this just fits into 80 columns.
        line = f"{wait.reason}; next at {at:%H:%M:%S}"
        with Console(stderr=True).status(Text(escape(line))):
            time.sleep(wait.seconds)


@contextlib.contextmanager
def bar(what: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something long has come; elsewhere nothing.

    Args:
        what: is being done.
        total: how much there is to do.
        shown: whether it is worth it.

    Yields:
        what to call with how much more is done.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda _more: None
        return
    from rich import progress as shows
    from rich.console import Console

    columns = (
        shows.TextColumn(what),
        shows.BarColumn(),
        shows.MofNCompleteColumn(),
        shows.TimeRemainingColumn(),
    )
    with shows.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)


@contextlib.contextmanager
def tally(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many of something long are done, whose end nobody knows, and how many a second.

    On a terminal it is a line that moves; elsewhere a line now and then.

    Args:
        what: is counted.

    Yields:
        what to call with how many more are done.
    """
    begun = told = time.monotonic()
    total = 0

    def line(now: float) -> str:
        return f"{total} {what}, {total / max(now - begun, 0.001):.0f} a second"

    if not sys.stderr.isatty():

        def count(more: int) -> None:
            nonlocal total, told
            total, now = total + more, time.monotonic()
            if now - told >= _EVERY:
                say(line(now))
                told = now

        yield count
        return
    from rich.console import Console

    with Console(stderr=True).status(f"0 {what}") as status:

        def move(more: int) -> None:
            nonlocal total
            total += more
            status.update(line(time.monotonic()))

        yield move


class Course:
    """Shows how far something long has come, how fast it goes, and when it will be over.

    On a terminal it is a bar that moves; elsewhere a line now and then.

    Args:
        what: is counted, such as `devices`.
        total: how many there are to do.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._begun = self._told = time.monotonic()
        self._move: Callable[[int], None] | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[Self]:
        """Show it while the block runs."""
        if not sys.stderr.isatty():
            yield self
            return
        from rich import progress as shows
        from rich.console import Console

        columns = (
            shows.BarColumn(bar_width=None),
            shows.MofNCompleteColumn(),
            shows.TextColumn(self._what + "{task.fields[rate]}"),
            shows.TimeRemainingColumn(compact=True),
            shows.TextColumn("left"),
        )
        with shows.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=self._total, rate="")

            def move(more: int) -> None:
                progress.update(task, advance=more, rate=f", {self._rate():.1f} a second,")

            self._move = move
            yield self
            self._move = None

    def advance(self, more: int = 1) -> None:
        """Count what is done."""
        self._done += more
        if self._move is not None:
            self._move(more)
            return
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            rate = self._rate()
            left = timedelta(seconds=round((self._total - self._done) / rate))
            say(f"{self._done} of {self._total} {self._what}, {rate:.1f} a second, {left} left")

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._begun, 0.001)


def _hint(text: str) -> None:
    if text:
        _talk("hint:", typer.colors.CYAN, text)


def _talk(label: str, colour: str, text: str) -> None:
    styled = typer.style(label, fg=colour, bold=True) + " " if label else ""
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    shown = f"{label} " if label and plain else styled
    # What nobody can read must not keep a server from its work, nor a key from its certificate.
    with contextlib.suppress(OSError, ValueError):
        print(f"{shown}{escape(text)}", file=sys.stderr, flush=True)  # noqa: T201
