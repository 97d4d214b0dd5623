"""The metadata that holds all tables, and the names of constraints and indexes.

Every constraint has a name, because only named ones can be altered later.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKeyConstraint, MetaData, text


def where(condition: str) -> dict[str, Any]:
    """Make an index hold only some rows; the others then cost it nothing.

    For PostgreSQL that is said by `complete_for`: here it would have SQLAlchemy load what it knows
    of PostgreSQL, which is 2 MiB in each server that has SQLite.
    """
    return {"sqlite_where": text(condition)}


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def certificate_named_by(serial: str, issuer: str) -> ForeignKeyConstraint:
    """Make two columns name a certificate; they follow when its CA is told (`assign_issuer`)."""
    columns = ["certificates.serial", "certificates.issuer"]
    return ForeignKeyConstraint([serial, issuer], columns, onupdate="CASCADE")


def complete_for(dialect: str) -> None:
    """Say for another dialect than SQLite's which rows the indexes hold."""
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[dialect]["where"] = index.dialect_options["sqlite"]["where"]
