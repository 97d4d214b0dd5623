"""The time at which a certificate's renewal chain began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add a column; a chain of before begins with the certificate that is renewed next."""
    op.add_column("certificates", sa.Column("chain_began", sa.DateTime(timezone=True)))
