"""Lists of devices: what entitles a device to certificates of an endpoint, or narrows that down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

COLUMNS = ("key", "serial_number", "mac", "hostname")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("key", sa.LargeBinary(32)),
        sa.Column("serial_number", sa.Text),
        sa.Column("mac", sa.String(12)),
        sa.Column("hostname", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("endpoint", "digest", name=op.f("uq_devices_endpoint_digest")),
    )
    for name in COLUMNS:
        condition = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            op.f(f"ix_devices_endpoint_{name}"),
            "devices",
            ["endpoint", name],
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.create_index(op.f("ix_devices_endpoint_id"), "devices", ["endpoint", "id"])
