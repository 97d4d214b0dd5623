"""The ways to those who are told of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from scepkit.errors import UsageError
from scepkit.server.directory import notification_files
from scepkit.server.settings import Settings
from scepkit.server.settings.notification import NotificationSettings
from scepkit.server.webhooks.posting import Poster
from scepkit.server.webhooks.services import key_of, poster_of
from scepkit.server.webhooks.signing import signed
from scepkit.store import Delivery, Subscription


@dataclass(frozen=True, slots=True)
class Channel:
    """The way to one receiver.

    Attributes:
        name: of the notification.
        settings: the notification's.
        poster: sends.
        keys: for the signatures; the one of before comes last. Secret.
    """

    name: str
    settings: NotificationSettings
    poster: Poster
    keys: tuple[bytes, ...] = field(repr=False)

    @property
    def subscription(self) -> Subscription:
        """Return the events that are told on it."""
        return self.settings.subscription(self.name)

    async def send(self, delivery: Delivery, now: datetime) -> None:
        """Send an event, signed; again the id stays the same, and the time of the signature not.

        Raises:
            ThirdPartyFailed: the receiver did not take it, or nobody knows.
        """
        body = delivery.body.encode()
        headers = signed(self.keys, delivery.delivery, body, now)
        await self.poster.deliver(body, {**headers, "Scepkit-Event": delivery.event})


def channels_of(settings: Settings, secrets: Mapping[Path, str] | None) -> dict[str, Channel]:
    """Return the ways to all receivers, by notification, but for those that are switched off.

    Args:
        settings: the server's.
        secrets: the contents of files that they name; None to read these. Secret.

    Raises:
        SettingsError: a file cannot be used, or the package for HTTP is not installed.
    """
    found = notification_files.read_all(settings) if secrets is None else secrets
    return {
        name: _channel(name, one, settings.directory, found)
        for name, one in settings.notification.items()
        if not one.disabled
    }


def channel_of(settings: Settings, name: str) -> Channel:
    """Return the way to the receiver of a notification, be it switched off or not.

    Raises:
        UsageError: there is no such notification.
        SettingsError: as in `channels_of`.
    """
    one = settings.notification.get(name)
    if one is None:
        known = ", ".join(settings.notification)
        raise UsageError(
            f"there is no notification {name!r}",
            hint=f"one of {known}" if known else f"write a section [notification.{name}]",
        )
    one = one.model_copy(update={"disabled": False})
    alone = settings.model_copy(update={"notification": {name: one}})
    return channels_of(alone, None)[name]


def _channel(
    name: str, one: NotificationSettings, directory: Path, secrets: Mapping[Path, str]
) -> Channel:
    of = f"the notification {name!r}"
    files = [one.secret_file]
    if one.previous_secret_file is not None:
        files.append(one.previous_secret_file)
    keys = tuple(key_of(file, secrets, of) for file in files)
    return Channel(name, one, poster_of(one, directory, secrets, of), keys)
