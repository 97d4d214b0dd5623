"""What services outside said yes to, and the requests that wait for a CA outside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    """Create the table and add the column; what waited before waits for an operator."""
    op.create_table(
        "assents",
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("transaction_id", sa.LargeBinary(255), nullable=False),
        sa.Column("signer_key", DIGEST, nullable=False),
        sa.Column("csr_digest", DIGEST, nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "endpoint", "transaction_id", "signer_key", "csr_digest", name=op.f("pk_assents")
        ),
    )
    op.create_index(op.f("ix_assents_said_at"), "assents", ["said_at"])
    op.add_column("requests", sa.Column("waits_for", sa.String(16)))
