"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
SERIAL = sa.String(40)
DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    """Create certificates first: the others point to it."""
    _certificates()
    _challenges()
    _transactions()
    _requests()


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("serial", SERIAL, autoincrement=False, nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("not_after", TIME, nullable=False),
        sa.Column("public_key", DIGEST, nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME),
        sa.Column("revocation_reason", sa.Integer),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    op.create_index(
        op.f("ix_certificates_issued_at_serial"), "certificates", ["issued_at", "serial"]
    )
    op.create_index(
        op.f("ix_certificates_endpoint_issued_at_serial"),
        "certificates",
        ["endpoint", "issued_at", "serial"],
    )


def _challenges() -> None:
    op.create_table(
        "challenges",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("mac", DIGEST, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("sans", sa.JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("spent_at", TIME),
        sa.Column("spent_serial", SERIAL),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_challenges")),
        sa.ForeignKeyConstraint(
            ["spent_serial"], ["certificates.serial"], name=op.f("fk_challenges_spent_serial")
        ),
        sa.UniqueConstraint("endpoint", "mac", name=op.f("uq_challenges_endpoint_mac")),
        sa.CheckConstraint(
            "(spent_at IS NULL) = (spent_serial IS NULL)", name=op.f("ck_challenges_spent")
        ),
    )


def _transactions() -> None:
    op.create_table(
        "transactions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("transaction_id", sa.LargeBinary(255), nullable=False),
        sa.Column("signer_key", DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint(
            "endpoint", "transaction_id", name=op.f("uq_transactions_endpoint_transaction_id")
        ),
    )


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("transaction_row", sa.Integer, nullable=False),
        sa.Column("fingerprint", DIGEST, nullable=False),
        sa.Column("message_type", sa.Integer, nullable=False),
        sa.Column("csr", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("fail_info", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("serial", SERIAL),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("decided_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
        sa.ForeignKeyConstraint(
            ["transaction_row"], ["transactions.id"], name=op.f("fk_requests_transaction_row")
        ),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificates.serial"], name=op.f("fk_requests_serial")
        ),
        sa.UniqueConstraint(
            "transaction_row", "fingerprint", name=op.f("uq_requests_transaction_row_fingerprint")
        ),
        sa.CheckConstraint(
            "status IN ('issued', 'pending', 'rejected', 'expired')",
            name=op.f("ck_requests_status"),
        ),
        sa.CheckConstraint(
            "(status = 'issued') = (serial IS NOT NULL)", name=op.f("ck_requests_issued")
        ),
    )
