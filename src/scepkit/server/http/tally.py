"""The number of connections, in all and of each address, over all workers of a machine.

Each worker process writes into a file of its own, which the others map into their memory as well:
no locks, and what a killed worker held is forgotten with its process.

Addresses are counted as a count-min sketch: each in one cell of every row, and the smallest counts.
So the memory is bounded whatever addresses there are, and none is counted too low; it may be
counted too high where others share its cells in every row. The cells are chosen with a secret key,
so that nobody can aim at them.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_ROWS = 2
_WIDTH = 1 << 16
_CELL = 4
_SIZE = _CELL * (1 + _ROWS * _WIDTH)

_KEY_SIZE = 32

# Seconds after which it is looked for workers that came or went.
_LOOK_AGAIN = 1.0


class Tally:
    """Counts connections; for one event loop.

    Args:
        directory: what the worker processes share; None for a process alone. One that is gone is
            no reason not to serve: the process counts for itself then.
        key: 32 secret octets, the same for all of them.
    """

    def __init__(self, directory: Path | None = None, key: bytes = b"") -> None:
        self._directory = directory
        self._key = key or new_key()
        self._others: dict[str, memoryview] = {}
        self._looked = 0.0
        self._mine = _cells(mmap.mmap(-1, _SIZE))
        if directory is not None:
            with contextlib.suppress(OSError):
                path = directory / str(os.getpid())
                # What a process of this number has left counts nothing.
                path.unlink(missing_ok=True)
                self._mine = _mapped(path)

    @property
    def total(self) -> int:
        """Return the number of all connections."""
        return sum(cells[0] for cells in self._all())

    @property
    def is_ahead(self) -> bool:
        """Say whether another process has fewer connections than this one."""
        mine, *others = (cells[0] for cells in self._all())
        return any(count < mine for count in others)

    @property
    def of_others(self) -> int:
        """Return the number of connections of the other processes."""
        return self.total - self._mine[0]

    def of(self, address: str) -> int:
        """Return the number of connections of an address; sometimes more, never fewer."""
        places = self._places(address)
        everybody = list(self._all())
        return min(sum(cells[place] for cells in everybody) for place in places)

    def connect(self, address: str | None) -> None:
        """Count a connection; of no address where None."""
        self._mine[0] += 1
        if address is not None:
            self.enter(address)

    def disconnect(self, address: str | None) -> None:
        """Count a connection no more."""
        self._mine[0] -= 1
        if address is not None:
            self.leave(address)

    def enter(self, address: str) -> None:
        """Count one more of an address that is no connection of its own."""
        for place in self._places(address):
            self._mine[place] += 1

    def leave(self, address: str) -> None:
        """Count one of an address no more."""
        for place in self._places(address):
            self._mine[place] -= 1

    def _places(self, address: str) -> list[int]:
        digest = hashlib.blake2b(address.encode(), key=self._key, digest_size=2 * _ROWS).digest()
        return [
            1 + row * _WIDTH + int.from_bytes(digest[2 * row : 2 * row + 2]) for row in range(_ROWS)
        ]

    def _all(self) -> Iterator[memoryview]:
        if self._directory is not None and time.monotonic() - self._looked > _LOOK_AGAIN:
            self._look(self._directory)
            self._looked = time.monotonic()
        yield self._mine
        yield from self._others.values()

    def _look(self, directory: Path) -> None:
        """Find the workers that came, and forget those that went."""
        try:
            names = {path.name for path in directory.iterdir()} - {str(os.getpid())}
        except OSError:
            names = set()
        for name in names:
            path = directory / name
            with contextlib.suppress(OSError, ValueError):  # it goes, or is being made
                if not _is_alive(int(name)):
                    path.unlink(missing_ok=True)
                    self._others.pop(name, None)
                elif name not in self._others:
                    self._others[name] = _mapped(path)
        for name in self._others.keys() - names:
            del self._others[name]


def new_key() -> bytes:
    """Return a key for the worker processes of one server."""
    return secrets.token_bytes(_KEY_SIZE)


def _mapped(path: Path) -> memoryview:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, _SIZE)
        return _cells(mmap.mmap(descriptor, _SIZE))
    finally:
        os.close(descriptor)


def _cells(memory: mmap.mmap) -> memoryview:
    return memoryview(memory).cast("I")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
