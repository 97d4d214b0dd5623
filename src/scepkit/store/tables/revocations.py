"""Revocations: done, planned and brought here; and the CRLs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.tables.metadata import certificate_named_by, metadata, where

# What was done, one after the other; how a certificate stands is in its own row. Nothing here is
# ever changed.
revocations = Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("serial", SerialNumber, nullable=False),
    Column("action", String(8), nullable=False),
    Column("reason", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("invalidity_date", UTCDateTime),
    Column("at", UTCDateTime, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    certificate_named_by("serial", "issuer"),
    CheckConstraint("action IN ('revoke', 'hold', 'release')", name="action"),
    Index(None, "serial"),
)

# What a CA revoked elsewhere, and whose certificate nobody has brought here (see `imports`). When
# it is brought, the revocation goes into the certificate's own row.
revoked_serials = Table(
    "revoked_serials",
    metadata,
    Column("issuer", LargeBinary(32), nullable=False),
    Column("serial", SerialNumber, nullable=False),
    Column("revoked_at", UTCDateTime, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("invalidity_date", UTCDateTime),
    # NULL where nobody said: a CRL does not.
    Column("not_after", UTCDateTime),
    PrimaryKeyConstraint("issuer", "serial"),
    Index(None, "not_after", **where("not_after IS NOT NULL")),
)

# Certificates that are revoked at a time to come, once their devices could renew them.
planned_revocations = Table(
    "planned_revocations",
    metadata,
    Column("serial", SerialNumber, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    Column("due_at", UTCDateTime, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("planned_at", UTCDateTime, nullable=False),
    PrimaryKeyConstraint("serial", "issuer"),
    certificate_named_by("serial", "issuer"),
    Index(None, "due_at", "serial", "issuer"),
)

# Certificates that another one takes the place of when its key signs, or at a time.
replacements = Table(
    "replacements",
    metadata,
    Column("serial", SerialNumber, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    Column("by_serial", SerialNumber, nullable=False),
    Column("by_issuer", LargeBinary(32), nullable=False),
    # NULL: not before its key signs.
    Column("due_at", UTCDateTime),
    PrimaryKeyConstraint("serial", "issuer", "by_serial", "by_issuer"),
    certificate_named_by("serial", "issuer"),
    certificate_named_by("by_serial", "by_issuer"),
    Index(None, "by_serial"),
    Index(None, "due_at", **where("due_at IS NOT NULL")),
)

# CRL numbers count up for ever (RFC 5280 section 5.2.3), so they are kept apart from the CRLs.
crl_numbers = Table(
    "crl_numbers",
    metadata,
    Column("issuer", LargeBinary(32), primary_key=True),
    Column("last", BigInteger, nullable=False),
    # The first number whose CRL knows every revocation so far: each one makes it last + 1.
    Column("needed", BigInteger, nullable=False),
)

crls = Table(
    "crls",
    metadata,
    Column("issuer", LargeBinary(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("this_update", UTCDateTime, nullable=False),
    Column("next_update", UTCDateTime, nullable=False),
)
