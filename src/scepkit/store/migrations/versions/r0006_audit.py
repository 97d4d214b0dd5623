"""The audit record, a chain of hashes for each process slot, and the ends of these chains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

DIGEST = sa.LargeBinary(32)
NODE = sa.String(64)
TIME = sa.String(27)


def upgrade() -> None:
    """Create both tables; nothing is recorded of what was done before."""
    op.create_table(
        "audit",
        sa.Column("node", NODE, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.String(64)),
        sa.Column("serial", sa.String(40)),
        sa.Column("transaction_id", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("challenge", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("details", sa.Text),
        sa.Column("heads", sa.Text),
        sa.Column("previous", DIGEST, nullable=False),
        sa.Column("hash", DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("node", "number", name=op.f("pk_audit")),
    )
    _index("ix_audit_at_node_number", "at", "node", "number")
    _index("ix_audit_joins", "node", "number", where="heads IS NOT NULL")
    op.create_table(
        "audit_heads",
        sa.Column("node", NODE, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", DIGEST, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("joined_number", sa.BigInteger, nullable=False),
        sa.Column("joined_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_audit_heads")),
    )


def _index(name: str, *columns: str, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        op.f(name), "audit", [*columns], sqlite_where=condition, postgresql_where=condition
    )
