"""Requests that wait, renewals, several CAs, revocation and CRLs.

Columns are added by plain SQL: SQLite and PostgreSQL both take a foreign key with the column,
while Alembic would copy the whole table for it on SQLite.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
SERIAL = sa.String(40)
DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    """Add columns, then indexes, then tables."""
    _columns()
    _subjects()
    _indexes()
    _crls()


def _columns() -> None:
    op.add_column("certificates", sa.Column("issuer", DIGEST))
    _add_reference("certificates", "renews", SERIAL, "certificates (serial)")
    op.add_column("certificates", sa.Column("revoked_by", sa.Text))
    op.add_column("requests", sa.Column("subject", sa.Text))
    op.add_column("requests", sa.Column("issuer", DIGEST))
    op.add_column("requests", sa.Column("csr_digest", DIGEST))
    _add_reference("requests", "challenge_id", sa.Integer(), "challenges (id)")
    _add_reference("requests", "renews", SERIAL, "certificates (serial)")
    op.add_column("requests", sa.Column("reply_secret", sa.LargeBinary))
    op.add_column("requests", sa.Column("expires_at", TIME))
    op.add_column("requests", sa.Column("decided_by", sa.Text))


def _add_reference(table: str, column: str, kind: sa.types.TypeEngine[Any], to: str) -> None:
    sql_type = kind.compile(op.get_bind().dialect)
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN {column} {sql_type}"
        f" CONSTRAINT {op.f(f'fk_{table}_{column}')} REFERENCES {to}"
    )


def _subjects() -> None:
    op.execute(
        "UPDATE requests SET subject = (SELECT certificates.subject FROM certificates"
        " WHERE certificates.serial = requests.serial)"
    )


def _indexes() -> None:
    _index("certificates", "issuer", "serial", where="revoked_at IS NOT NULL")
    _index("certificates", "not_after")
    _index("certificates", "renews", where="renews IS NOT NULL")
    _index("challenges", "expires_at")
    _index("challenges", "spent_serial", where="spent_serial IS NOT NULL")
    _index("requests", "id", where="status = 'pending'", name="ix_requests_pending")
    _index("requests", "decided_at", where="decided_at IS NOT NULL")
    _index("requests", "serial", where="serial IS NOT NULL")
    _index("requests", "challenge_id", where="challenge_id IS NOT NULL")
    _index("requests", "renews", where="renews IS NOT NULL")


def _index(table: str, *columns: str, where: str | None = None, name: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        op.f(name or "_".join(["ix", table, *columns])),
        table,
        [*columns],
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _crls() -> None:
    op.create_table(
        "crl_numbers",
        sa.Column("issuer", DIGEST, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("needed", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("issuer", name=op.f("pk_crl_numbers")),
    )
    op.create_table(
        "crls",
        sa.Column("issuer", DIGEST, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("this_update", TIME, nullable=False),
        sa.Column("next_update", TIME, nullable=False),
        sa.PrimaryKeyConstraint("issuer", name=op.f("pk_crls")),
    )
