"""Deleting old records, a little at a time so that writers hardly wait.

What waits for a decision is never deleted, nor what its decision needs.
"""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import and_, bindparam, delete, exists, func, not_, or_, select, tuple_, update

from scepkit.store.audit.events import SERVER, AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.certificates.records import among, these
from scepkit.store.challenges.heirs import hand_over
from scepkit.store.database import Database
from scepkit.store.tables.certificates import certificates, passphrases
from scepkit.store.tables.challenges import challenge_uses, challenges
from scepkit.store.tables.refusals import refusals
from scepkit.store.tables.requests import IS_PENDING, requests, transactions
from scepkit.store.tables.revocations import (
    planned_revocations,
    replacements,
    revocations,
    revoked_serials,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import CTE, BindParameter, ColumnElement, Connection, FromClause, Select

    Keys: TypeAlias = list[Any]

CHUNK = 500  # rows to find and delete in one transaction: some milliseconds
# Between two of them. Whoever waits to write on SQLite looks every millisecond, so this lets it in.
PAUSE_SECONDS = 0.01

_BEFORE: BindParameter[datetime] = bindparam("before")
_SIZE: BindParameter[int] = bindparam("size")
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)

DECIDED = select(requests.c.id).where(requests.c.decided_at < _BEFORE).limit(_SIZE)
OF_CERTIFICATES = select(requests.c.id).where(among(requests.c.serial, requests.c.issuer))
OF_REQUESTS = select(requests.c.transaction_row).where(requests.c.id.in_(_KEYS)).distinct()
HOLD = (
    select(transactions.c.id)
    .where(transactions.c.id.in_(_KEYS))
    .order_by(transactions.c.id)
    .with_for_update()
)
DELETE_REQUESTS = delete(requests).where(requests.c.id.in_(_KEYS))
DELETE_EMPTY = delete(transactions).where(
    transactions.c.id.in_(_KEYS),
    not_(exists().where(requests.c.transaction_row == transactions.c.id)),
)

_IS_NEEDED = exists().where(and_(IS_PENDING, requests.c.challenge_id == challenges.c.id))
# Spent ones stay as long as a certificate of its renewal chain: renewals may repeat them (RFC 8894
# section 2.4). Where that is deleted, its renewal stands for it.
_IS_UNSPENT = challenges.c.spent_at.is_(None)
_OF_CHALLENGE = challenge_uses.c.challenge_id == challenges.c.id
_HAS_USES = exists().where(_OF_CHALLENGE)
EXPIRED = (
    select(challenges.c.id)
    .where(challenges.c.expires_at < _BEFORE, _IS_UNSPENT, ~_IS_NEEDED, ~_HAS_USES)
    .limit(_SIZE)
)
_SPENT_FOR = tuple_(challenges.c.spent_serial, challenges.c.spent_issuer)
BY_CERTIFICATES = select(challenges.c.id).where(
    among(challenges.c.spent_serial, challenges.c.spent_issuer)
)
DELETE_USES = delete(challenge_uses).where(among(challenge_uses.c.serial, challenge_uses.c.issuer))
# Of several certificates another one stands for it.
_OTHER_USE = (
    select(challenge_uses.c.serial, challenge_uses.c.issuer)
    .where(_OF_CHALLENGE)
    .order_by(challenge_uses.c.serial, challenge_uses.c.issuer)
    .limit(1)
)
SPENT_FOR_ANOTHER = (
    update(challenges)
    .where(among(challenges.c.spent_serial, challenges.c.spent_issuer), _HAS_USES)
    .values(
        spent_serial=_OTHER_USE.with_only_columns(challenge_uses.c.serial).scalar_subquery(),
        spent_issuer=_OTHER_USE.with_only_columns(challenge_uses.c.issuer).scalar_subquery(),
    )
)
FORGET_CHALLENGES = (
    update(requests).where(requests.c.challenge_id.in_(_KEYS)).values(challenge_id=None)
)
DELETE_CHALLENGES = delete(challenges).where(challenges.c.id.in_(_KEYS))

_IS_RENEWED = exists().where(
    IS_PENDING,
    requests.c.renews == certificates.c.serial,
    requests.c.renews_issuer == certificates.c.issuer,
)
OVER = (
    select(certificates.c.serial, certificates.c.issuer)
    .where(certificates.c.not_after < _BEFORE, ~_IS_RENEWED)
    .limit(_SIZE)
)
# What was revoked elsewhere; where nobody knows its end it stays.
REVOKED_OVER = (
    select(revoked_serials.c.serial, revoked_serials.c.issuer)
    .where(revoked_serials.c.not_after < _BEFORE)
    .limit(_SIZE)
)
DELETE_REVOKED = delete(revoked_serials).where(
    among(revoked_serials.c.serial, revoked_serials.c.issuer)
)
FORGET_RENEWED = tuple(
    update(table)
    .where(among(table.c.renews, table.c.renews_issuer))
    .values(renews=None, renews_issuer=None)
    for table in (requests, certificates)
)
DELETE_OF_CERTIFICATES = (
    delete(replacements).where(among(replacements.c.by_serial, replacements.c.by_issuer)),
    *(
        delete(table).where(among(table.c.serial, table.c.issuer))
        for table in (replacements, planned_revocations, revocations, passphrases, certificates)
    ),
)

UNSEEN = select(refusals.c.id).where(refusals.c.last_at < _BEFORE).limit(_SIZE)
DELETE_REFUSALS = delete(refusals).where(refusals.c.id.in_(_KEYS))

# The same conditions for `would_purge`, each with what the other deletions would take with it.
_DECIDED: BindParameter[datetime] = bindparam("decided")
_CHALLENGES: BindParameter[datetime] = bindparam("challenges")
_CERTIFICATES: BindParameter[datetime] = bindparam("certificates")

_CERTIFICATE = and_(certificates.c.not_after < _CERTIFICATES, ~_IS_RENEWED)
_OVER = select(certificates.c.serial, certificates.c.issuer).where(_CERTIFICATE)


def _lines() -> CTE:
    """Return the certificates that are over, each with its renewals up to those that stay."""
    over = select(
        certificates.c.serial.label("gone"),
        certificates.c.issuer.label("gone_issuer"),
        certificates.c.serial,
        certificates.c.issuer,
    )
    lines = over.where(_CERTIFICATE).cte("lines", recursive=True)
    renewal = certificates.alias("renewal")
    is_of = and_(renewal.c.renews == lines.c.serial, renewal.c.renews_issuer == lines.c.issuer)
    return lines.union(
        select(lines.c.gone, lines.c.gone_issuer, renewal.c.serial, renewal.c.issuer)
        .join(renewal, is_of)
        .where(tuple_(lines.c.serial, lines.c.issuer).in_(_OVER))
    )


_LINES = _lines()
_STAYS = tuple_(_LINES.c.serial, _LINES.c.issuer).not_in(_OVER)
_WITH_HEIR = select(_LINES.c.gone, _LINES.c.gone_issuer).where(_STAYS)

_REQUEST = or_(
    requests.c.decided_at < _DECIDED, tuple_(requests.c.serial, requests.c.issuer).in_(_OVER)
)

_USED_FOR = tuple_(challenge_uses.c.serial, challenge_uses.c.issuer)
_KEEPS_USES = exists().where(_OF_CHALLENGE, or_(_USED_FOR.not_in(_OVER), _USED_FOR.in_(_WITH_HEIR)))
_CHALLENGE = and_(
    or_(
        and_(challenges.c.expires_at < _CHALLENGES, _IS_UNSPENT, ~_IS_NEEDED),
        and_(_SPENT_FOR.in_(_OVER), _SPENT_FOR.not_in(_WITH_HEIR)),
    ),
    ~_KEEPS_USES,
)

_OF_TRANSACTION = requests.c.transaction_row == transactions.c.id
_TRANSACTION = and_(
    exists().where(_OF_TRANSACTION),
    # Not true, rather than false: of what waits the condition is neither.
    not_(exists().where(_OF_TRANSACTION, func.coalesce(_REQUEST, False).is_(False))),
)


class Purged(NamedTuple):
    """The numbers of rows that a purge deleted."""

    requests: int
    transactions: int
    challenges: int
    certificates: int
    refusals: int = 0


_NOTHING = Purged(0, 0, 0, 0)


class Purging(Database):
    """The part of the store that forgets."""

    def purge(
        self,
        *,
        decided_before: datetime,
        challenges_before: datetime,
        certificates_before: datetime,
        now: datetime,
        by: str = SERVER,
        reason: str = "",
    ) -> Purged:
        """Delete records that are old enough; it may take long, but nobody waits for it.

        Args:
            decided_before: requests decided before this go, with transactions left empty (P-48);
                so do refusals that were last seen before it.
            challenges_before: challenges that expired before this and nobody spent.
            certificates_before: certificates that ended before this, with their requests, and with
                their challenges where no renewal of them is kept; those revoked elsewhere whose
                serial numbers alone are known count, too. Keep them at least until a CRL after
                their end has listed the revoked.
            now: the time, aware, for the audit record. Audit records themselves are kept.
            by: who deletes, for the same.
            reason: why, for the same.

        Raises:
            StoreError: the database cannot be written; what was deleted stays deleted.
        """
        event = AuditEvent(AuditAction.PURGED, by, now, reason=reason)
        return _sum(
            self._chunk_by_chunk(DECIDED, _delete_requests, decided_before, event),
            self._chunk_by_chunk(EXPIRED, _delete_challenges, challenges_before, event),
            self._chunk_by_chunk(OVER, _delete_certificates, certificates_before, event),
            self._chunk_by_chunk(REVOKED_OVER, _delete_revoked, certificates_before, event),
            self._chunk_by_chunk(UNSEEN, _delete_refusals, decided_before, event),
        )

    def would_purge(
        self,
        *,
        decided_before: datetime,
        challenges_before: datetime,
        certificates_before: datetime,
    ) -> Purged:
        """Count the records that `purge` would delete, and delete nothing.

        Raises:
            StoreError: the database cannot be read.
        """
        times = {
            "decided": decided_before,
            "challenges": challenges_before,
            "certificates": certificates_before,
        }

        def count(table: FromClause, condition: ColumnElement[bool]) -> int:
            query = select(func.count()).select_from(table).where(condition)
            return connection.execute(query, times).scalar_one()

        with self._reading() as connection:
            return Purged(
                requests=count(requests, _REQUEST),
                transactions=count(transactions, _TRANSACTION),
                challenges=count(challenges, _CHALLENGE),
                certificates=count(certificates, _CERTIFICATE)
                + count(revoked_serials, revoked_serials.c.not_after < _CERTIFICATES),
                refusals=count(refusals, refusals.c.last_at < _DECIDED),
            )

    def _chunk_by_chunk(
        self,
        find: Select[Any],
        delete_rows: Callable[[Connection, Keys], Purged],
        before: datetime,
        event: AuditEvent,
    ) -> Purged:
        total = _NOTHING
        while True:
            with self._writing("delete what is old") as connection:
                keys = _keys(connection, find, {"before": before, "size": CHUNK})
                deleted = delete_rows(connection, keys)
                if any(deleted):
                    details = {**deleted._asdict(), "before": time_text(before)}
                    self._audit.append(connection, [event._replace(details=details)])
            total = _sum(total, deleted)
            if len(keys) < CHUNK:
                return total
            sleep(PAUSE_SECONDS)


def _keys(connection: Connection, find: Select[Any], values: dict[str, Any]) -> Keys:
    rows = connection.execute(find, values).all()
    return [row[0] if len(row) == 1 else tuple(row) for row in rows]


def _delete_requests(connection: Connection, keys: Keys) -> Purged:
    of_transactions = _keys(connection, OF_REQUESTS, {"keys": keys})
    # Locked before looking whether they are empty (PostgreSQL): a request may be coming in.
    connection.execute(HOLD, {"keys": of_transactions})
    return _NOTHING._replace(
        requests=connection.execute(DELETE_REQUESTS, {"keys": keys}).rowcount,
        transactions=connection.execute(DELETE_EMPTY, {"keys": of_transactions}).rowcount,
    )


def _delete_challenges(connection: Connection, keys: Keys) -> Purged:
    connection.execute(FORGET_CHALLENGES, {"keys": keys})
    return _NOTHING._replace(
        challenges=connection.execute(DELETE_CHALLENGES, {"keys": keys}).rowcount
    )


def _delete_certificates(connection: Connection, keys: Keys) -> Purged:
    """Delete certificates, and before them the rows that refer to them."""
    of = these(keys)
    hand_over(connection, keys)
    connection.execute(DELETE_USES, of)
    connection.execute(SPENT_FOR_ANOTHER, of)
    total = _sum(
        _delete_requests(connection, _keys(connection, OF_CERTIFICATES, of)),
        _delete_challenges(connection, _keys(connection, BY_CERTIFICATES, of)),
    )
    for statement in (*FORGET_RENEWED, *DELETE_OF_CERTIFICATES):
        deleted = connection.execute(statement, of).rowcount
    # The certificates come last: the others refer to them.
    return total._replace(certificates=deleted)


def _delete_revoked(connection: Connection, keys: Keys) -> Purged:
    return _NOTHING._replace(certificates=connection.execute(DELETE_REVOKED, these(keys)).rowcount)


def _delete_refusals(connection: Connection, keys: Keys) -> Purged:
    return _NOTHING._replace(refusals=connection.execute(DELETE_REFUSALS, {"keys": keys}).rowcount)


def _sum(*counts: Purged) -> Purged:
    return Purged(*map(sum, zip(*counts, strict=True)))
