"""`[notification.NAME]` of scep.toml: who is told of what."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field, field_validator

from scepkit.server.settings.service import ServiceSettings
from scepkit.store import EventType, Subscription

# What somebody can choose; the others are told to whoever is told of anything.
CHOICE = tuple(one for one in EventType if one not in (EventType.LOST, EventType.TEST))

_Days: TypeAlias = Annotated[int, Field(ge=1, le=3650)]
_SomeDays: TypeAlias = Annotated[tuple[_Days, ...], Field(min_length=1, max_length=8)]


class NotificationSettings(ServiceSettings):
    """`[notification.NAME]`.

    Attributes:
        events: the kinds of events that are told.
        endpoints: the endpoints whose events are told; empty for all.
        expiring_days: how many days before its end a certificate is told of, once for each.
        ca_expiring_days: the same for the certificates of CAs and RAs, and the secrets for Intune.
        previous_secret_file: the key of the signatures before this one, while it is exchanged.
        give_up_hours: for how long a delivery is tried.
        keep_days: for how long it is kept when it was given up.
        most: deliveries that are kept at once.
        disabled: whether nothing is written and nothing sent.
    """

    events: Annotated[tuple[EventType, ...], Field(min_length=1)] = CHOICE
    endpoints: tuple[str, ...] = ()
    expiring_days: _SomeDays = (30,)
    ca_expiring_days: _SomeDays = (90, 30, 7)
    previous_secret_file: Path | None = None
    give_up_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 72
    keep_days: Annotated[int, Field(ge=1, le=365)] = 30
    most: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    disabled: bool = False

    @field_validator("expiring_days", "ca_expiring_days", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("events")
    @classmethod
    def _can_be_chosen(cls, value: tuple[EventType, ...]) -> tuple[EventType, ...]:
        if not set(value) <= set(CHOICE):
            raise ValueError(f"it is a list of {', '.join(CHOICE)}")
        return value

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """Return the files with what only this server and the receiver know."""
        previous = () if self.previous_secret_file is None else (self.previous_secret_file,)
        return (*super().secret_files, *previous)

    def subscription(self, name: str) -> Subscription:
        """Return the events that are told.

        Args:
            name: of the notification.
        """
        endpoints = frozenset(self.endpoints) if self.endpoints else None
        return Subscription(name, frozenset(self.events), endpoints)

    @property
    def give_up(self) -> timedelta:
        """Return for how long a delivery is tried."""
        return timedelta(hours=self.give_up_hours)

    @property
    def keep(self) -> timedelta:
        """Return for how long a delivery is kept when it was given up."""
        return timedelta(days=self.keep_days)
