"""The tables as they are now, in types that SQLite and PostgreSQL share.

A change here needs a new file in migrations/versions/ and `schema.HEAD` set to it; a test compares
the two. Every constraint has a name, because only named ones can be altered later.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)

from scepkit.store.column_types import SerialNumber, Texts, UTCDateTime


def _where(condition: str) -> dict[str, Any]:
    """Make an index hold only some rows; the others then cost it nothing.

    For PostgreSQL that is said by `complete_for`: here it would have SQLAlchemy load what it knows
    of PostgreSQL, which is 2 MiB in each server that has SQLite.
    """
    return {"sqlite_where": text(condition)}


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _certificate_named_by(serial: str, issuer: str) -> ForeignKeyConstraint:
    """Make two columns name a certificate; they follow when its CA is told (`assign_issuer`)."""
    columns = ["certificates.serial", "certificates.issuer"]
    return ForeignKeyConstraint([serial, issuer], columns, onupdate="CASCADE")


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
    _certificate_named_by("renews", "renews_issuer"),
    # The two ways to list: everything, or one endpoint; newest first, the serial breaks ties.
    Index(None, "issued_at", "serial"),
    Index(None, "endpoint", "issued_at", "serial"),
    # The certificates of a key: one that has leaked is to be found at once.
    Index(None, "public_key"),
    # Those of a subject.
    Index(None, "subject_digest", **_where("subject_digest IS NOT NULL")),
    # What a CRL is made of.
    Index(None, "issuer", "serial", **_where("revoked_at IS NOT NULL")),
    # For the purge; and to delete a row, whatever could refer to it has to be found.
    Index(None, "not_after"),
    Index(None, "renews", **_where("renews IS NOT NULL")),
)

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
    _certificate_named_by("spent_serial", "spent_issuer"),
    UniqueConstraint("endpoint", "mac"),
    CheckConstraint("(spent_at IS NULL) = (spent_serial IS NULL)", name="spent"),
    CheckConstraint("(spent_serial IS NULL) = (spent_issuer IS NULL)", name="spent_issuer"),
    Index(None, "expires_at"),
    Index(None, "spent_serial", **_where("spent_serial IS NOT NULL")),
    # The ways to list them, newest first: of an endpoint, with a label, those still to be spent.
    Index(None, "endpoint", "id"),
    Index(None, "label", "id", **_where("label IS NOT NULL")),
    Index(
        "ix_challenges_open", "endpoint", "id", **_where("spent_at IS NULL AND voided_at IS NULL")
    ),
    # Those that count against a bound.
    Index(
        "ix_challenges_pending",
        *("endpoint", "door", "expires_at"),
        **_where("spent_at IS NULL AND voided_at IS NULL"),
    ),
)

# Neither spent nor void; it may have expired. As the condition of the index has it.
IS_OPEN = and_(challenges.c.spent_at.is_(None), challenges.c.voided_at.is_(None))

# Who may use the API. Of a token's secret there is only the SHA-256: it has 256 random bits.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # The part that everybody may see, by which it is found.
    Column("prefix", String(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Texts, nullable=False),
    Column("endpoints", Texts, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("last_used_at", UTCDateTime),
    Column("voided_at", UTCDateTime),
    Column("voided_by", Text),
    Column("void_reason", Text),
    UniqueConstraint("prefix"),
)

# The certificates of challenges that are good for several.
challenge_uses = Table(
    "challenge_uses",
    metadata,
    Column("challenge_id", Integer, ForeignKey("challenges.id"), nullable=False),
    Column("serial", SerialNumber, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    Column("used_at", UTCDateTime, nullable=False),
    PrimaryKeyConstraint("challenge_id", "serial", "issuer"),
    _certificate_named_by("serial", "issuer"),
    Index(None, "serial"),
)

# The devices that an endpoint knows: each row has one or several of the four, which is one device.
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
    Index(None, "endpoint", "key", **_where("key IS NOT NULL")),
    Index(None, "endpoint", "serial_number", **_where("serial_number IS NOT NULL")),
    Index(None, "endpoint", "mac", **_where("mac IS NOT NULL")),
    Index(None, "endpoint", "hostname", **_where("hostname IS NOT NULL")),
    Index(None, "endpoint", "id"),
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
    _certificate_named_by("serial", "issuer"),
    _certificate_named_by("renews", "renews_issuer"),
    UniqueConstraint("transaction_row", "fingerprint"),
    CheckConstraint("status IN ('issued', 'pending', 'rejected', 'expired')", name="status"),
    CheckConstraint("(status = 'issued') = (serial IS NOT NULL)", name="issued"),
    CheckConstraint("serial IS NULL OR issuer IS NOT NULL", name="issuer"),
    Index("ix_requests_delivery", "delivery", unique=True, **_where("delivery IS NOT NULL")),
    Index("ix_requests_signed", "created_at", **_where("waits_for = 'teller'")),
    Index("ix_requests_pending", "id", **_where("status = 'pending'")),
    Index("ix_requests_queue", "queue", "peer", "expires_at", **_where("status = 'pending'")),
    Index(None, "decided_at", **_where("decided_at IS NOT NULL")),
    Index(None, "serial", **_where("serial IS NOT NULL")),
    Index(None, "challenge_id", **_where("challenge_id IS NOT NULL")),
    Index(None, "renews", **_where("renews IS NOT NULL")),
)

# With the status written out: SQLite uses a partial index only where it can see the condition.
IS_PENDING = requests.c.status == literal_column("'pending'")

# Its certificate is signed, and not delivered: the one reader of the status `issued` that has to
# look is `requests`, where such a request is `signed`.
IS_SIGNED = requests.c.waits_for == literal_column("'teller'")

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
    _certificate_named_by("serial", "issuer"),
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
    Index(None, "not_after", **_where("not_after IS NOT NULL")),
)

# Apart from the certificates, which are listed: these are secrets, though encrypted.
passphrases = Table(
    "passphrases",
    metadata,
    Column("serial", SerialNumber, nullable=False),
    Column("hidden", LargeBinary, nullable=False),
    Column("issuer", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("serial", "issuer"),
    _certificate_named_by("serial", "issuer"),
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
    _certificate_named_by("serial", "issuer"),
    _certificate_named_by("by_serial", "by_issuer"),
    Index(None, "by_serial"),
    Index(None, "due_at", **_where("due_at IS NOT NULL")),
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
    _certificate_named_by("serial", "issuer"),
    Index(None, "due_at", "serial", "issuer"),
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

# What services outside said yes to (see `verdicts`).
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

# Requests that were refused (see `refusals`): rings of rows, one of which may stand for many.
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
    Index(None, "serial", **_where("serial IS NOT NULL")),
)

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
    Index("ix_outbox_waiting", "notification", "id", **_where("dead_at IS NULL")),
    Index("ix_outbox_dead", "notification", "id", **_where("dead_at IS NOT NULL")),
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

# What one process at a time does, on whichever machine: who does it, and until when alone.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(36), nullable=False),
    Column("until", UTCDateTime, nullable=False),
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
    Index("ix_audit_joins", "node", "number", **_where("heads IS NOT NULL")),
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
    Index("ix_intune_requests_due", "due_at", **_where("notice IS NOT NULL AND told_at IS NULL")),
    Index(None, "validated_at"),
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


def complete_for(dialect: str) -> None:
    """Say for another dialect than SQLite's which rows the indexes hold."""
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[dialect]["where"] = index.dialect_options["sqlite"]["where"]
