"""The connections of a store, for each of its parts to read and write with."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from scepkit.errors import StoreError
from scepkit.store.engine import Kept, is_locked, transaction
from scepkit.store.faults import fault, translated
from scepkit.store.place import Place

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
        self._place = Place(engine)
        self._readers = Kept(engine, place=self._place)
        self._writers = Kept(engine, writing=True, place=self._place)
        self._gave_up = float("-inf")

    def check_patience(self, since: float) -> None:
        """Refuse work that has waited already while another thread waited in vain for a lock.

        Each would wait as long as the one before it; so all of them are over with the first.

        Args:
            since: when it was asked for, by `time.monotonic`.

        Raises:
            StoreError: somebody's wait that ended after that was in vain.
        """
        if self._gave_up > since:
            raise StoreError(
                "the database is locked",
                hint="another program holds a lock in the database; end it, then try again",
            )

    def _check_damage(self) -> None:
        """Refuse for good once the database was seen to be damaged, wherever in it that was.

        Raises:
            StoreError: what was said then.
        """
        damage = self._readers.damage or self._writers.damage
        if damage is not None:
            raise fault("use the database", damage) from None

    def close(self) -> None:
        """Close all connections, those in use when they are given back; may be called again."""
        self._readers.close()
        self._writers.close()
        self._engine.dispose()
        self._place.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with (
            translated("read the database"),
            self._noticing_locks(),
            self._readers.connection() as connection,
        ):
            yield connection

    @contextmanager
    def _writing(self, action: str) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on an exception.

        Args:
            action: what it does, to follow "cannot" in an error.
        """
        with (
            translated(action),
            self._noticing_locks(),
            self._writers.connection() as connection,
            transaction(connection),
        ):
            yield connection

    @contextmanager
    def _noticing_locks(self) -> Iterator[None]:
        """Note when a wait for a lock was in vain, for `check_patience`."""
        try:
            yield
        except Exception as error:
            if is_locked(error):
                self._gave_up = monotonic()
            raise
