"""Subjects as they compare, and the certificates that are to be replaced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scepkit.protocol.certificate import subject_digest

revision = "0014"
down_revision = "0013"

BATCH = 1000  # certificates in memory at once

certificates = sa.table(
    "certificates",
    sa.column("serial", sa.String),
    sa.column("issuer", sa.LargeBinary),
    sa.column("der", sa.LargeBinary),
    sa.column("subject_digest", sa.LargeBinary),
)
_KEY = (certificates.c.serial, certificates.c.issuer)


def upgrade() -> None:
    """Add the column, fill and index it, and create the table."""
    op.add_column("certificates", sa.Column("subject_digest", sa.LargeBinary(32)))
    _fill()
    _index("certificates", "subject_digest", "subject_digest IS NOT NULL")
    serial, issuer = sa.String(40), sa.LargeBinary(32)
    op.create_table(
        "replacements",
        sa.Column("serial", serial, nullable=False),
        sa.Column("issuer", issuer, nullable=False),
        sa.Column("by_serial", serial, nullable=False),
        sa.Column("by_issuer", issuer, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint(
            *("serial", "issuer", "by_serial", "by_issuer"), name=op.f("pk_replacements")
        ),
        *(
            sa.ForeignKeyConstraint(
                columns,
                ["certificates.serial", "certificates.issuer"],
                name=op.f(f"fk_replacements_{'_'.join(columns)}"),
                onupdate="CASCADE",
            )
            for columns in (["serial", "issuer"], ["by_serial", "by_issuer"])
        ),
    )
    op.create_index(op.f("ix_replacements_by_serial"), "replacements", ["by_serial"])
    _index("replacements", "due_at", "due_at IS NOT NULL")


def _index(table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        op.f(f"ix_{table}_{column}"), table, [column], sqlite_where=where, postgresql_where=where
    )


def _fill() -> None:
    """Write the digests, some certificates at a time."""
    connection = op.get_bind()
    page = sa.select(*_KEY, certificates.c.der).order_by(*_KEY).limit(BATCH)
    write = (
        sa.update(certificates)
        .where(
            certificates.c.serial == sa.bindparam("its_serial"),
            certificates.c.issuer == sa.bindparam("its_issuer"),
        )
        .values(subject_digest=sa.bindparam("its_digest"))
    )
    rows = connection.execute(page).all()
    while rows:
        found = [
            {"its_serial": serial, "its_issuer": issuer, "its_digest": digest}
            for serial, issuer, der in rows
            if (digest := subject_digest(der)) is not None
        ]
        if found:
            connection.execute(write, found)
        last = [sa.literal(rows[-1][n], column.type) for n, column in enumerate(_KEY)]
        rows = connection.execute(page.where(sa.tuple_(*_KEY) > sa.tuple_(*last))).all()
