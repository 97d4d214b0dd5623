"""The rest of an agent between two passes, which signals end."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from scepkit.client.agent.agent import Signal

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Rest:
    """Rests until the next pass; SIGTERM and SIGINT end the agent, SIGHUP makes it look at once.

    A signal during a step takes effect after it.
    """

    def __init__(self) -> None:
        self._is_over = False
        self._is_asked = False
        # A signal that comes right before the rest begins must end it, too: so it is a byte there.
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Self:
        for number in (*_ENDING, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*_ENDING, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)

    def __call__(self, seconds: float) -> Signal:
        """Rest, and say how to go on."""
        if seconds:
            # What these told of is noted already.
            self._forget()
            if not (self._is_over or self._is_asked):
                select.select([self._read], [], [], seconds)
        if self._is_over:
            return Signal.END
        if seconds and self._is_asked:
            self._is_asked = False
            return Signal.LOOK_NOW
        return Signal.GO_ON

    def _forget(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._is_asked = True
        else:
            self._is_over = True
