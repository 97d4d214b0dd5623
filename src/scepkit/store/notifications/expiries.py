"""Certificates that come near their end, told once each.

Nothing is kept of a single certificate. A notification has a mark: the ends up to then are told.
What comes between the mark and the time that lies so many days ahead is told, and the mark moves
there, in one transaction. So what is issued for fewer days than that is not told of.
A mark that lies further ahead is of a clock that was ahead, and has passed over ends that nobody
was told of: it is moved back, and some of what it told comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, exists, insert, select, update

from scepkit.store.clocks import CLOCKS
from scepkit.store.database import Database
from scepkit.store.notifications.events import Event, EventType, certificate_facts
from scepkit.store.notifications.marks import MARK, THIS_MARK, set_mark
from scepkit.store.notifications.outbox import row_of
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.notifications import outbox, outbox_marks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from scepkit.store.notifications.outbox import Subscription

_LATER = certificates.alias("later")
# Its device has another one by now: renewed, or for the same subject.
_IS_RENEWED = exists().where(
    _LATER.c.renews == certificates.c.serial,
    _LATER.c.renews_issuer == certificates.c.issuer,
    _LATER.c.revoked_at.is_(None),
)
_IS_FOLLOWED = exists().where(
    _LATER.c.subject_digest.is_not(None),
    _LATER.c.subject_digest == certificates.c.subject_digest,
    _LATER.c.endpoint == certificates.c.endpoint,
    _LATER.c.revoked_at.is_(None),
    _LATER.c.not_after > certificates.c.not_after,
)
_ENDS = (
    certificates.c.not_after > bindparam("since"),
    certificates.c.not_after <= bindparam("until"),
)
# With many at once the mark moves to the end of one of them: those that end with it come along.
CUT = (
    select(certificates.c.not_after)
    .where(*_ENDS)
    .order_by(certificates.c.not_after)
    .offset(bindparam("size"))
    .limit(1)
)
EXPIRING = (
    select(certificates)
    .where(*_ENDS, certificates.c.revoked_at.is_(None), ~_IS_RENEWED, ~_IS_FOLLOWED)
    .order_by(certificates.c.not_after, certificates.c.serial)
)
MOVE = (
    update(outbox_marks)
    .where(THIS_MARK, outbox_marks.c.at == bindparam("was_at"))
    .values(at=bindparam("new_at"))
)


class Expiries(Database):
    """The part of the store that tells of certificates that end."""

    def announce_expiring(
        self, subscription: Subscription, ahead: timedelta, now: datetime, size: int = 500
    ) -> bool:
        """Put into the outbox which certificates end within a time, once each.

        A renewed one is left out, and so is one that is revoked or whose subject has a later one.

        Args:
            subscription: who is told, and of which endpoints.
            ahead: how long before their end.
            now: aware.
            size: of the certificates that end, about so many are looked at.

        Returns:
            Whether there are more to look at.

        Raises:
            StoreError: the database cannot be written.
        """
        mark = f"expiring/{ahead.days}"
        of = {"of_notification": subscription.notification, "of_mark": mark}
        with self._reading() as connection:
            row = connection.execute(MARK, of).first()
            is_ahead = row is not None and row.at > now + ahead + CLOCKS
            since = now if row is None or is_ahead else max(row.at, now)
            ends = {"since": since, "until": now + ahead}
            cut = connection.scalar(CUT, ends | {"size": size})
        until = cut or ends["until"]
        if row is not None and until <= row.at and not is_ahead:
            return False
        with self._writing("write the notifications") as connection:
            if row is None:
                is_ours = set_mark(connection, subscription.notification, mark, until)
            else:
                moved = of | {"was_at": row.at, "new_at": until}
                is_ours = connection.execute(MOVE, moved).rowcount == 1
            if not is_ours:
                return False  # another process is at it
            _announce(connection, subscription, {"since": since, "until": until}, ahead, now)
        return cut is not None


def _announce(
    connection: Connection,
    subscription: Subscription,
    ends: dict[str, datetime],
    ahead: timedelta,
    now: datetime,
) -> None:
    found: Sequence[Any] = connection.execute(EXPIRING, ends).all()
    events = [
        Event(
            EventType.EXPIRING,
            now,
            one.endpoint,
            {"days": ahead.days, "certificate": certificate_facts(one, one.der)},
        )
        for one in found
    ]
    if rows := [
        row_of(subscription.notification, one) for one in events if subscription.wants(one)
    ]:
        connection.execute(insert(outbox), rows)
