"""Labels of challenges, the record of voiding, and indexes to list a million of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns, then indexes; no challenge of before has a label or is void."""
    op.add_column("challenges", sa.Column("label", sa.Text))
    op.add_column("challenges", sa.Column("voided_at", TIME))
    op.add_column("challenges", sa.Column("voided_by", sa.Text))
    _index("ix_challenges_endpoint_id", "endpoint")
    _index("ix_challenges_label_id", "label", where="label IS NOT NULL")
    _index("ix_challenges_open", "endpoint", where="spent_at IS NULL AND voided_at IS NULL")


def _index(name: str, column: str, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        op.f(name),
        "challenges",
        [column, "id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
