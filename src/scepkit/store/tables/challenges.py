"""The one-time challenges, what they were used for, and who may ask for some."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    text,
)

from scepkit.store.column_types import SerialNumber, Texts, UTCDateTime
from scepkit.store.tables.metadata import certificate_named_by, metadata, where

challenges = Table(
    "challenges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("endpoint", String(64), nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
    Column("subject", Text),
    Column("sans", Texts, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("spent_at", UTCDateTime),
    # A foreign key, so that no challenge can be spent without its certificate.
    Column("spent_serial", SerialNumber),
    Column("label", Text),
    # When and by whom an operator took it back; one that is spent stays spent.
    Column("voided_at", UTCDateTime),
    Column("voided_by", Text),
    Column("void_reason", Text),
    Column("spent_issuer", LargeBinary(32)),
    # What the certificate is made of beside its request: texts by name.
    Column("data", JSON(none_as_null=True)),
    # The number of certificates that it is good for, and of those that it was used for. It is spent
    # with the last one; where there may be several, `challenge_uses` has all.
    Column("uses", Integer, nullable=False, server_default=text("1")),
    Column("used", Integer, nullable=False, server_default=text("0")),
    # The way by which it was asked for (`Door`).
    Column("door", String(16), nullable=False, server_default=text("'command-line'")),
    certificate_named_by("spent_serial", "spent_issuer"),
    UniqueConstraint("endpoint", "mac"),
    CheckConstraint("(spent_at IS NULL) = (spent_serial IS NULL)", name="spent"),
    CheckConstraint("(spent_serial IS NULL) = (spent_issuer IS NULL)", name="spent_issuer"),
    Index(None, "expires_at"),
    Index(None, "spent_serial", **where("spent_serial IS NOT NULL")),
    # The ways to list them, newest first: of an endpoint, with a label, those still to be spent.
    Index(None, "endpoint", "id"),
    Index(None, "label", "id", **where("label IS NOT NULL")),
    Index(
        "ix_challenges_open", "endpoint", "id", **where("spent_at IS NULL AND voided_at IS NULL")
    ),
    # Those that count against a bound.
    Index(
        "ix_challenges_pending",
        *("endpoint", "door", "expires_at"),
        **where("spent_at IS NULL AND voided_at IS NULL"),
    ),
)

# Neither spent nor void; it may have expired. As the condition of the index has it.
IS_OPEN = and_(challenges.c.spent_at.is_(None), challenges.c.voided_at.is_(None))

# The certificates of challenges that are good for several.
challenge_uses = Table(
    "challenge_uses",
    metadata,
    Column("challenge_id", Integer, ForeignKey("challenges.id"), nullable=False),
    Column("serial", SerialNumber, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    Column("used_at", UTCDateTime, nullable=False),
    PrimaryKeyConstraint("challenge_id", "serial", "issuer"),
    certificate_named_by("serial", "issuer"),
    Index(None, "serial"),
)

# Challenges that were made under an Idempotency-Key: what the same key is answered with again. Of
# the key there is a keyed digest, and of the secrets what they are derived with beside the token.
mintings = Table(
    "mintings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token", Integer, nullable=False),
    Column("key_mac", LargeBinary(32), nullable=False),
    # SHA-256 of what was asked for.
    Column("asked", LargeBinary(32), nullable=False),
    Column("salt", LargeBinary(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    UniqueConstraint("token", "key_mac"),
    Index(None, "created_at"),
)

# Who may ask for challenges as NDES hands them out.
ndes_accounts = Table(
    "ndes_accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("endpoints", Texts, nullable=False),
    # The password as Argon2id hashes it, in PHC's form.
    Column("password", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
)
