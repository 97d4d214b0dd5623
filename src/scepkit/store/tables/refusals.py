"""Requests that were refused: rings of rows, one of which may stand for many."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.tables.metadata import metadata, where

refusals = Table(
    "refusals",
    metadata,
    Column("id", Integer, primary_key=True),
    # What equal ones have in common (`Refusal.digest`).
    Column("digest", LargeBinary(32), nullable=False),
    Column("endpoint", String(64), nullable=False),
    # Which ring it is in: of those who had shown a right to a certificate, or of strangers.
    Column("is_entitled", Boolean, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("message_type", String(16), nullable=False),
    Column("first_at", UTCDateTime, nullable=False),
    Column("last_at", UTCDateTime, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("fail_info", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rule", Text),
    Column("attribute", Text),
    Column("length", Integer),
    Column("subject", Text, nullable=False),
    Column("key", LargeBinary(32)),
    # No foreign keys: a refusal may outlive what it names.
    Column("serial", SerialNumber),
    Column("challenge", BigInteger),
    Column("peer", Text),
    UniqueConstraint("digest"),
    Index(None, "endpoint", "is_entitled", "last_at", "id"),
    Index(None, "transaction_id"),
    Index(None, "serial", **where("serial IS NOT NULL")),
)
