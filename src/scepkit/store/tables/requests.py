"""The transactions and their requests."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.tables.metadata import certificate_named_by, metadata, where

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
    Column("serial", SerialNumber),
    Column("created_at", UTCDateTime, nullable=False),
    Column("decided_at", UTCDateTime),
    Column("subject", Text),
    # The CA that is asked for the certificate, or that has issued it.
    Column("issuer", LargeBinary(32)),
    Column("csr_digest", LargeBinary(32)),
    # The challenge that a waiting request came with; it is spent when the request is approved.
    Column("challenge_id", Integer, ForeignKey("challenges.id")),
    Column("renews", SerialNumber),
    Column("reply_secret", LargeBinary),
    Column("expires_at", UTCDateTime),
    Column("decided_by", Text),
    # What may revoke the certificate one day, encrypted, until there is a certificate to keep it.
    Column("passphrase", LargeBinary),
    # What the sender's address is counted under; NULL where nobody knows it.
    Column("peer", Text),
    # The endpoint whose queue a waiting request came into: the transaction's, once more, so that
    # an index alone says how many wait.
    Column("queue", String(64)),
    # Whom a waiting request waits for; NULL: an operator.
    Column("waits_for", String(16)),
    # The id of the delivery, by which a service knows it that has to agree to it; NULL: none has.
    Column("delivery", String(36)),
    # Why an operator approved it; `reason` is what a device is told.
    Column("approval_reason", Text),
    Column("renews_issuer", LargeBinary(32)),
    # Which rules have cut something of it, as its device is told; NULL for none.
    Column("notice", Text),
    certificate_named_by("serial", "issuer"),
    certificate_named_by("renews", "renews_issuer"),
    UniqueConstraint("transaction_row", "fingerprint"),
    CheckConstraint("status IN ('issued', 'pending', 'rejected', 'expired')", name="status"),
    CheckConstraint("(status = 'issued') = (serial IS NOT NULL)", name="issued"),
    CheckConstraint("serial IS NULL OR issuer IS NOT NULL", name="issuer"),
    Index("ix_requests_delivery", "delivery", unique=True, **where("delivery IS NOT NULL")),
    Index("ix_requests_signed", "created_at", **where("waits_for = 'teller'")),
    Index("ix_requests_pending", "id", **where("status = 'pending'")),
    Index("ix_requests_queue", "queue", "peer", "expires_at", **where("status = 'pending'")),
    Index(None, "decided_at", **where("decided_at IS NOT NULL")),
    Index(None, "serial", **where("serial IS NOT NULL")),
    Index(None, "challenge_id", **where("challenge_id IS NOT NULL")),
    Index(None, "renews", **where("renews IS NOT NULL")),
)

# With the status written out: SQLite uses a partial index only where it can see the condition.
IS_PENDING = requests.c.status == literal_column("'pending'")

# Its certificate is signed, and not delivered: the one reader of the status `issued` that has to
# look is `requests.records`, where such a request is `signed`.
IS_SIGNED = requests.c.waits_for == literal_column("'teller'")
