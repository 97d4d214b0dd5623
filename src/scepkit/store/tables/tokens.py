"""The tokens of the API: who may use it.

Of a token's secret there is only the SHA-256: it has 256 random bits.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from scepkit.store.column_types import Texts, UTCDateTime
from scepkit.store.tables.metadata import metadata

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # The part that everybody may see, by which it is found.
    Column("prefix", String(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Texts, nullable=False),
    Column("endpoints", Texts, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("last_used_at", UTCDateTime),
    Column("voided_at", UTCDateTime),
    Column("voided_by", Text),
    Column("void_reason", Text),
    UniqueConstraint("prefix"),
)
