"""A certificate's name is its serial number and its CA: each CA counts for itself.

SQLite cannot change a primary key or a foreign key: there the tables are written anew, those that
are referred to first, and the old ones dropped, those that refer to others first.
"""

# ruff: noqa: S608 - the names of tables and columns are written here, or the database's own

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

DIGEST = sa.LargeBinary(32)

# The columns that name a certificate, by table; the first of each is there already.
REFERENCES = {
    "certificates": [("renews", "renews_issuer")],
    "challenges": [("spent_serial", "spent_issuer")],
    "requests": [("serial", "issuer"), ("renews", "renews_issuer")],
    "revocations": [("serial", "issuer")],
    "passphrases": [("serial", "issuer")],
}
# Where the CA has to be told.
NEEDED = ["certificates", "revocations", "passphrases"]
CHECKS = {
    "ck_challenges_spent_issuer": "(spent_serial IS NULL) = (spent_issuer IS NULL)",
    "ck_requests_issuer": "serial IS NULL OR issuer IS NOT NULL",
}


def upgrade() -> None:
    """Add the columns, name each certificate's CA in them, and let nothing else refer to it."""
    if op.get_bind().dialect.name == "sqlite":
        _anew()
    else:
        _in_place()


# --- PostgreSQL -----------------------------------------------------------------------------------


def _in_place() -> None:
    references = [(table, *pair) for table, pairs in REFERENCES.items() for pair in pairs]
    for table, serial, issuer in references:
        op.drop_constraint(op.f(f"fk_{table}_{serial}"), table, type_="foreignkey")
        if (table, issuer) != ("requests", "issuer"):
            op.add_column(table, sa.Column(issuer, DIGEST))
    op.execute("UPDATE certificates SET issuer = '' WHERE issuer IS NULL")
    for table, serial, issuer in references:
        op.execute(
            f"UPDATE {table} SET {issuer} = named.issuer FROM certificates AS named"
            f" WHERE named.serial = {table}.{serial}"
        )
    _constrain(references)


def _constrain(references: list[tuple[str, str, str]]) -> None:
    for table in NEEDED:
        op.alter_column(table, "issuer", nullable=False)
    for table in ("passphrases", "certificates"):
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, ["serial", "issuer"])
    for table, serial, issuer in references:
        op.create_foreign_key(
            op.f(f"fk_{table}_{serial}_{issuer}"),
            table,
            "certificates",
            [serial, issuer],
            ["serial", "issuer"],
            onupdate="CASCADE",
        )
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(name), name.split("_")[1], condition)


# --- SQLite ---------------------------------------------------------------------------------------


def _anew() -> None:
    tables = ", ".join(f"'{table}'" for table in REFERENCES)
    indexes = sa.text(
        "SELECT sql FROM sqlite_master"
        f" WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({tables})"
    )
    again = [*op.get_bind().scalars(indexes)]
    new = sa.MetaData()
    sa.Table("transactions", new, sa.Column("id", sa.Integer, primary_key=True))
    for table in REFERENCES:
        op.execute(sa.schema.CreateTable(_new_table(table, new)))
        _copy(table)
    for table in reversed(REFERENCES):
        op.drop_table(table)
    for table in REFERENCES:
        op.rename_table(f"new_{table}", table)
    for statement in again:
        op.execute(statement)


def _new_table(table: str, new: sa.MetaData) -> sa.Table:
    """Return a table as it is, but for what names certificates."""
    found = sa.inspect(op.get_bind())
    columns = {
        one["name"]: sa.Column(
            one["name"],
            one["type"],
            nullable=one["nullable"],
            server_default=None if one["default"] is None else sa.text(one["default"]),
        )
        for one in found.get_columns(table)
    }
    for _, issuer in REFERENCES[table]:
        columns.setdefault(issuer, sa.Column(issuer, DIGEST))
    key = found.get_pk_constraint(table)["constrained_columns"]
    if key == ["serial"]:
        key = ["serial", "issuer"]
    if table in NEEDED:
        columns["issuer"].nullable = False
    return sa.Table(
        f"new_{table}",
        new,
        *columns.values(),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        *_references(table, found),
        *(
            sa.UniqueConstraint(*one["column_names"], name=op.f(one["name"] or ""))
            for one in found.get_unique_constraints(table)
        ),
        *(
            sa.CheckConstraint(one["sqltext"], name=op.f(one["name"] or ""))
            for one in found.get_check_constraints(table)
        ),
        *(sa.CheckConstraint(CHECKS[name], name=op.f(name)) for name in CHECKS if table in name),
    )


def _references(table: str, found: sa.Inspector) -> Iterator[sa.ForeignKeyConstraint]:
    for one in found.get_foreign_keys(table):
        (column,), to = one["constrained_columns"], one["referred_table"]
        if to != "certificates":
            new = f"new_{to}" if to in REFERENCES else to
            yield sa.ForeignKeyConstraint([column], [f"{new}.id"], op.f(f"fk_{table}_{column}"))
    for serial, issuer in REFERENCES[table]:
        yield sa.ForeignKeyConstraint(
            [serial, issuer],
            ["new_certificates.serial", "new_certificates.issuer"],
            op.f(f"fk_{table}_{serial}_{issuer}"),
            onupdate="CASCADE",
        )


def _copy(table: str) -> None:
    """Copy the rows of a table, and fill the columns that name the CAs."""
    columns = [one["name"] for one in sa.inspect(op.get_bind()).get_columns(table)]
    values = {name: f'"{name}"' for name in columns}
    for serial, issuer in REFERENCES[table]:
        named = (
            "(SELECT COALESCE(named.issuer, x'') FROM certificates AS named"
            f" WHERE named.serial = {table}.{serial})"
        )
        # What waits has its CA, and no certificate yet.
        values[issuer] = f"COALESCE({named}, {issuer})" if issuer in columns else named
    if table == "certificates":
        values["issuer"] = "COALESCE(issuer, x'')"
    names = ", ".join(f'"{name}"' for name in values)
    op.execute(
        f"INSERT INTO new_{table} ({names}) SELECT {', '.join(values.values())}"
        f" FROM {table} ORDER BY rowid"
    )
