"""The outbox: events that wait to be told, written in the transaction of what they tell of.

Who has subscribed to nothing costs nothing. Each notification has a row of its own for an event,
so that one that cannot be delivered holds up no other (`deliveries`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from sqlalchemy import insert

from scepkit.store.notifications.events import EventType, event_of
from scepkit.store.prepared import Prepared
from scepkit.store.tables.notifications import outbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from scepkit.store.audit.events import AuditEvent
    from scepkit.store.notifications.events import Event
    from scepkit.store.prepared import Trip

PUT = Prepared(insert(outbox))
_TO_ALL = frozenset({EventType.LOST, EventType.TEST})


class Subscription(NamedTuple):
    """The events that a notification tells of.

    Attributes:
        notification: its name.
        events: the kinds.
        endpoints: the names of their endpoints; None for all. What is of no endpoint is told.
    """

    notification: str
    events: frozenset[EventType]
    endpoints: frozenset[str] | None = None

    def wants(self, event: Event) -> bool:
        """Say whether an event is told."""
        if event.type not in self.events and event.type not in _TO_ALL:
            return False
        return self.endpoints is None or not event.endpoint or event.endpoint in self.endpoints


class Outbox:
    """Puts events where they wait to be told. Threads may share it.

    Args:
        subscriptions: who is told of what.

    Attributes:
        subscriptions: as given; without any there is nothing to put.
    """

    def __init__(self, subscriptions: Sequence[Subscription] = ()) -> None:
        self.subscriptions = subscriptions

    def put(self, connection: Connection, done: Sequence[AuditEvent]) -> None:
        """Put what was done there, in the connection's transaction.

        Raises:
            DBAPIError: the database failed.
        """
        if rows := self._rows(done):
            PUT.run(connection, *rows)

    def put_within(self, trip: Trip, done: Sequence[AuditEvent]) -> None:
        """Put what was done there, on a trip.

        Raises:
            DBAPIError: the database failed; at the end of the trip at the latest.
        """
        if rows := self._rows(done):
            trip.run(PUT, *rows)

    def tells(self, kind: EventType) -> bool:
        """Say whether anybody is told of events of a kind."""
        return any(kind in one.events for one in self.subscriptions)

    def rows(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Return the rows that events become: one for each who is told."""
        return [
            row_of(one.notification, event)
            for event in events
            for one in self.subscriptions
            if one.wants(event)
        ]

    def _rows(self, done: Sequence[AuditEvent]) -> list[dict[str, Any]]:
        return self.rows(event for one in done if (event := event_of(one)) is not None)


def row_of(notification: str, event: Event) -> dict[str, Any]:
    """Return the row of an event that is to be told."""
    delivery = str(uuid4())
    return {
        "delivery": delivery,
        "notification": notification,
        "event": event.type.value,
        "endpoint": event.endpoint or None,
        "body": event.body(delivery),
        "created_at": event.at,
        "since": event.at,
        "due_at": event.at,
        "tries": 0,
    }
