"""Alembic's environment; `scepkit.store.schema` runs it."""
