"""The tables as they are now, in types that SQLite and PostgreSQL share.

The tables of each room of the store are in the file of its name. A change needs a new file in
migrations/versions/ and `schema.HEAD` set to it; a test compares the two.
"""

# Whoever imports one has all: a name in a foreign key is looked up in the metadata, and what goes
# through the metadata must miss none.
from scepkit.store.tables import (
    audit,
    certificates,
    challenges,
    devices,
    leases,
    notifications,
    refusals,
    requests,
    revocations,
    third_parties,
    tokens,
)

__all__ = [
    "audit",
    "certificates",
    "challenges",
    "devices",
    "leases",
    "notifications",
    "refusals",
    "requests",
    "revocations",
    "third_parties",
    "tokens",
]
