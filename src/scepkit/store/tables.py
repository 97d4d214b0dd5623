"""The tables as they are now, in types that SQLite and PostgreSQL share.

A change here needs a new file in migrations/versions/ and `schema.HEAD` set to it; a test compares
the two. Every constraint has a name, because only named ones can be altered later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, always UTC.

    SQLite keeps text without a zone, so UTC is written and UTC is put back; the text then sorts
    as the times do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive time would silently mean local time, so it raises ValueError."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give SQLite's naive UTC its zone back; PostgreSQL answers in the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SerialNumber(TypeDecorator[int]):
    """A certificate's serial number as lower-case hex: 159 bits are too long for SQL integers."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> str | None:
        """Write hex without leading zeros, as operators see it."""
        return None if value is None else f"{value:x}"

    def process_result_value(self, value: str | None, _dialect: Dialect) -> int | None:
        """Read the hex back."""
        return None if value is None else int(value, 16)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", SerialNumber, primary_key=True, autoincrement=False),
    Column("endpoint", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("not_before", UTCDateTime, nullable=False),
    Column("not_after", UTCDateTime, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("issued_at", UTCDateTime, nullable=False),
    Column("revoked_at", UTCDateTime),
    Column("revocation_reason", Integer),
    # The two ways to list: everything, or one endpoint; newest first, the serial breaks ties.
    Index(None, "issued_at", "serial"),
    Index(None, "endpoint", "issued_at", "serial"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
    Column("subject", Text),
    Column("sans", JSON, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("spent_at", UTCDateTime),
    # A foreign key, so that no challenge can be spent without its certificate.
    Column("spent_serial", SerialNumber, ForeignKey("certificates.serial")),
    UniqueConstraint("endpoint", "mac"),
    CheckConstraint("(spent_at IS NULL) = (spent_serial IS NULL)", name="spent"),
)

# A transactionID belongs to the key that used it first (P-46).
transactions = Table(
    "transactions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False),
    Column("transaction_id", LargeBinary(255), nullable=False),
    Column("signer_key", LargeBinary(32), nullable=False),
    UniqueConstraint("endpoint", "transaction_id"),
)

# One transactionID may carry several requests: a renewal with the old key derives the same one
# as the first enrolment (P-45).
requests = Table(
    "requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_row", Integer, ForeignKey("transactions.id"), nullable=False),
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("message_type", Integer, nullable=False),
    Column("csr", LargeBinary, nullable=False),
    Column("status", String(16), nullable=False),
    Column("fail_info", Integer),
    Column("reason", Text),
    Column("serial", SerialNumber, ForeignKey("certificates.serial")),
    Column("created_at", UTCDateTime, nullable=False),
    Column("decided_at", UTCDateTime),
    UniqueConstraint("transaction_row", "fingerprint"),
    CheckConstraint("status IN ('issued', 'pending', 'rejected', 'expired')", name="status"),
    CheckConstraint("(status = 'issued') = (serial IS NOT NULL)", name="issued"),
)
