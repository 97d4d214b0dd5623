"""Lists for people, a page at a time.

Pages instead of an open cursor: a slow reader then holds no connection, and does not keep the
write-ahead log from being emptied.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, bindparam, literal, or_, select, tuple_

from scepkit.errors import UsageError
from scepkit.store.queries import is_overdue
from scepkit.store.rows import CertificateRow, CertificateStatus, RequestRow
from scepkit.store.tables import (
    IS_PENDING,
    SerialNumber,
    UTCDateTime,
    certificates,
    requests,
    transactions,
)
from scepkit.store.values import BAD_REQUEST, EXPIRED_REASON, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

PAGE = 500  # rows read at a time: about a megabyte

_Row = TypeVar("_Row")

REQUESTS = select(
    requests.c.id,
    transactions.c.endpoint,
    transactions.c.transaction_id,
    transactions.c.signer_key,
    requests.c.fingerprint,
    requests.c.message_type,
    requests.c.csr,
    requests.c.csr_digest,
    requests.c.subject,
    requests.c.issuer,
    requests.c.status,
    requests.c.fail_info,
    requests.c.reason,
    requests.c.serial,
    requests.c.challenge_id,
    requests.c.renews,
    requests.c.created_at,
    requests.c.decided_at,
    requests.c.expires_at,
    requests.c.decided_by,
    requests.c.peer,
).join_from(requests, transactions)
REQUEST = REQUESTS.where(requests.c.id == bindparam("request_id"))


def pages(
    read: Callable[[_Row | None, int], Sequence[_Row]], after: _Row | None, limit: int | None
) -> Iterator[_Row]:
    """Read rows a page at a time.

    Args:
        read: returns the rows after one (None: the first ones), at most so many.
        after: go on after this one.
        limit: at most so many in all; all when None.
    """
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        rows = read(after, size)
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1]
        left = None if left is None else left - size


def certificates_page(
    connection: Connection,
    wanted: Sequence[ColumnElement[bool]],
    after: CertificateRow | None,
    size: int,
) -> list[CertificateRow]:
    """Return the next certificates after one, newest first."""
    rows = connection.execute(_certificates_after(after).where(*wanted).limit(size))
    return [CertificateRow(*row) for row in rows]


def _certificates_after(after: CertificateRow | None) -> Select[Any]:
    order = certificates.c.issued_at, certificates.c.serial
    query = select(certificates).order_by(order[0].desc(), order[1].desc())
    if after is not None:
        last = literal(after.issued_at, UTCDateTime), literal(after.serial, SerialNumber)
        query = query.where(tuple_(*order) < tuple_(*last))
    return query


def certificate_filters(
    endpoint: str | None,
    status: CertificateStatus | None,
    subject: str | None,
    now: datetime | None,
) -> list[ColumnElement[bool]]:
    """Return the conditions of a listing.

    Raises:
        UsageError: valid and expired ones are wanted without saying when.
    """
    if now is None and status in {CertificateStatus.VALID, CertificateStatus.EXPIRED}:
        raise UsageError(f"{status}: no time is given", hint="give now=")
    wanted = []
    if endpoint is not None:
        wanted.append(certificates.c.endpoint == endpoint)
    if subject is not None:
        wanted.append(certificates.c.subject.icontains(subject, autoescape=True))
    if status is not None:
        is_revoked = certificates.c.revoked_at.is_not(None)
        is_over = certificates.c.not_after < literal(now, UTCDateTime)
        conditions = {
            CertificateStatus.REVOKED: is_revoked,
            CertificateStatus.EXPIRED: and_(~is_revoked, is_over),
            CertificateStatus.VALID: and_(~is_revoked, ~is_over),
        }
        wanted.append(conditions[status])
    return wanted


def request(connection: Connection, request_id: int, now: datetime | None) -> RequestRow | None:
    """Return the request with that number."""
    row = connection.execute(REQUEST, {"request_id": request_id}).first()
    return None if row is None else _as_of(now, row)


def requests_page(
    connection: Connection,
    wanted: Sequence[ColumnElement[bool]],
    after: RequestRow | None,
    size: int,
    now: datetime | None,
) -> list[RequestRow]:
    """Return the next requests after one, oldest first."""
    last = 0 if after is None else after.id
    query = REQUESTS.where(requests.c.id > last, *wanted).order_by(requests.c.id).limit(size)
    return [_as_of(now, row) for row in connection.execute(query)]


def request_filters(
    endpoint: str | None, status: Status | None, now: datetime | None
) -> list[ColumnElement[bool]]:
    """Return the conditions of a listing; with `now`, overdue requests count as expired."""
    wanted = []
    if endpoint is not None:
        wanted.append(transactions.c.endpoint == endpoint)
    if status is not None:
        wanted.append(_is(status, now))
    return wanted


def _is(status: Status, now: datetime | None) -> ColumnElement[bool]:
    is_written = IS_PENDING if status is Status.PENDING else requests.c.status == status.value
    if now is None or status not in {Status.PENDING, Status.EXPIRED}:
        return is_written
    until, instant = requests.c.expires_at, literal(now, UTCDateTime)
    if status is Status.PENDING:
        return and_(is_written, or_(until.is_(None), until > instant))
    return or_(is_written, and_(IS_PENDING, until <= instant))


def _as_of(now: datetime | None, columns: Sequence[Any]) -> RequestRow:
    row = RequestRow(*columns)
    if is_overdue(row.status, row.expires_at, now):
        return replace(row, status=Status.EXPIRED, fail_info=BAD_REQUEST, reason=EXPIRED_REASON)
    return replace(row, status=Status(row.status))
