"""The marks of notifications: what was told once, how far something has come, how much was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.connections import savepoint
from scepkit.store.tables.notifications import outbox_marks

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


LOST = "lost"  # the mark that counts what was dropped

THIS_MARK = and_(
    outbox_marks.c.notification == bindparam("of_notification"),
    outbox_marks.c.mark == bindparam("of_mark"),
)
LOSSES = select(outbox_marks.c.notification, outbox_marks.c.lost).where(outbox_marks.c.mark == LOST)
MARK = select(outbox_marks).where(THIS_MARK)
SET_MARK = insert(outbox_marks)
UNSET_MARK = delete(outbox_marks).where(THIS_MARK)
COUNT_LOST = (
    update(outbox_marks)
    .where(THIS_MARK)
    .values(lost=outbox_marks.c.lost + bindparam("more"), at=bindparam("now"))
)
TELL_LOST = (
    update(outbox_marks)
    .where(THIS_MARK, outbox_marks.c.told == bindparam("was_told"))
    .values(told=bindparam("is_told"))
)


def set_mark(
    connection: Connection, notification: str, mark: str, at: datetime, lost: int = 0
) -> bool:
    """Set a mark; return whether it was not there."""
    row = {"notification": notification, "mark": mark, "at": at, "lost": lost, "told": 0}
    try:
        with savepoint(connection):
            connection.execute(SET_MARK, row)
    except IntegrityError:
        return False
    return True
