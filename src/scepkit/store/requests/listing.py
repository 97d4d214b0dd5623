"""The requests as people look for them: those that fit, oldest first, a page at a time.

A page goes on behind a request's number. Those that wait are found by an index of their own; for
all others requests are looked through one by one, as with certificates (`certificates.listing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, func, literal, or_, select

from scepkit.store.certificates.listing import SCAN
from scepkit.store.column_types import UTCDateTime
from scepkit.store.database import PAGE, Database
from scepkit.store.requests.records import REQUESTS, RequestRow, as_of
from scepkit.store.tables.requests import IS_PENDING, IS_SIGNED, requests, transactions
from scepkit.store.values import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """The requests that are wanted: those to which all of it applies that is not None.

    Attributes:
        now: aware; what waits but is over by then counts as expired. None: as written.
        endpoint: the endpoint that they came to.
        status: how they stand.
        subject: a text in the subject, in any case of ASCII letters.
        made_after: aware; they came then or later.
        made_before: aware; they came before then.
        expires_after: aware; they wait until then or longer.
        expires_before: aware; they wait until some time before then.
    """

    now: datetime | None = None
    endpoint: str | None = None
    status: Status | None = Status.PENDING
    subject: str | None = None
    made_after: datetime | None = None
    made_before: datetime | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None


class RequestPage(NamedTuple):
    """Some of the requests that are wanted.

    Attributes:
        rows: the requests, oldest first.
        after: the number behind which the list goes on; None at its end.
    """

    rows: list[RequestRow]
    after: int | None


class RequestListing(Database):
    """The part of the store in which people look for requests."""

    def request_page(
        self, wanted: RequestFilter, *, after: int = 0, limit: int = PAGE
    ) -> RequestPage:
        """Return a page of the requests that are wanted.

        Args:
            wanted: which ones.
            after: go on behind the request with this number.
            limit: at most so many.

        Raises:
            StoreError: the database cannot be read.
        """
        conditions = [*_conditions(wanted)]
        behind = requests.c.id > after
        with self._reading() as connection:
            end = None
            if wanted.status is not Status.PENDING:
                # The end of the page is read first: see `certificate_page`.
                window = select(requests.c.id).where(behind).order_by(requests.c.id).limit(SCAN)
                end = connection.scalar(select(func.max(window.subquery().c.id)))
                if end is None:
                    return RequestPage([], None)
                conditions.append(requests.c.id <= end)
            query = REQUESTS.where(behind, *conditions).order_by(requests.c.id).limit(limit)
            make = partial(as_of, wanted.now)
            rows = [make(columns) for columns in connection.execute(query)]
            return RequestPage(rows, rows[-1].id if len(rows) == limit else end)

    def requests(
        self,
        *,
        endpoint: str | None = None,
        status: Status | None = Status.PENDING,
        now: datetime | None = None,
        after: RequestRow | None = None,
        limit: int | None = None,
    ) -> Iterator[RequestRow]:
        """Return the requests, oldest first, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            status: only those that stand so; all when None.
            now: as in `RequestFilter`.
            after: go on after this one.
            limit: at most so many; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        wanted = RequestFilter(endpoint=endpoint, status=status, now=now)
        place, left = 0 if after is None else after.id, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.request_page(wanted, after=place, limit=size)
            yield from page.rows
            if page.after is None:
                return
            place, left = page.after, None if left is None else left - len(page.rows)


def _conditions(wanted: RequestFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.endpoint is not None:
        yield transactions.c.endpoint == wanted.endpoint
    if wanted.status is not None:
        yield _is(wanted.status, wanted.now)
    if wanted.subject is not None:
        yield requests.c.subject.icontains(wanted.subject, autoescape=True)
    if wanted.made_after is not None:
        yield requests.c.created_at >= wanted.made_after
    if wanted.made_before is not None:
        yield requests.c.created_at < wanted.made_before
    if wanted.expires_after is not None:
        yield requests.c.expires_at >= wanted.expires_after
    if wanted.expires_before is not None:
        yield requests.c.expires_at < wanted.expires_before


def _is(status: Status, now: datetime | None) -> ColumnElement[bool]:
    """Return the condition of a state; with `now`, overdue requests count as expired."""
    if status is Status.SIGNED:
        return IS_SIGNED
    if status is Status.ISSUED:
        return and_(requests.c.status == status.value, func.coalesce(~IS_SIGNED, True))
    is_written = IS_PENDING if status is Status.PENDING else requests.c.status == status.value
    if now is None or status not in {Status.PENDING, Status.EXPIRED}:
        return is_written
    until, instant = requests.c.expires_at, literal(now, UTCDateTime)
    if status is Status.PENDING:
        return and_(is_written, or_(until.is_(None), until > instant))
    return or_(is_written, and_(IS_PENDING, until <= instant))
