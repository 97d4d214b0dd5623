"""Answers of services: what a profile makes of a certificate, and how long that is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add a column; no assent of before has an answer."""
    op.add_column("assents", sa.Column("answer", sa.JSON(none_as_null=True)))
