"""The devices that an endpoint knows; what a row has of key, serial number, MAC and name is one."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.metadata import metadata, where

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False),
    # SHA-256 of the canonical SubjectPublicKeyInfo.
    Column("key", LargeBinary(32)),
    # These three as requests are compared with them: lower case; a MAC address without separators.
    Column("serial_number", Text),
    Column("mac", String(12)),
    Column("hostname", Text),
    Column("label", Text),
    # Of the four, so that the same device is there once.
    Column("digest", LargeBinary(32), nullable=False),
    Column("added_at", UTCDateTime, nullable=False),
    Column("added_by", Text, nullable=False),
    UniqueConstraint("endpoint", "digest"),
    Index(None, "endpoint", "key", **where("key IS NOT NULL")),
    Index(None, "endpoint", "serial_number", **where("serial_number IS NOT NULL")),
    Index(None, "endpoint", "mac", **where("mac IS NOT NULL")),
    Index(None, "endpoint", "hostname", **where("hostname IS NOT NULL")),
    Index(None, "endpoint", "id"),
)
