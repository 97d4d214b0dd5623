"""SIGHUP: the settings are read again; but a server whose terminal is closed ends, as ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

SIGHUP = "SIGHUP"
"""The reason in the audit record; who sent the signal is not known."""


class HangUp:
    """Takes SIGHUP over, and has something done for it: at once, or as soon as that is known.

    The main thread makes one before anybody knows that the server is there.
    """

    def __init__(self) -> None:
        # Its put may be called by a signal handler.
        self._noted: SimpleQueue[None] = SimpleQueue()
        # Under nohup nobody wants the server to end with the terminal.
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._ends_with_terminal = not is_ignored and _has_terminal()
        signal.signal(signal.SIGHUP, lambda *_: self._note())

    def start(self, act: Callable[[], object]) -> None:
        """Begin, in a thread of its own.

        Args:
            act: what is done for each signal, and for several in a row only once.
        """
        Thread(target=self._work, args=(act,), name="scepkit-hang-up", daemon=True).start()

    def _note(self) -> None:
        if self._ends_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._noted.put(None)

    def _work(self, act: Callable[[], object]) -> None:
        while True:
            self._noted.get()
            while not self._noted.empty():
                self._noted.get()
            act()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
