"""The server's log: one line for each operation, on stderr.

Rules: a line names the transaction, the peer, the subject, the outcome and the reason; it never
holds a challenge, a key or a password.
What a peer sent is a value, never part of the message, and the renderers escape it.
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import TextIO


# Octets of lines that are kept for a reader that does not read.
_MAX_KEPT = 1024 * 1024

# Octets that a pipe with any room takes at once (PIPE_BUF).
_PIECE = select.PIPE_BUF

_UTC_LENGTH = len("+00:00")


class LossyStream:
    """A stream that never fails and never waits: a lost log line changes no answer.

    A reader that stops reading, such as a collector that hangs, fills the pipe. Then lines are
    kept, as many as may be, and written before later ones once it reads again. What is more than
    that, or cannot be written at all, is lost and counted.

    Args:
        stream: where it goes.
        lost: called for each line that is lost.

    Attributes:
        is_failing: whether the last line was lost.
        lost: as given.
    """

    def __init__(self, stream: TextIO, lost: Callable[[], None] = lambda: None) -> None:
        self.is_failing = False
        self.lost = lost
        self._stream = stream
        self._lock = threading.Lock()
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._poll, self._descriptor = _watch(stream)

    def write(self, text: str) -> int:
        """Write a line, if that can be done now; else keep it."""
        line = text.encode("utf-8", "replace")
        with self._lock:
            if self._kept:
                self._drain()
            # Before any of it is written: the next line would go on where it breaks off.
            if self._size + len(line) > _MAX_KEPT:
                self._lose()
                return len(text)
            self.is_failing = False
            rest = line if self._kept else self._put(line)
            if rest:
                self._kept.append(rest)
                self._size += len(rest)
        return len(text)

    def flush(self) -> None:
        """Write the lines that were kept, as far as that can be done now."""
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        while self._kept:
            line = self._kept.popleft()
            rest = self._put(line)
            self._size -= len(line) - len(rest)
            if rest:
                self._kept.appendleft(rest)
                return

    def _put(self, line: bytes) -> bytes:
        """Write a line as far as that can be done now, and return the rest."""
        try:
            while line and (self._poll is None or self._poll.poll(0)):
                if self._descriptor is None:
                    self._stream.write(line.decode("utf-8"))
                    self._stream.flush()
                    return b""
                # More might not fit into a pipe that has room.
                line = line[os.write(self._descriptor, line[:_PIECE]) :]
        except BlockingIOError:
            # Another worker was quicker, and the pipe is full again.
            return line
        except (OSError, ValueError):
            # A full disk, a closed pipe; a closed stream is a ValueError. Poll tells of an error as
            # if there were room.
            self._lose()
            return b""
        return line

    def _lose(self) -> None:
        self.is_failing = True
        self.lost()


def _watch(stream: TextIO) -> tuple[select.poll | None, int | None]:
    """Return the poll that tells whether a stream can be written, and its file, if it has one.

    A pipe is opened once more, so that writing does not wait, and what else writes to it still
    does: it need not be asked before, nor need a file. Between asking and writing another process
    may fill a pipe.
    """
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return None, descriptor
        if stat.S_ISFIFO(mode):
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                return None, os.open(f"/proc/self/fd/{descriptor}", flags)
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
    except (OSError, ValueError):
        return None, None
    return poll, descriptor


class _Logger(structlog.BoundLoggerBase):
    """A logger as the server needs it: what structlog's own does, in fewer steps.

    There is a line for each request.
    """

    def debug(self, event: str, **fields: Any) -> None:
        """Do nothing."""

    def info(self, event: str, **fields: Any) -> None:
        """Write a line about what went as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about what the operator should look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about what failed."""
        self._write("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Write a line about what ends the server."""
        self._write("critical", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Write a line about what failed, with the traceback of the exception that is handled."""
        self._write("error", event, {"exc_info": True} | fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        line: Any = self._context | fields
        line["event"] = event
        try:
            for process in self._processors:
                line = process(self._logger, level, line)
        except structlog.DropEvent:  # a test looks at what is logged
            return
        self._logger.write(f"{line}\n")


def configure(form: str) -> LossyStream:
    """Set the log up, for this process.

    Args:
        form: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.

    Returns:
        Where the lines go.
    """
    stream = LossyStream(sys.stderr)
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else _as_json
    )
    structlog.configure(
        processors=[_complete if as_text else _stamp, renderer],
        wrapper_class=_Logger,
        logger_factory=lambda *_: stream,
        cache_logger_on_first_use=True,
    )
    # What libraries log (asyncio, alembic) comes out in the same form.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[_complete], processor=renderer)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    return stream


def _complete(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add what every line has, and escape control characters in what a peer may have chosen."""
    return _escape(_stamp(logger, method, event))


def _stamp(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add level, time and traceback."""
    event["level"] = "error" if method == "exception" else method
    event["timestamp"] = f"{datetime.now(UTC).isoformat()[:-_UTC_LENGTH]}Z"
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return event


def _escape(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if not isinstance(value, str) or (value.isprintable() and type(value) is str):
            continue
        if not value.isprintable() and key != "exception":
            event[key] = value.encode("unicode_escape").decode("ascii")
        elif isinstance(value, Enum):
            event[key] = value.value
    return event


# Made once: json.dumps would make another one for each line.
_ENCODER = json.JSONEncoder(default=repr)


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return a line as JSON; there is one for each request.

    JSON escapes nothing in most lines. Those have no control character in any value, so that values
    need not be looked at one by one.
    """
    line = _ENCODER.encode(event)
    return _ENCODER.encode(_escape(event)) if "\\" in line else line
