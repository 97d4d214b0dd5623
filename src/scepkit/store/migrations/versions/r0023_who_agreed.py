"""The service that agreed to a request: the yes of another one does not count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add a column; of what was said before nobody knows who did, so that it is asked again."""
    op.add_column("assents", sa.Column("service", sa.LargeBinary(32)))
