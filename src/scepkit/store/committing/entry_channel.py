"""One end of the connection between a worker process and the committer: frames, and no waiting.

Both ends are the same program of the same user, in a directory that nobody else may enter. So what
travels may be pickles.
"""

from __future__ import annotations

import pickle
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from scepkit.store.requests.issuance_row import IssuanceRow

if TYPE_CHECKING:
    from scepkit.store.committing.group_commit import Submitted

_HEAD = struct.Struct("!IQI")
_PIECE = 256 * 1024


Frame: TypeAlias = tuple[int, int, bytes]
"""A message on the connection: an entry, answers, or only a number. It has

- how many requests the worker still decides on, each of which may have an entry; 0 from the
  committer;
- the worker's number of its entry; 0 where there is none;
- octets.
"""


def packed(entry: Submitted) -> bytes:
    """Return an entry as it travels: a row as a plain tuple, which takes half the time."""
    return pickle.dumps(tuple(entry) if type(entry) is IssuanceRow else entry)


def unpacked(octets: bytes) -> Submitted:
    """Return the entry that travelled so."""
    entry: Any = pickle.loads(octets)  # noqa: S301 - of this program
    # As `_make` does, without its calls.
    return tuple.__new__(IssuanceRow, entry) if type(entry) is tuple else entry


class EntryChannel:
    """Frames on a connection; what cannot be sent at once is kept until `flush`.

    One thread may send while another one receives, and no more than that.

    Args:
        connection: the socket.

    Attributes:
        is_behind: whether something is kept that was to be sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._kept = bytearray()
        self._received = b""
        self.is_behind = False

    def fileno(self) -> int:
        """Return the file that is ready when there is something to receive, or room to send."""
        return self._connection.fileno()

    def send(self, frame: Frame) -> None:
        """Send a frame as far as there is room, and keep the rest.

        Raises:
            OSError: the other end is gone.
        """
        coming, number, body = frame
        octets = _HEAD.pack(coming, number, len(body)) + body
        sent = 0 if self.is_behind else self._put(octets)
        if sent < len(octets):
            self._kept += octets[sent:]
            self.is_behind = True

    def flush(self) -> bool:
        """Send what was kept, as far as there is room; return whether all of it is out.

        Raises:
            OSError: the other end is gone.
        """
        del self._kept[: self._put(self._kept)]
        self.is_behind = bool(self._kept)
        return not self.is_behind

    def _put(self, octets: bytes | bytearray) -> int:
        try:
            return self._connection.send(octets)
        except BlockingIOError:
            return 0

    def receive(self) -> list[Frame]:
        """Return the frames that are whole by now, without waiting for more.

        Raises:
            OSError: the other end is gone, or has ended.
        """
        try:
            piece = self._connection.recv(_PIECE)
        except BlockingIOError:
            return []
        if not piece:
            raise ConnectionError("the other process is gone")
        received = self._received + piece if self._received else piece
        frames, at, end = [], 0, len(received)
        while (begin := at + _HEAD.size) <= end:
            coming, number, length = _HEAD.unpack_from(received, at)
            if begin + length > end:
                break
            at = begin + length
            frames.append((coming, number, received[begin:at]))
        self._received = received[at:]
        return frames

    def end(self) -> None:
        """Send nothing more; the other end may go on."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
