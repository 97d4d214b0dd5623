"""Revocations at a time to come, and calls to renew early."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "planned_revocations",
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("issuer", sa.LargeBinary(32), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("planned_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("serial", "issuer", name=op.f("pk_planned_revocations")),
        sa.ForeignKeyConstraint(
            ["serial", "issuer"],
            ["certificates.serial", "certificates.issuer"],
            name=op.f("fk_planned_revocations_serial_issuer"),
            onupdate="CASCADE",
        ),
    )
    op.create_index(
        op.f("ix_planned_revocations_due_at_serial_issuer"),
        "planned_revocations",
        ["due_at", "serial", "issuer"],
    )
    op.create_table(
        "early_renewals",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("called_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("issuer", sa.LargeBinary(32)),
        sa.Column("subject_digest", sa.LargeBinary(32)),
        sa.Column("subject", sa.Text),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_early_renewals")),
    )
