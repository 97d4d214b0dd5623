"""Renewal chains: the certificates before and after a renewal.

A certificate is renewed from one other at most, and any number may be renewed from it: a device
whose reply was lost, or a thief with a copied key, makes a second branch. So a chain is a tree, and
it is read by going up to the first certificate and from there down to all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, or_, select

from scepkit.store.database import Database
from scepkit.store.rows import CertificateRow
from scepkit.store.tables import certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, Connection, Select

HOLD = 6  # certificateHold: the one reason that another may follow
_CHUNK = 500  # serial numbers in one statement

# Each of these is one statement, so what it reads is one state of the database. UNION, and not
# UNION ALL: branches meet further up.


def _up() -> CTE:
    start = select(certificates.c.serial, certificates.c.renews).where(
        certificates.c.serial.in_(bindparam("serials", expanding=True))
    )
    up = start.cte("up", recursive=True)
    parent = certificates.alias("parent")
    return up.union(select(parent.c.serial, parent.c.renews).where(parent.c.serial == up.c.renews))


def _down() -> CTE:
    up = _up()
    down = select(up.c.serial).where(up.c.renews.is_(None)).cte("down", recursive=True)
    child = certificates.alias("child")
    return down.union(select(child.c.serial).where(child.c.renews == down.c.serial))


def _chains() -> Select[Any]:
    down = _down()
    return (
        select(certificates)
        .join(down, certificates.c.serial == down.c.serial)
        .order_by(certificates.c.issued_at, certificates.c.serial)
    )


CHAINS = _chains()
RENEWED_FROM = select(certificates.c.serial).where(
    certificates.c.renews.in_(bindparam("serials", expanding=True)),
    or_(certificates.c.revoked_at.is_(None), certificates.c.revocation_reason == HOLD),
)


class Renewals(Database):
    """The part of the store that knows the renewals of certificates."""

    def renewal_chains(self, serials: Sequence[int]) -> list[CertificateRow]:
        """Return the whole renewal chains that these certificates are in, the oldest first.

        Args:
            serials: their serial numbers; those that nobody has are in no chain.

        Raises:
            StoreError: the database cannot be read.
        """
        found: dict[int, CertificateRow] = {}
        for start in range(0, len(serials), _CHUNK):
            with self._reading() as connection:
                rows = connection.execute(CHAINS, {"serials": serials[start : start + _CHUNK]})
                found.update((row.serial, CertificateRow(*row)) for row in rows)
        return sorted(found.values(), key=lambda row: (row.issued_at, row.serial))


def hold_renewals(connection: Connection) -> None:
    """Let nobody renew anything until the end of the transaction, of which this is the first step.

    Otherwise a device that renews without a pause could be followed for ever. The lock is
    PostgreSQL's, and waits for renewals that have begun; reading goes on. On SQLite whoever writes
    is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {certificates.name} IN EXCLUSIVE MODE")


def renewed_from(connection: Connection, serials: Sequence[int]) -> list[int]:
    """Return the direct renewals of these certificates that are not revoked for good."""
    found: set[int] = set()
    for start in range(0, len(serials), _CHUNK):
        found.update(connection.scalars(RENEWED_FROM, {"serials": serials[start : start + _CHUNK]}))
    return sorted(found)
