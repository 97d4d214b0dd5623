"""Challenges that were made under an Idempotency-Key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "mintings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("key_mac", sa.LargeBinary(32), nullable=False),
        sa.Column("asked", sa.LargeBinary(32), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mintings")),
        sa.UniqueConstraint("token", "key_mac", name=op.f("uq_mintings_token_key_mac")),
    )
    op.create_index(op.f("ix_mintings_created_at"), "mintings", ["created_at"])
