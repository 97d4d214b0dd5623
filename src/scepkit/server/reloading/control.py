"""The way from `scep admin reload` to the servers of a data directory, and the outcome back.

Each server listens at a Unix socket in its data directory, which its owner alone can use.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Self

import structlog

from scepkit.errors import ReloadRefused
from scepkit.keys.files import refusals
from scepkit.server.reloading.channel import Channel, connect, listen
from scepkit.server.reloading.reloader import Outcome
from scepkit.store.audit.events import UNKNOWN

# Seconds for a command to say what it wants, and for a server to have done it.
ASK_SECONDS = 5.0
ANSWER_SECONDS = 150.0

_PREFIX = ".control-"

log = structlog.get_logger()


class Control:
    """Answers commands that ask a running server for something; one after another.

    Args:
        directory: the server's.
        reload: reads the settings again, for the operator with this name.
    """

    def __init__(self, directory: Path, reload: Callable[[str], Outcome]) -> None:
        self._path = directory / f"{_own_prefix()}{os.getpid()}"
        self._reload = reload
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        """Begin to answer, in a thread of its own."""
        _remove_left(self._path.parent)
        try:
            self._listener = listen(self._path)
        except OSError as error:
            # A directory that is mounted read-only; SIGHUP does the same.
            log.warning("scep admin reload will not find this server", error=error.strerror)
            return self
        Thread(
            target=self._work, args=(self._listener,), name="scepkit-control", daemon=True
        ).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Answer no more."""
        if self._listener is not None:
            with suppress(OSError):
                self._path.unlink()
            # Closing alone does not wake up the thread that waits for a command.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _work(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            channel = Channel(connection)
            try:
                asked = channel.receive(ASK_SECONDS)
                channel.send(self._reload(str(asked.get("by") or UNKNOWN)).to_json())
            except OSError as error:
                log.warning("a command went away without its answer", error=str(error))
            finally:
                channel.close()


def ask(directory: Path, by: str) -> list[dict[str, Any]]:
    """Have the servers of a data directory on this machine read their settings again.

    Args:
        directory: theirs.
        by: who asks.

    Returns:
        An `Outcome` of each, as JSON has it.

    Raises:
        ReloadRefused: none runs, or one does not answer.
    """
    channels = []
    try:
        with refusals(f"cannot ask the server on {directory}"):
            for path in _sockets(directory, _PREFIX):
                # What nobody listens at was left by a server that was killed.
                with suppress(ConnectionRefusedError, FileNotFoundError):
                    channels.append(connect(path))
        if not channels:
            raise ReloadRefused(
                f"no server runs on {directory}",
                hint="a server reads its settings when it starts; is it the right directory?",
            )
        for channel in channels:
            channel.send({"do": "reload", "by": by})
        # One waits for its turn where several commands ask at once.
        return [channel.receive(ANSWER_SECONDS) for channel in channels]
    except TimeoutError as error:
        raise ReloadRefused(
            f"the server on {directory} did not answer within {ANSWER_SECONDS:g} seconds",
            hint="its log says what became of the settings",
        ) from error
    except ConnectionError as error:
        raise ReloadRefused(
            f"the server on {directory} ended before it answered", hint="its log says why"
        ) from error
    finally:
        for channel in channels:
            channel.close()


def _own_prefix() -> str:
    """Return the beginning of the names of this machine's sockets."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:48]
    return f"{_PREFIX}{host}-"


def _sockets(directory: Path, prefix: str) -> list[Path]:
    with suppress(FileNotFoundError):
        found = [one for one in directory.iterdir() if one.name.startswith(prefix)]
        return sorted(one for one in found if one.suffix != ".new")
    return []


def _remove_left(directory: Path) -> None:
    """Remove the sockets of servers of this machine that were killed."""
    with suppress(OSError):
        for path in _sockets(directory, _own_prefix()):
            try:
                connect(path).close()
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
