"""Data of challenges: what a profile makes of a certificate beside its request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add a column; no challenge of before has data."""
    op.add_column("challenges", sa.Column("data", sa.JSON(none_as_null=True)))
