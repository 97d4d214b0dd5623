"""Rules whose services fail: told once when that begins, and once when it is over.

Each worker process looks at its own circuit breakers, and tells what changed there; the outbox
knows what was told before, by whichever process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from scepkit.server.endpoints.served import ServedEndpoint
from scepkit.server.notifications.channels import Channel
from scepkit.server.webhooks.referee import Webhook
from scepkit.store import Event, EventType, Store


class FailingRules:
    """Tells of services that fail.

    Args:
        store: where the outbox is.
        served: returns the endpoints as they are served.
    """

    def __init__(self, store: Store, served: Callable[[], Mapping[str, ServedEndpoint]]) -> None:
        self._store = store
        self._served = served
        self._told: dict[tuple[str, str], bool] = {}

    def look(self, channels: Iterable[Channel], now: datetime) -> None:
        """Tell what has changed since the last look.

        Args:
            channels: the ways to those who are told.
            now: aware.

        Raises:
            StoreError: the database cannot be written; it is told at the next look.
        """
        channels = [*channels]
        for endpoint, served in self._served().items():
            for service in served.services:
                is_failing, place = service.circuit.is_failing, (endpoint, service.name)
                if is_failing is not None and self._told.get(place) is not is_failing:
                    for one in channels:
                        self._tell(one, endpoint, service, now, is_failing=is_failing)
                    self._told[place] = is_failing

    def _tell(
        self, channel: Channel, endpoint: str, service: Webhook, now: datetime, *, is_failing: bool
    ) -> None:
        wanted, mark = channel.subscription, f"rule/{endpoint}/{service.name}"[:128]
        if not is_failing:
            event = Event(EventType.RULE_RECOVERED, now, endpoint, {"rule": service.name})
            self._store.announce_end(wanted, mark, event)
            return
        facts = {"rule": service.name, "reason": service.circuit.reason}
        event = Event(EventType.RULE_FAILING, now, endpoint, facts)
        if wanted.wants(event):
            self._store.announce_once(channel.name, mark, event)
