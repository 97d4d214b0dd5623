"""The words of services outside, and what they have still to be told."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.metadata import metadata, where

# What services outside said yes to (see `assents`).
assents = Table(
    "assents",
    metadata,
    Column("endpoint", String(64), primary_key=True),
    Column("transaction_id", LargeBinary(255), primary_key=True),
    Column("signer_key", LargeBinary(32), primary_key=True),
    Column("csr_digest", LargeBinary(32), primary_key=True),
    Column("said_at", UTCDateTime, nullable=False),
    # What the service added to its yes; none for nothing.
    Column("answer", JSON(none_as_null=True)),
    # SHA-256 of what tells the service from others; NULL where an older scepkit asked it.
    Column("service", LargeBinary(32)),
    Index(None, "said_at"),
)

# Requests that Intune has validated, with what it has still to be told of them.
intune_requests = Table(
    "intune_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False),
    Column("transaction_id", LargeBinary(255), nullable=False),
    Column("csr_digest", LargeBinary(32), nullable=False),
    Column("registration", String(32), nullable=False),
    # As received, encrypted: the challenge is in it.
    Column("csr", LargeBinary, nullable=False),
    Column("validated_at", UTCDateTime, nullable=False),
    # The notification that waits, or that was sent; NULL for none.
    Column("notice", String(8)),
    Column("code", String(64)),
    Column("description", Text),
    Column("certificate", LargeBinary),
    Column("due_at", UTCDateTime),
    Column("told_at", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("endpoint", "transaction_id", "csr_digest"),
    CheckConstraint("notice IN ('success', 'failure')", name="notice"),
    Index("ix_intune_requests_due", "due_at", **where("notice IS NOT NULL AND told_at IS NULL")),
    Index(None, "validated_at"),
)
