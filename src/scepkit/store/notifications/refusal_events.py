"""Refused requests as events: those of senders with a right to a certificate, and strangers'.

Strangers can be refused as often as they like. So for each endpoint one event a minute tells how
many there were, with the facts of the last one, which anybody may have made up; a mark counts them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, or_, select, update

from scepkit.errors import FailInfo
from scepkit.protocol.certificate import show_serial
from scepkit.store.clocks import CLOCKS
from scepkit.store.database import Database
from scepkit.store.notifications.events import Event, EventType
from scepkit.store.notifications.marks import MARK, THIS_MARK, set_mark
from scepkit.store.notifications.outbox import PUT
from scepkit.store.tables.notifications import outbox, outbox_marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.notifications.outbox import Outbox
    from scepkit.store.refusals import Refusal

EVERY = timedelta(minutes=1)
MOST_AT_ONCE = 20
"""The refusals of entitled senders that one commit tells one by one."""

# What asks for no certificate.
_OTHERS = frozenset({"CERT_POLL", "GET_CERT", "GET_CRL"})
_PREFIX = "refused/"
_ALL = ""  # in place of a notification: it is counted once for all of them
COUNT = update(outbox_marks).where(THIS_MARK).values(lost=outbox_marks.c.lost + bindparam("more"))
TOLD = (
    update(outbox_marks)
    .where(
        THIS_MARK,
        outbox_marks.c.told == bindparam("was_told"),
        # Or it was told by a clock that was ahead.
        or_(outbox_marks.c.at <= bindparam("before"), outbox_marks.c.at > bindparam("never_at")),
    )
    .values(told=bindparam("is_told"), at=bindparam("now"))
)
UNTOLD = select(outbox_marks.c.mark).where(
    outbox_marks.c.notification == _ALL,
    outbox_marks.c.mark.startswith(_PREFIX),
    outbox_marks.c.lost > outbox_marks.c.told,
)


def tell_refused(
    connection: Connection, to: Outbox, refused: Iterable[Refusal], new: Sequence[Refusal]
) -> None:
    """Put refusals into the outbox, in the transaction that keeps them.

    Args:
        connection: of that transaction.
        to: the outbox.
        refused: all that are kept, those that were known before among them.
        new: those that were not.
    """
    if not to.tells(EventType.REFUSED):
        return
    entitled = [one for one in new if one.is_entitled and one.message_type not in _OTHERS]
    events = [
        Event(EventType.REFUSED, one.at, one.endpoint, _facts(one, 1))
        for one in entitled[:MOST_AT_ONCE]
    ]
    if rows := to.rows(events):
        PUT.run(connection, *rows)
    strangers = [o for o in refused if not o.is_entitled and o.message_type not in _OTHERS]
    rest: dict[str, list[Refusal]] = {}
    for one in (*strangers, *entitled[MOST_AT_ONCE:]):
        rest.setdefault(one.endpoint, []).append(one)
    for endpoint in sorted(rest):
        _count(connection, to, endpoint, rest[endpoint])


def _count(connection: Connection, to: Outbox, endpoint: str, refused: list[Refusal]) -> None:
    last = max(refused, key=lambda one: one.at)
    more = {**_mark(endpoint), "more": sum(one.times for one in refused)}
    if connection.execute(COUNT, more).rowcount == 0:
        set_mark(connection, _ALL, _PREFIX + endpoint, last.at - EVERY)
        connection.execute(COUNT, more)
    _tell(connection, to, endpoint, last.at, last)


def _tell(
    connection: Connection, to: Outbox, endpoint: str, now: datetime, last: Refusal | None
) -> bool:
    """Put what was counted into the outbox, unless that was done a moment ago."""
    row = connection.execute(MARK, _mark(endpoint)).one()
    count = row.lost - row.told
    values = {"was_told": row.told, "is_told": row.lost, "now": now}
    values |= {"before": now - EVERY, "never_at": now + CLOCKS}
    if not count or connection.execute(TOLD, _mark(endpoint) | values).rowcount != 1:
        return False
    facts = _facts(last, count) if last is not None else {**_NOTHING, "count": count}
    if rows := to.rows([Event(EventType.REFUSED, now, endpoint, facts)]):
        connection.execute(insert(outbox), rows)
    return True


def _mark(endpoint: str) -> dict[str, Any]:
    return {"of_notification": _ALL, "of_mark": _PREFIX + endpoint}


_NOTHING: dict[str, Any] = {
    "actor": None,
    "transaction_id": None,
    "challenge": None,
    "request": None,
    "subject": None,
    "renews": None,
    "fail_info": None,
    "reason": "",
    "is_entitled": False,
}


def _facts(refusal: Refusal, count: int) -> dict[str, Any]:
    serial = refusal.serial
    return {
        "actor": refusal.peer or None,
        "transaction_id": refusal.transaction_id,
        "challenge": refusal.challenge,
        "request": None,
        "subject": refusal.subject or None,
        "renews": None if serial is None else show_serial(serial),
        "fail_info": FailInfo(refusal.fail_info).name,
        "reason": refusal.reason,
        "is_entitled": refusal.is_entitled,
        "count": count,
    }


class RefusalEvents(Database):
    """The part of the store that tells of refusals which were only counted."""

    def announce_refused(self, now: datetime) -> None:
        """Put into the outbox how many strangers were refused, where nobody was told for a while.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._reading() as connection:
            marks = [*connection.scalars(UNTOLD)]
        for mark in marks:
            with self._writing("write the notifications") as connection:
                endpoint = mark.removeprefix(_PREFIX)
                _tell(connection, self._audit.outbox, endpoint, now, None)
