"""The connections of a store: what each of its parts reads and writes with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.store.engine import Kept, transaction
from scepkit.store.faults import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine


class Connected:
    """Reads and writes a database; safe to use from many threads at once.

    Args:
        engine: a database whose tables are current.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers = Kept(engine)
        self._writers = Kept(engine, writing=True)

    def close(self) -> None:
        """Close all connections, those in use when they are given back; may be called again."""
        self._readers.close()
        self._writers.close()
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated("read the database"), self._readers.connection() as connection:
            yield connection

    @contextmanager
    def _writing(self, action: str) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on an exception.

        Args:
            action: what it does, to follow "cannot" in an error.
        """
        with (
            translated(action),
            self._writers.connection() as connection,
            transaction(connection),
        ):
            yield connection
