"""Requests whose certificate is signed and not delivered: a service has to agree first.

The column `status` keeps its values, because SQLite would copy the table for one more: such a
request is `issued` and waits for a `teller`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column and its indexes; all that is issued was delivered."""
    op.add_column("requests", sa.Column("delivery", sa.String(36)))
    _index("ix_requests_delivery", "delivery", where="delivery IS NOT NULL", unique=True)
    _index("ix_requests_signed", "created_at", where="waits_for = 'teller'")


def _index(name: str, column: str, *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        op.f(name),
        "requests",
        [column],
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
