"""The upkeep of notifications: bounds of the outbox, and events of what comes near its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import structlog
from cryptography import x509

from scepkit.keys.pem import sha256_fingerprint
from scepkit.protocol.certificate import Certificate
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.intune.connections import in_use
from scepkit.server.notifications.channels import Channel
from scepkit.server.settings import Settings
from scepkit.store import Event, EventType, Queue, Store

# Of notifications that are no more in the settings, or are switched off.
_KEEP = timedelta(days=30)
_NO_ROWS = Queue(0, 0, None, 0)
_FULL = 2  # ends are told while the outbox is less than one of so many parts full

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Upkeep:
    """One round of it; harmless if two processes do it at once.

    Attributes:
        store: where the outbox is.
        settings: returns the server's settings.
        authorities: returns the CAs that are served.
    """

    store: Store
    settings: Callable[[], Settings]
    authorities: Callable[[], Mapping[str, LoadedCA]]

    def run(self, channels: Iterable[Channel], now: datetime) -> None:
        """Do all of it.

        Args:
            channels: the ways to those who are told.
            now: aware.

        Raises:
            StoreError: the database cannot be used; the next round goes on.
        """
        self.store.announce_refused(now)
        queues = self.store.queues()
        served = {one.name: one for one in channels}
        for name, one in served.items():
            self._bound(one, now)
            self._endings(one, now)
            self._secrets(one, now)
            queue = queues.get(name, _NO_ROWS)
            if queue.waiting + queue.dead < one.settings.most // _FULL:
                self._expiring(one, now)
        for name in self.store.notifications_with_rows():
            if name not in served:
                most = sum(queues.get(name, _NO_ROWS)[:2])
                self._lost(name, self.store.bound(name, most=most, before=now - _KEEP, now=now))

    def _bound(self, channel: Channel, now: datetime) -> None:
        name, settings = channel.name, channel.settings
        if count := self.store.give_up(name, before=now - settings.give_up, now=now):
            log.error(
                "notifications could not be delivered and were given up",
                notification=name,
                count=count,
                hint="mend the receiver, then: scep admin outbox retry --all",
            )
        before = now - max(settings.keep, settings.give_up)
        self._lost(name, self.store.bound(name, most=settings.most, before=before, now=now))
        self.store.tell_lost(name, now)

    def _lost(self, name: str, count: int) -> None:
        if count:
            log.error(
                "notifications were dropped: too many waited, or for too long",
                notification=name,
                count=count,
            )

    def _expiring(self, channel: Channel, now: datetime) -> None:
        if EventType.EXPIRING not in channel.settings.events:
            return
        for days in sorted(channel.settings.expiring_days):
            # One part each time: the next round goes on, and the outbox is not filled at once.
            self.store.announce_expiring(channel.subscription, timedelta(days=days), now)

    def _endings(self, channel: Channel, now: datetime) -> None:
        if EventType.CA_EXPIRING not in channel.settings.events:
            return
        wanted = channel.subscription.endpoints
        for one in self._certificates():
            if wanted is not None and not wanted.intersection(one.endpoints):
                continue
            left = one.certificate.not_valid_after_utc - now
            near = [n for n in channel.settings.ca_expiring_days if left <= timedelta(days=n)]
            if near and left < one.matters_from:
                days = min(near)
                event = _ending(one, days, now)
                mark = f"{one.role}/{event.facts['sha256'][:32]}/{days}"
                self.store.announce_once(channel.name, mark, event)

    def _secrets(self, channel: Channel, now: datetime) -> None:
        """Tell of client secrets near the day from which Intune is not asked with them any more."""
        if EventType.SECRET_EXPIRING not in channel.settings.events:
            return
        settings, wanted = self.settings(), channel.subscription.endpoints
        for name, endpoints in in_use(settings).items():
            day = settings.intune[name].secret_expires
            if day is None or (wanted is not None and not wanted.intersection(endpoints)):
                continue
            left = datetime.combine(day, time.min, UTC) - now
            near = [n for n in channel.settings.ca_expiring_days if left <= timedelta(days=n)]
            if near:
                facts = {
                    "registration": name,
                    "endpoints": endpoints,
                    "secret_expires": day.isoformat(),
                    "days": min(near),
                }
                event = Event(EventType.SECRET_EXPIRING, now, "", facts)
                self.store.announce_once(channel.name, f"secret/{name}/{day}/{min(near)}", event)

    def _certificates(self) -> Iterator[_CACertificate]:
        """Yield the certificates of CAs and RAs whose end matters.

        An RA is replaced by itself some days before; it is told of when that has not happened for
        a day.
        """
        settings = self.settings()
        for name, ca in self.authorities().items():
            endpoints = [e for e, one in settings.endpoint.items() if one.ca == name]
            own, ra = ca.material.ca.certificate, ca.material.ra.certificate
            yield _CACertificate(name, "ca", own, endpoints, timedelta.max)
            if ra != own:
                late = timedelta(days=settings.ra_rotation_days - 1)
                yield _CACertificate(name, "ra", ra, endpoints, late)


@dataclass(frozen=True, slots=True)
class _CACertificate:
    """A certificate of a CA or an RA, and how near its end it is told of at the earliest."""

    ca: str
    role: str
    certificate: x509.Certificate
    endpoints: list[str]
    matters_from: timedelta


def _ending(one: _CACertificate, days: int, now: datetime) -> Event:
    own = Certificate.of(one.certificate)
    facts = {
        "ca": one.ca,
        "role": one.role,
        "endpoints": one.endpoints,
        "subject": str(own.subject_name),
        "sha256": sha256_fingerprint(one.certificate).removeprefix("sha256:"),
        "not_after": one.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "days": days,
    }
    return Event(EventType.CA_EXPIRING, now, "", facts)
