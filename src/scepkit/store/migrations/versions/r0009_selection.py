"""What certificates are selected by: their names as text, their keys; and reasons of decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scepkit.protocol.certificate import listed_names

revision = "0009"
down_revision = "0008"

BATCH = 1000  # certificates in memory at once

certificates = sa.table(
    "certificates",
    sa.column("serial", sa.String),
    sa.column("issued_at", sa.DateTime(timezone=True)),
    sa.column("der", sa.LargeBinary),
    sa.column("names", sa.Text),
)
_KEY = (certificates.c.issued_at, certificates.c.serial)


def upgrade() -> None:
    """Add the columns and the index; the names are read from the certificates."""
    op.add_column(
        "certificates", sa.Column("names", sa.Text, nullable=False, server_default=sa.text("''"))
    )
    op.create_index(op.f("ix_certificates_public_key"), "certificates", ["public_key"])
    op.add_column("requests", sa.Column("approval_reason", sa.Text))
    op.add_column("challenges", sa.Column("void_reason", sa.Text))
    _fill()


def _fill() -> None:
    """Write the names, some certificates at a time, in the order in which they lie on the disk."""
    connection = op.get_bind()
    page = sa.select(*_KEY, certificates.c.der).order_by(*_KEY).limit(BATCH)
    write = (
        sa.update(certificates)
        .where(certificates.c.serial == sa.bindparam("its_serial"))
        .values(names=sa.bindparam("its_names"))
    )
    rows = connection.execute(page).all()
    while rows:
        named = [
            {"its_serial": serial, "its_names": names}
            for _, serial, der in rows
            if (names := listed_names(der))
        ]
        if named:
            connection.execute(write, named)
        last = [sa.literal(rows[-1][n], column.type) for n, column in enumerate(_KEY)]
        rows = connection.execute(page.where(sa.tuple_(*_KEY) > sa.tuple_(*last))).all()
