"""The certificates, and what is kept beside them."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.tables.metadata import certificate_named_by, metadata, where

certificates = Table(
    "certificates",
    metadata,
    Column("serial", SerialNumber, nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("not_before", UTCDateTime, nullable=False),
    Column("not_after", UTCDateTime, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("issued_at", UTCDateTime, nullable=False),
    Column("revoked_at", UTCDateTime),
    Column("revocation_reason", Integer),
    # SHA-256 of the issuing CA's SubjectPublicKeyInfo; empty only from before there were several.
    Column("issuer", LargeBinary(32), nullable=False),
    Column("renews", SerialNumber),
    Column("revoked_by", Text),
    Column("invalidity_date", UTCDateTime),
    # The subject alternative names, one a line, to search in. One text and no index: a row of an
    # index for each name would cost each issuance more than a search is worth.
    Column("names", Text, nullable=False, server_default=text("''")),
    Column("renews_issuer", LargeBinary(32)),
    # When the first certificate of its renewal chain was issued, which may be purged by now; NULL
    # where that is this one.
    Column("chain_began", UTCDateTime),
    # What equal subjects have in common (`Name.digest`); NULL where there is no subject.
    Column("subject_digest", LargeBinary(32)),
    # Each CA counts for itself. The serial comes first: an operator names a certificate by that.
    PrimaryKeyConstraint("serial", "issuer"),
    certificate_named_by("renews", "renews_issuer"),
    # The two ways to list: everything, or one endpoint; newest first, the serial breaks ties.
    Index(None, "issued_at", "serial"),
    Index(None, "endpoint", "issued_at", "serial"),
    # The certificates of a key: one that has leaked is to be found at once.
    Index(None, "public_key"),
    # Those of a subject.
    Index(None, "subject_digest", **where("subject_digest IS NOT NULL")),
    # What a CRL is made of.
    Index(None, "issuer", "serial", **where("revoked_at IS NOT NULL")),
    # For the purge; and to delete a row, whatever could refer to it has to be found.
    Index(None, "not_after"),
    Index(None, "renews", **where("renews IS NOT NULL")),
)

# Apart from the certificates, which are listed: these are secrets, though encrypted.
passphrases = Table(
    "passphrases",
    metadata,
    Column("serial", SerialNumber, nullable=False),
    Column("hidden", LargeBinary, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("serial", "issuer"),
    certificate_named_by("serial", "issuer"),
)

# Calls to renew early, for what was issued before them: one row, however many certificates.
early_renewals = Table(
    "early_renewals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("called_at", UTCDateTime, nullable=False),
    Column("until", UTCDateTime, nullable=False),
    # Of one CA, or of one subject; NULL: of all.
    Column("issuer", LargeBinary(32)),
    Column("subject_digest", LargeBinary(32)),
    Column("subject", Text),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # A page that says why, for people.
    Column("explanation", Text, nullable=False),
)
