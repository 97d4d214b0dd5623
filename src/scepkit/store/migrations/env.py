"""The script that Alembic runs; the connection and its transaction are `scepkit.store.schema`'s."""

from __future__ import annotations

from alembic import context

from scepkit.store.tables.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table only by copying it
)
with context.begin_transaction():
    context.run_migrations()
