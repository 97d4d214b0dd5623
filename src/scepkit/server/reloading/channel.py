"""Messages between processes of one machine: JSON, one object a line, over a Unix socket.

Every wait has an end: who says nothing in time is taken to be gone.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scepkit.keys.ownership import ROOT

_MAX_MESSAGE = 64 * 1024 * 1024
_SEND_SECONDS = 10.0
_PIECE = 64 * 1024
# Octets of a path that a Unix socket can be named by; some systems have less than Linux.
_MAX_PATH = 100


class Channel:
    """One end of a connection; for one thread at a time.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone, or does not read.
        """
        self._connection.settimeout(_SEND_SECONDS)
        self._connection.sendall(json.dumps(message).encode("utf-8") + b"\n")

    def receive(self, seconds: float | None) -> dict[str, Any]:
        """Return the next message.

        Args:
            seconds: the longest wait; None for ever.

        Raises:
            OSError: the other end is gone, or said nothing in time, or what is no message.
        """
        end = None if seconds is None else time.monotonic() + seconds
        searched = 0
        while (at := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            # A timeout of 0 would mean not to wait, which has another error.
            self._connection.settimeout(end and max(0.001, end - time.monotonic()))
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise ConnectionError("the other process is gone")
            self._received += piece
            if len(self._received) > _MAX_MESSAGE:
                raise ConnectionError("the message is too long")
        line = bytes(self._received[:at])
        del self._received[: at + 1]
        try:
            message = json.loads(line)
        except ValueError as error:
            raise ConnectionError("this is no message") from error
        if not isinstance(message, dict):
            raise ConnectionError("this is no message")
        return message

    def is_gone(self) -> bool:
        """Say whether the other end has hung up."""
        # A timeout would be waited for, whatever the flags say.
        self._connection.setblocking(False)
        try:
            return not self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Hang up, also while another thread waits for a message."""
        with suppress(OSError):
            # Closing alone waits for that thread.
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def listen(path: Path) -> socket.socket:
    """Return a socket that listens at a path, for its owner alone.

    It gets its name when it listens, so that whoever finds it finds somebody who answers.

    Raises:
        OSError: it cannot be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unfinished = path.with_name(f"{path.name}.new")
    try:
        os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        with _address(unfinished) as address:
            listener.bind(address)
        _give(unfinished)
        listener.listen()
        unfinished.replace(path)
    except BaseException:
        listener.close()
        unfinished.unlink(missing_ok=True)
        raise
    return listener


def connect(path: Path, seconds: float = 5.0) -> Channel:
    """Return a channel to the process that listens at a path.

    Raises:
        OSError: nobody does.
    """
    return Channel(connected(path, seconds))


def connected(path: Path, seconds: float = 5.0) -> socket.socket:
    """Return a socket that is connected to the process that listens at a path, however long.

    Raises:
        OSError: nobody does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with _address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield a name of a path that is short enough for a socket."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _give(path: Path) -> None:
    """Give a socket that root has made to the owner of its directory, as far as root may."""
    owner = path.parent.stat()
    if os.geteuid() == ROOT != owner.st_uid:
        try:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        except OSError:
            # As in a container without CAP_CHOWN: then root alone can use it.
            return
