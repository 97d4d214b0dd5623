"""The server's log: one line for each operation, on stderr.

Rules: a line names the transaction, the peer, the subject, the outcome and the reason; it never
holds a challenge, a key or a password.
What a peer sent is a value, never part of the message, and the renderers escape it.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

import structlog

from scepkit.server import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import TextIO


class Lossy:
    """A stream that never fails: what cannot be written is counted, and changes no answer.

    Args:
        stream: where it goes.
        lost: called for each line that is lost.

    Attributes:
        is_failing: whether the last line was lost.
    """

    def __init__(self, stream: TextIO, lost: Callable[[], None]) -> None:
        self.is_failing = False
        self._stream = stream
        self._lost = lost

    def write(self, text: str) -> int:
        """Write a line, if that can be done."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # A full disk, a closed pipe; a closed stream is a ValueError.
            self.is_failing = True
            self._lost()
        else:
            self.is_failing = False
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` has done it."""


def configure(form: str) -> Lossy:
    """Set the log up, for this process.

    Args:
        form: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.

    Returns:
        Where the lines go.
    """
    stream = Lossy(sys.stderr, metrics.LOST.inc)
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if as_text
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _one_line,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    # What libraries log (uvicorn, alembic) comes out in the same form.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    return stream


def _one_line(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters in text that a peer may have chosen."""
    for key, value in event.items():
        if key != "exception" and isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
