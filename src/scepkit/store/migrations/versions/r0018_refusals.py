"""Refused requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("is_entitled", sa.Boolean, nullable=False),
        sa.Column("transaction_id", sa.Text, nullable=False),
        sa.Column("message_type", sa.String(16), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("fail_info", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("attribute", sa.Text),
        sa.Column("length", sa.Integer),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary(32)),
        sa.Column("serial", sa.String(40)),
        sa.Column("challenge", sa.BigInteger),
        sa.Column("peer", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusals")),
        sa.UniqueConstraint("digest", name=op.f("uq_refusals_digest")),
    )
    op.create_index(
        op.f("ix_refusals_endpoint_is_entitled_last_at_id"),
        "refusals",
        ["endpoint", "is_entitled", "last_at", "id"],
    )
    op.create_index(op.f("ix_refusals_transaction_id"), "refusals", ["transaction_id"])
    op.create_index(
        op.f("ix_refusals_serial"),
        "refusals",
        ["serial"],
        sqlite_where=sa.text("serial IS NOT NULL"),
        postgresql_where=sa.text("serial IS NOT NULL"),
    )
