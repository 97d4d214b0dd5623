"""The record of each revocation, the invalidity date of a key, and revocation passphrases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)
SERIAL = sa.String(40)


def upgrade() -> None:
    """Add columns and tables, and begin the record with what is revoked by now."""
    op.add_column("certificates", sa.Column("invalidity_date", TIME))
    op.add_column("requests", sa.Column("passphrase", sa.LargeBinary))
    _revocations()
    op.create_table(
        "passphrases",
        sa.Column("serial", SERIAL, nullable=False),
        sa.Column("hidden", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificates.serial"], name=op.f("fk_passphrases_serial")
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_passphrases")),
    )


def _revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("serial", SERIAL, nullable=False),
        sa.Column("action", sa.String(8), nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("invalidity_date", TIME),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint(
            "action IN ('revoke', 'hold', 'release')", name=op.f("ck_revocations_action")
        ),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificates.serial"], name=op.f("fk_revocations_serial")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocations")),
    )
    op.create_index(op.f("ix_revocations_serial"), "revocations", ["serial"])
    op.execute(
        'INSERT INTO revocations (serial, action, reason, "by", note, "at")'
        " SELECT serial, CASE revocation_reason WHEN 6 THEN 'hold' ELSE 'revoke' END,"
        " COALESCE(revocation_reason, 0), COALESCE(revoked_by, ''), '', revoked_at"
        " FROM certificates WHERE revoked_at IS NOT NULL"
    )
