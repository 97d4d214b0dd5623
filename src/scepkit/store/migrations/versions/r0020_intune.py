"""Requests that Intune has validated, and what it has still to be told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

TIME = sa.DateTime(timezone=True)
DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "intune_requests",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("transaction_id", sa.LargeBinary(255), nullable=False),
        sa.Column("csr_digest", DIGEST, nullable=False),
        sa.Column("registration", sa.String(32), nullable=False),
        sa.Column("csr", sa.LargeBinary, nullable=False),
        sa.Column("validated_at", TIME, nullable=False),
        sa.Column("notice", sa.String(8)),
        sa.Column("code", sa.String(64)),
        sa.Column("description", sa.Text),
        sa.Column("certificate", sa.LargeBinary),
        sa.Column("due_at", TIME),
        sa.Column("told_at", TIME),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intune_requests")),
        sa.UniqueConstraint(
            "endpoint",
            "transaction_id",
            "csr_digest",
            name=op.f("uq_intune_requests_endpoint_transaction_id_csr_digest"),
        ),
        sa.CheckConstraint(
            "notice IN ('success', 'failure')", name=op.f("ck_intune_requests_notice")
        ),
    )
    op.create_index(
        op.f("ix_intune_requests_due"),
        "intune_requests",
        ["due_at"],
        sqlite_where=sa.text("notice IS NOT NULL AND told_at IS NULL"),
        postgresql_where=sa.text("notice IS NOT NULL AND told_at IS NULL"),
    )
    op.create_index(op.f("ix_intune_requests_validated_at"), "intune_requests", ["validated_at"])
