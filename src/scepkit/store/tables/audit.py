"""The audit records, and the ends of their chains."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
)

from scepkit.store.tables.metadata import metadata, where

# What was done, in a chain of hashes for each process slot; see `audit`. A row is never changed.
# Every value is kept in the form that is hashed; there is no list of actions here, because SQLite
# would copy the table for each new one.
audit = Table(
    "audit",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(27), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("endpoint", String(64)),
    Column("serial", String(40)),
    Column("transaction_id", Text),
    Column("subject", Text),
    Column("challenge", BigInteger),
    Column("reason", Text),
    Column("details", Text),
    # The ends of other chains, as this record's transaction saw them.
    Column("heads", Text),
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    # Newest first. Nothing else, such as the serial number: each enrolment would pay for it, and
    # who looks for one certificate can wait until all records are read.
    Index(None, "at", "node", "number"),
    Index("ix_audit_joins", "node", "number", **where("heads IS NOT NULL")),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("at", String(27), nullable=False),
    # The record that last carried the heads of the other chains.
    Column("joined_number", BigInteger, nullable=False),
    Column("joined_at", String(27), nullable=False),
)
