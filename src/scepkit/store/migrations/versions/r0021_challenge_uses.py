"""Challenges that are good for several certificates, and the ways by which they are asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_IS_OPEN = sa.text("spent_at IS NULL AND voided_at IS NULL")


def upgrade() -> None:
    """Add the columns and the table; each challenge so far is good for one certificate."""
    one, none, door = sa.text("1"), sa.text("0"), sa.text("'command-line'")
    op.add_column("challenges", sa.Column("uses", sa.Integer, nullable=False, server_default=one))
    op.add_column("challenges", sa.Column("used", sa.Integer, nullable=False, server_default=none))
    op.add_column(
        "challenges", sa.Column("door", sa.String(16), nullable=False, server_default=door)
    )
    op.execute("UPDATE challenges SET used = 1 WHERE spent_at IS NOT NULL")
    op.create_index(
        op.f("ix_challenges_pending"),
        "challenges",
        ["endpoint", "door", "expires_at"],
        sqlite_where=_IS_OPEN,
        postgresql_where=_IS_OPEN,
    )
    op.create_table(
        "challenge_uses",
        sa.Column("challenge_id", sa.Integer, nullable=False),
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("issuer", sa.LargeBinary(32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("challenge_id", "serial", "issuer", name=op.f("pk_challenge_uses")),
        sa.ForeignKeyConstraint(
            ["challenge_id"], ["challenges.id"], name=op.f("fk_challenge_uses_challenge_id")
        ),
        sa.ForeignKeyConstraint(
            ["serial", "issuer"],
            ["certificates.serial", "certificates.issuer"],
            name=op.f("fk_challenge_uses_serial_issuer"),
            onupdate="CASCADE",
        ),
    )
    op.create_index(op.f("ix_challenge_uses_serial"), "challenge_uses", ["serial"])
