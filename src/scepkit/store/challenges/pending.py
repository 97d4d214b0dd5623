"""The challenges that can still be used: how many there are, and how many there may be.

Those that are added within a bound are counted before: on SQLite whoever writes is alone, on
PostgreSQL an advisory lock sees to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, func, select, text

from scepkit.errors import TooManyPending
from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.challenges import IS_OPEN, challenges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from scepkit.store.values import NewChallenge

MANY = 500  # challenges at once that a database server is to count

# PostgreSQL drops the lock with the transaction. The key is "pending" in ASCII.
ALONE = text("SELECT pg_advisory_xact_lock(:key)")
LOCK_KEY = int.from_bytes(b"pending")
_IS_PENDING = (IS_OPEN, challenges.c.expires_at > bindparam("now", type_=UTCDateTime))
OF_DOOR = (
    select(func.count())
    .select_from(challenges)
    .where(
        challenges.c.endpoint == bindparam("endpoint"),
        challenges.c.door == bindparam("door"),
        *_IS_PENDING,
    )
)
BY_DOOR = (
    select(challenges.c.endpoint, challenges.c.door, func.count())
    .where(*_IS_PENDING)
    .group_by(challenges.c.endpoint, challenges.c.door)
    .order_by(challenges.c.endpoint, challenges.c.door)
)


class PendingChallenges(NamedTuple):
    """The number of challenges of one endpoint and one door that can still be used."""

    endpoint: str
    door: str
    pending: int


def check_room(
    connection: Connection, new: Sequence[NewChallenge], max_pending: int | None
) -> None:
    """Refuse challenges beyond a bound; else nobody adds others until the commit.

    Raises:
        TooManyPending: there is no room for all of them.
    """
    if max_pending is None:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(ALONE, {"key": LOCK_KEY})
    first = new[0]
    values = {"endpoint": first.endpoint, "door": first.door, "now": first.created_at}
    pending = connection.execute(OF_DOOR, values).scalar_one()
    if pending + len(new) > max_pending:
        raise TooManyPending(
            f"the endpoint {first.endpoint!r} has {pending} challenges by way of {first.door} that "
            f"are neither spent, void nor expired; {len(new)} more would be over {max_pending}",
            hint="void those that nobody needs, let them expire sooner, or raise max_pending of "
            "the rule of kind one-time",
            pending=pending,
            most=max_pending,
        )


def count(connection: Connection, new: int) -> None:
    """Have PostgreSQL count the challenges, if it knows of fewer than there are new ones.

    By itself it does so once a minute. Until then all of its indexes seem to be as good, and with
    one that knows no MAC each look-up goes through all challenges of the endpoint.
    """
    known = "SELECT reltuples FROM pg_class WHERE oid = CAST('challenges' AS regclass)"
    if connection.exec_driver_sql(known).scalar_one() < new:
        connection.exec_driver_sql("ANALYZE challenges")
