"""The leases: what one process at a time does, on whichever machine, and who has it until when."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.metadata import metadata

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(36), nullable=False),
    Column("until", UTCDateTime, nullable=False),
)
