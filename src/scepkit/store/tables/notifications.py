"""The outbox, and how far each notification has come."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.metadata import metadata, where

# Events that wait to be told (`outbox`), and those that could not be.
outbox = Table(
    "outbox",
    metadata,
    # The order in which they came, about: nobody waits for another transaction's number.
    Column("id", Integer, primary_key=True),
    # By which the receiver knows it, in every attempt.
    Column("delivery", String(36), nullable=False),
    Column("notification", String(32), nullable=False),
    Column("event", String(32), nullable=False),
    Column("endpoint", String(64)),
    Column("body", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    # Since when it is tried: an operator can have it tried anew.
    Column("since", UTCDateTime, nullable=False),
    Column("due_at", UTCDateTime, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("tried_at", UTCDateTime),
    Column("error", Text),
    # When it was given up; NULL while it waits.
    Column("dead_at", UTCDateTime),
    UniqueConstraint("delivery"),
    Index("ix_outbox_waiting", "notification", "id", **where("dead_at IS NULL")),
    Index("ix_outbox_dead", "notification", "id", **where("dead_at IS NOT NULL")),
)

# How far a notification has come: up to when it has told of ends, what it told of once.
outbox_marks = Table(
    "outbox_marks",
    metadata,
    Column("notification", String(32), nullable=False),
    Column("mark", String(128), nullable=False),
    Column("at", UTCDateTime, nullable=False),
    # Events that were dropped, and how many of them it has told of.
    Column("lost", Integer, nullable=False),
    Column("told", Integer, nullable=False),
    PrimaryKeyConstraint("notification", "mark"),
)
