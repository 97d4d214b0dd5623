"""The bounds on waiting requests: for one address, and for one endpoint.

They are counted in the transaction that adds one, and nobody else adds one until it is committed:
on SQLite whoever writes is alone, on PostgreSQL an advisory lock sees to it. Without the lock, two
at once would each miss what the other has not committed yet, and pass the bound together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, or_, select, text

from scepkit.store.tables import IS_PENDING, requests

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from scepkit.store.values import Queued

# What is over by then no longer waits, though nobody may have written that yet.
IN_ALL = (
    select(func.count())
    .select_from(requests)
    .where(
        IS_PENDING,
        requests.c.queue == bindparam("endpoint"),
        or_(requests.c.expires_at.is_(None), requests.c.expires_at > bindparam("now")),
    )
)
OF_PEER = IN_ALL.where(requests.c.peer == bindparam("peer"))

# PostgreSQL drops the lock with the transaction. One lock for all endpoints: with several, two
# batches could take them in different orders. The key is "queueing" in ASCII.
ALONE = text("SELECT pg_advisory_xact_lock(:key)")
LOCK_KEY = int.from_bytes(b"queueing")


class QueueFullError(Exception):
    """Takes back what was written of a request that may not wait.

    Args:
        of_peer: as in `QueueFull`.
    """

    def __init__(self, of_peer: bool) -> None:  # noqa: FBT001
        super().__init__()
        self.of_peer = of_peer


def check_room(connection: Connection, queued: Queued) -> None:
    """See that one more may wait, and that nobody else takes its place until the commit.

    Raises:
        QueueFullError: there is no room.
    """
    if queued.most_of_peer is None and queued.most is None:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(ALONE, {"key": LOCK_KEY})
    values = {"endpoint": queued.endpoint, "peer": queued.peer, "now": queued.now}
    # The address first: its rows are fewer, so that refusing one more of them costs little.
    if queued.peer and _reaches(connection.scalar(OF_PEER, values), queued.most_of_peer):
        raise QueueFullError(of_peer=True)
    del values["peer"]
    if _reaches(connection.scalar(IN_ALL, values), queued.most):
        raise QueueFullError(of_peer=False)


def _reaches(count: int | None, most: int | None) -> bool:
    return most is not None and count is not None and count >= most
