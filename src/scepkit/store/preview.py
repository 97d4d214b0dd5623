"""The preview of a purge: the conditions of `purging`, counted and not carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, exists, func, not_, or_, select

from scepkit.store.rows import Purged
from scepkit.store.tables import IS_PENDING, certificates, challenges, requests, transactions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, FromClause

_DECIDED: BindParameter[datetime] = bindparam("decided")
_CHALLENGES: BindParameter[datetime] = bindparam("challenges")
_CERTIFICATES: BindParameter[datetime] = bindparam("certificates")

_IS_RENEWED = exists().where(and_(IS_PENDING, requests.c.renews == certificates.c.serial))
_CERTIFICATE = and_(certificates.c.not_after < _CERTIFICATES, ~_IS_RENEWED)
_OVER = select(certificates.c.serial).where(_CERTIFICATE)

_REQUEST = or_(requests.c.decided_at < _DECIDED, requests.c.serial.in_(_OVER))

_IS_NEEDED = exists().where(and_(IS_PENDING, requests.c.challenge_id == challenges.c.id))
_CHALLENGE = or_(
    and_(challenges.c.expires_at < _CHALLENGES, challenges.c.spent_at.is_(None), ~_IS_NEEDED),
    challenges.c.spent_serial.in_(_OVER),
)

_OF_TRANSACTION = requests.c.transaction_row == transactions.c.id
_TRANSACTION = and_(
    exists().where(_OF_TRANSACTION),
    # Not true, rather than false: of what waits the condition is neither.
    not_(exists().where(_OF_TRANSACTION, func.coalesce(_REQUEST, False).is_(False))),
)


def would_purge(
    connection: Connection,
    *,
    decided_before: datetime,
    challenges_before: datetime,
    certificates_before: datetime,
) -> Purged:
    """Count the records that `Purging.purge` would delete with the same arguments."""
    times = {
        "decided": decided_before,
        "challenges": challenges_before,
        "certificates": certificates_before,
    }

    def count(table: FromClause, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(condition)
        return connection.execute(query, times).scalar_one()

    return Purged(
        requests=count(requests, _REQUEST),
        transactions=count(transactions, _TRANSACTION),
        challenges=count(challenges, _CHALLENGE),
        certificates=count(certificates, _CERTIFICATE),
    )
