"""Announcements: events that no other record tells of, some of them once and until they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert

from scepkit.store.clocks import CLOCKS
from scepkit.store.database import Database
from scepkit.store.notifications.marks import MARK, UNSET_MARK, set_mark
from scepkit.store.notifications.outbox import Outbox, row_of
from scepkit.store.tables.notifications import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepkit.store.notifications.events import Event
    from scepkit.store.notifications.outbox import Subscription


class Announcements(Database):
    """The part of the store with the events that are to be told, and who is told."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Have these told from now on of what this store writes; in place of those before."""
        self._audit.outbox = Outbox(subscriptions)

    def announce(self, *events: Event) -> None:
        """Put events into the outbox that no other record tells of.

        Raises:
            StoreError: the database cannot be written.
        """
        if rows := self._audit.outbox.rows(events):
            with self._writing("write the notifications") as connection:
                connection.execute(insert(outbox), rows)

    def announce_once(self, notification: str, mark: str, event: Event) -> bool:
        """Put an event into the outbox for one notification, unless that was done before.

        Args:
            notification: its name.
            mark: the name of what it tells, at most 128 characters.
            event: the event.

        Returns:
            Whether it was new.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {"of_notification": notification, "of_mark": mark}
        with self._reading() as connection:
            row = connection.execute(MARK, values).first()
        if row is not None and row.at <= event.at + CLOCKS:
            return False
        with self._writing("write the notifications") as connection:
            if row is not None:
                # It was told too early, by a clock that was ahead.
                connection.execute(UNSET_MARK, values)
            if not set_mark(connection, notification, mark, event.at):
                return False
            connection.execute(insert(outbox), [row_of(notification, event)])
            return True

    def announce_end(self, subscription: Subscription, mark: str, event: Event) -> bool:
        """Put an event into the outbox that ends what `announce_once` told; once, and not without.

        Args:
            subscription: who was told; the event is put there if it is wanted.
            mark: as in `announce_once`.
            event: the event.

        Returns:
            Whether there was something to end.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {"of_notification": subscription.notification, "of_mark": mark}
        with self._reading() as connection:
            if connection.execute(MARK, values).first() is None:
                return False
        with self._writing("write the notifications") as connection:
            if connection.execute(UNSET_MARK, values).rowcount != 1:
                return False
            if subscription.wants(event):
                connection.execute(insert(outbox), [row_of(subscription.notification, event)])
            return True
