"""The deliveries of the outbox's events: done, tried again, given up, or dropped.

A delivery that succeeded is deleted. One that fails stays, and comes up again later; what could not
be delivered in time is dead: it is tried no more until an operator wants it. How many rows a
notification has is bounded. What is dropped for that is counted, and told when somebody listens
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, case, delete, func, insert, or_, select, update

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.clocks import CLOCKS
from scepkit.store.database import PAGE, Database
from scepkit.store.notifications.events import Event, EventType
from scepkit.store.notifications.marks import (
    COUNT_LOST,
    LOSSES,
    LOST,
    MARK,
    TELL_LOST,
    set_mark,
)
from scepkit.store.notifications.outbox import row_of
from scepkit.store.tables.notifications import outbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import BindParameter, ColumnElement, Select

LONGEST_PAUSE = timedelta(minutes=30)
"""The time until a delivery is tried again, at most."""

_MOST_ERROR = 500  # characters of why a delivery failed

_NOW: BindParameter[datetime] = bindparam("now", type_=outbox.c.since.type)
_OF_NOTIFICATION = outbox.c.notification == bindparam("of_notification")
_WAITS = outbox.c.dead_at.is_(None)
_IS_DEAD = outbox.c.dead_at.is_not(None)
_THIS_ONE = outbox.c.id == bindparam("of_id")
_IDS = outbox.c.id.in_(bindparam("ids", expanding=True))

COLUMNS = (
    outbox.c.id,
    outbox.c.delivery,
    outbox.c.notification,
    outbox.c.event,
    outbox.c.endpoint,
    outbox.c.body,
    outbox.c.created_at,
    outbox.c.due_at,
    outbox.c.tries,
    outbox.c.tried_at,
    outbox.c.error,
    outbox.c.dead_at,
)
# What is to be tried later than any pause lasts is of a clock that was ahead.
_IS_DUE = or_(outbox.c.due_at <= bindparam("now"), outbox.c.due_at > bindparam("never_at"))
DUE = (
    select(*COLUMNS)
    .where(_OF_NOTIFICATION, _WAITS, _IS_DUE)
    .order_by(outbox.c.id)
    .limit(bindparam("size"))
)
DELIVERED = delete(outbox).where(_IDS)
FAILED = (
    update(outbox)
    .where(_THIS_ONE)
    .values(
        tries=outbox.c.tries + 1,
        since=case((outbox.c.since > _NOW, _NOW), else_=outbox.c.since),
        tried_at=bindparam("now"),
        due_at=bindparam("again_at"),
        error=bindparam("why"),
    )
)
# What was never tried is not given up: perhaps nobody was there to try.
GIVE_UP = (
    update(outbox)
    .where(_OF_NOTIFICATION, _WAITS, outbox.c.tries > 0, outbox.c.since < bindparam("before"))
    .values(dead_at=bindparam("now"))
)
COUNT = select(func.count()).select_from(outbox).where(_OF_NOTIFICATION)
# What is dead goes first, then the oldest.
SURPLUS = (
    select(outbox.c.id)
    .where(_OF_NOTIFICATION)
    .order_by(case((_IS_DEAD, 0), else_=1), outbox.c.id)
    .limit(bindparam("size"))
)
OVER = (
    select(outbox.c.id)
    .where(
        _OF_NOTIFICATION,
        or_(
            outbox.c.dead_at < bindparam("before"),
            and_(_WAITS, outbox.c.since < bindparam("before")),
        ),
    )
    .limit(bindparam("size"))
)
DROP = delete(outbox).where(_IDS)
RETRY = (
    update(outbox)
    .where(_IDS)
    .values(since=bindparam("now"), due_at=bindparam("now"), tries=0, dead_at=None)
)
NAMES = select(outbox.c.notification).distinct()
STANDING = select(
    outbox.c.notification,
    func.sum(case((_WAITS, 1), else_=0)),
    func.sum(case((_IS_DEAD, 1), else_=0)),
    func.min(case((_WAITS, outbox.c.created_at), else_=None)),
).group_by(outbox.c.notification)
DEAD = select(outbox.c.notification, func.count()).where(_IS_DEAD).group_by(outbox.c.notification)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that waits to be delivered, or that could not be.

    `delivery` is the id by which the receiver knows it, `body` what is sent, `due_at` when it is
    tried next, `error` why the last try failed, `dead_at` when it was given up.
    """

    id: int
    delivery: str
    notification: str
    event: str
    endpoint: str | None
    body: str
    created_at: datetime
    due_at: datetime
    tries: int
    tried_at: datetime | None
    error: str | None
    dead_at: datetime | None


class FailedTry(NamedTuple):
    """A try to deliver that failed: of which row, why, and when to try again."""

    id: int
    error: str
    again_at: datetime


class Queue(NamedTuple):
    """The state of a notification's rows: how many wait and are dead, the oldest, what was lost."""

    waiting: int
    dead: int
    oldest: datetime | None
    lost: int


class Deliveries(Database):
    """The part of the store with what waits to be delivered."""

    def due(self, notification: str, now: datetime, size: int) -> list[Delivery]:
        """Return the first deliveries of a notification that are due.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"of_notification": notification, "now": now, "size": size}
        values["never_at"] = now + LONGEST_PAUSE + CLOCKS
        with self._reading() as connection:
            return [*starmap(Delivery, connection.execute(DUE, values))]

    def settle(self, delivered: Sequence[int], failed: Sequence[FailedTry], now: datetime) -> None:
        """Write what became of deliveries that were tried.

        Args:
            delivered: the rows that the receiver has.
            failed: those that it has not.
            now: aware.

        Raises:
            StoreError: the database cannot be written; they are tried again.
        """
        with self._writing("write the deliveries") as connection:
            if delivered:
                connection.execute(DELIVERED, {"ids": [*delivered]})
            for one in failed:
                values = {"of_id": one.id, "again_at": one.again_at, "now": now}
                connection.execute(FAILED, values | {"why": one.error[:_MOST_ERROR]})

    def give_up(self, notification: str, *, before: datetime, now: datetime) -> int:
        """Try no more what failed, and is tried since before that; return how many.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {"of_notification": notification, "before": before, "now": now}
        with self._writing("give up deliveries") as connection:
            return connection.execute(GIVE_UP, values).rowcount

    def bound(self, notification: str, *, most: int, before: datetime, now: datetime) -> int:
        """Delete what is too old, and what is too much: the dead first, then the oldest.

        Args:
            notification: its name.
            most: rows that it may have.
            before: rows that have been given up, or wait, since before that go.
            now: aware.

        Returns:
            How many were deleted; they are counted as lost.

        Raises:
            StoreError: the database cannot be written; what was deleted stays deleted.
        """
        values = {"of_notification": notification}
        with self._reading() as connection:
            surplus = connection.execute(COUNT, values).scalar_one() - most
        total = 0
        while surplus > 0:
            size = min(surplus, PAGE)
            total += self._lose(notification, SURPLUS, {"size": size}, now)
            surplus -= size
        while True:
            lost = self._lose(notification, OVER, {"before": before, "size": PAGE}, now)
            total += lost
            if lost < PAGE:
                return total

    def _lose(
        self, notification: str, find: Select[Any], values: Mapping[str, Any], now: datetime
    ) -> int:
        with self._reading() as connection:
            ids = [*connection.scalars(find, {"of_notification": notification, **values})]
        if not ids:
            return 0
        with self._writing("delete what is old") as connection:
            count = connection.execute(DROP, {"ids": ids}).rowcount
            of = {"of_notification": notification, "of_mark": LOST}
            if connection.execute(COUNT_LOST, of | {"more": count, "now": now}).rowcount == 0:
                set_mark(connection, notification, LOST, now, count)
            return count

    def tell_lost(self, notification: str, now: datetime) -> int:
        """Put into the outbox how many events were dropped since that was last told.

        Raises:
            StoreError: the database cannot be written.
        """
        of = {"of_notification": notification, "of_mark": LOST}
        with self._reading() as connection:
            row = connection.execute(MARK, of).first()
        if row is None or row.lost == row.told:
            return 0
        lost: int = row.lost - row.told
        with self._writing("write the notifications") as connection:
            counts = {"was_told": row.told, "is_told": row.lost}
            if connection.execute(TELL_LOST, of | counts).rowcount != 1:
                return 0
            event = Event(EventType.LOST, now, "", {"count": lost})
            connection.execute(insert(outbox), [row_of(notification, event)])
        return lost

    def queues(self) -> dict[str, Queue]:
        """Return the state of each notification that has rows, or has lost some.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            found = connection.execute(STANDING).all()
            lost: dict[str, int] = {row[0]: row[1] for row in connection.execute(LOSSES)}
        queues = {
            name: Queue(int(waiting), int(dead), oldest, lost.get(name, 0))
            for name, waiting, dead, oldest in found
        }
        return {name: Queue(0, 0, None, count) for name, count in lost.items()} | queues

    def dead_letters(self) -> dict[str, int]:
        """Return how many deliveries were given up, by notification.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(DEAD)}

    def notifications_with_rows(self) -> list[str]:
        """Return the names of the notifications that have rows, be they in the settings or not.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return [*connection.scalars(NAMES)]

    def deliveries(
        self,
        *,
        notification: str | None = None,
        dead: bool | None = None,
        limit: int | None = None,
    ) -> Iterator[Delivery]:
        """Return what is in the outbox, oldest first, read a page at a time.

        Args:
            notification: only of this one; of all when None.
            dead: only what was given up, or only what waits; both when None.
            limit: at most so many; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        wanted: list[ColumnElement[bool]] = []
        if notification is not None:
            wanted.append(outbox.c.notification == notification)
        if dead is not None:
            wanted.append(_IS_DEAD if dead else _WAITS)

        def following(last: Delivery | None) -> Select[Any]:
            query = select(*COLUMNS).where(*wanted).order_by(outbox.c.id)
            return query if last is None else query.where(outbox.c.id > last.id)

        yield from self._pages(following, lambda row: Delivery(*row), None, limit)

    def delivery(self, text: str) -> list[Delivery]:
        """Return the deliveries whose id begins with a text; two at most.

        Raises:
            StoreError: the database cannot be read.
        """
        query = select(*COLUMNS).where(outbox.c.delivery.startswith(text, autoescape=True))
        with self._reading() as connection:
            return [*starmap(Delivery, connection.execute(query.limit(2)))]

    def retry(self, ids: Iterable[int], *, by: str, now: datetime, reason: str = "") -> int:
        """Have deliveries tried anew, at once; return how many there were.

        Args:
            ids: the numbers of their rows.
            by: who wants it, for the record.
            now: aware.
            reason: why, for the same.

        Raises:
            StoreError: the database cannot be written; what was written stays.
        """
        event = AuditEvent(AuditAction.OUTBOX_RETRIED, by, now, reason=reason or None)
        return sum(
            self._changed(RETRY, chunk, {"now": now}, event, "try the deliveries again")
            for chunk in _chunks(ids)
        )

    def drop(self, ids: Iterable[int], *, by: str, now: datetime, reason: str = "") -> int:
        """Delete deliveries; nobody is told of them any more. The rest as in `retry`."""
        event = AuditEvent(AuditAction.OUTBOX_DROPPED, by, now, reason=reason or None)
        return sum(
            self._changed(DROP, chunk, {}, event, "drop the deliveries") for chunk in _chunks(ids)
        )

    def _changed(
        self,
        statement: Any,
        ids: Sequence[int],
        values: Mapping[str, Any],
        event: AuditEvent,
        action: str,
    ) -> int:
        with self._writing(action) as connection:
            count = connection.execute(statement, {"ids": ids, **values}).rowcount
            if count:
                self._audit.append(connection, [event._replace(details={"count": count})])
            return count


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    all_of_them = [*ids]
    for start in range(0, len(all_of_them), PAGE):
        yield all_of_them[start : start + PAGE]
