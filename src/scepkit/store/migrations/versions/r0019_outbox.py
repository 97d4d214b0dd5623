"""Events that wait to be told, and leases of what one process at a time does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("delivery", sa.String(36), nullable=False),
        sa.Column("notification", sa.String(32), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.String(64)),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("tried_at", TIME),
        sa.Column("error", sa.Text),
        sa.Column("dead_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("delivery", name=op.f("uq_outbox_delivery")),
    )
    for name, state in (("waiting", "dead_at IS NULL"), ("dead", "dead_at IS NOT NULL")):
        op.create_index(
            f"ix_outbox_{name}",
            "outbox",
            ["notification", "id"],
            sqlite_where=sa.text(state),
            postgresql_where=sa.text(state),
        )
    op.create_table(
        "outbox_marks",
        sa.Column("notification", sa.String(32), nullable=False),
        sa.Column("mark", sa.String(128), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("notification", "mark", name=op.f("pk_outbox_marks")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(36), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
