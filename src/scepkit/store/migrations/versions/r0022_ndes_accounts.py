"""Accounts of the NDES page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "ndes_accounts",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("endpoints", sa.JSON, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ndes_accounts")),
    )
