"""The address of each request, and an index that counts those that wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

WAITS = sa.text("status = 'pending'")


def upgrade() -> None:
    """Add the columns, and put what waits by now into the queue of its endpoint."""
    op.add_column("requests", sa.Column("peer", sa.Text))
    op.add_column("requests", sa.Column("queue", sa.String(64)))
    op.execute(
        "UPDATE requests SET queue = (SELECT transactions.endpoint FROM transactions"
        " WHERE transactions.id = requests.transaction_row) WHERE status = 'pending'"
    )
    op.create_index(
        op.f("ix_requests_queue"),
        "requests",
        ["queue", "peer", "expires_at"],
        sqlite_where=WAITS,
        postgresql_where=WAITS,
    )
