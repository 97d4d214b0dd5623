"""The rules that have cut something of a request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add the column."""
    op.add_column("requests", sa.Column("notice", sa.Text))
