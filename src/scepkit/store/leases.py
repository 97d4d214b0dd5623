"""Leases: what one process at a time does, also where several machines share a database.

Who holds one renews it before its end. Nobody takes it before then, so after a crash the work rests
for as long as a lease is good. Clocks that differ by more let two work at once for a while: what is
done under a lease has to bear that. So a lease whose end is further away than any that is taken now
is anybody's: it is of a clock that was ahead, and its holder may be gone for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.clocks import CLOCKS
from scepkit.store.connections import savepoint
from scepkit.store.database import Database
from scepkit.store.tables.leases import leases

if TYPE_CHECKING:
    from datetime import datetime

_THIS_ONE = leases.c.name == bindparam("of_name")
LEASE = select(leases.c.holder, leases.c.until).where(_THIS_ONE)
FIRST = insert(leases)
# The condition is the guard: of two that find it ended, one changes the row.
TAKE = (
    update(leases)
    .where(
        and_(
            _THIS_ONE,
            leases.c.holder == bindparam("of_holder"),
            leases.c.until == bindparam("was_until"),
        )
    )
    .values(holder=bindparam("new_holder"), until=bindparam("new_until"))
)
END = delete(leases).where(_THIS_ONE, leases.c.holder == bindparam("of_holder"))


class Leases(Database):
    """The part of the store that says whose turn it is."""

    def take_lease(self, name: str, holder: str, *, now: datetime, until: datetime) -> bool:
        """Take a lease, or renew it; say whether it is the holder's.

        Args:
            name: of what is done.
            holder: the id of who wants to do it.
            now: aware.
            until: aware; the end of the lease unless it is renewed.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._reading() as connection:
            row = connection.execute(LEASE, {"of_name": name}).first()
        if row is not None and row.holder != holder and now < row.until <= until + CLOCKS:
            return False
        with self._writing("take a lease") as connection:
            if row is None:
                try:
                    with savepoint(connection):
                        new = {"name": name, "holder": holder, "until": until}
                        connection.execute(FIRST, new)
                except IntegrityError:
                    return False
                return True
            was = {"of_name": name, "of_holder": row.holder, "was_until": row.until}
            new = {"new_holder": holder, "new_until": until}
            return connection.execute(TAKE, was | new).rowcount == 1

    def end_lease(self, name: str, holder: str) -> None:
        """Give a lease back, if it is the holder's.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("give back a lease") as connection:
            connection.execute(END, {"of_name": name, "of_holder": holder})
