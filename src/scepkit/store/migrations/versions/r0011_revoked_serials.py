"""What a CA revoked elsewhere, by its serial numbers: the certificates are not at hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "revoked_serials",
        sa.Column("issuer", sa.LargeBinary(32), nullable=False),
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("revoked_at", TIME, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("invalidity_date", TIME),
        sa.Column("not_after", TIME),
        sa.PrimaryKeyConstraint("issuer", "serial", name=op.f("pk_revoked_serials")),
    )
    has_end = sa.text("not_after IS NOT NULL")
    op.create_index(
        op.f("ix_revoked_serials_not_after"),
        "revoked_serials",
        ["not_after"],
        sqlite_where=has_end,
        postgresql_where=has_end,
    )
