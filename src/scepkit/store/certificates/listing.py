"""The certificates as people look for them: those that fit, newest first, a page at a time.

A page goes on behind a place, which is a certificate's time and name, and never at a
count: so rows that come and go in between make no other row come twice or be left out.

Endpoint, time of issue, key and serial number are looked up in an index. For anything else (a text
in subject or names, the state, the end) the certificates are looked through one by one, so many of
them a page and no more; such a page may be short, or empty, and yet not be the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, func, literal, select, tuple_

from scepkit.errors import UsageError
from scepkit.store.certificates.records import HOLD, KEY, CertificateRow
from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.database import PAGE, Database
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.requests import IS_SIGNED, requests
from scepkit.store.tables.revocations import planned_revocations
from scepkit.store.values import CertificateKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, FromClause, Select, Tuple

# The end of the validity, in a form for which there is no index: SQLite would take that of the
# purge, and sort half of the table for each page.
_END = func.coalesce(certificates.c.not_after, certificates.c.issued_at)
SIGNED = select(requests.c.serial, requests.c.issuer).where(IS_SIGNED)
_PLANNED = select(planned_revocations.c.serial, planned_revocations.c.issuer)
SCAN = 10_000  # certificates that one page may look through: some ten milliseconds


class CertificateStatus(StrEnum):
    """The states to list certificates by; a revoked one stays revoked when it expires."""

    VALID = "valid"
    """Those that are signed among them."""
    SIGNED = "signed"
    """Valid, but a service has still to agree to its delivery."""
    REVOKED = "revoked"
    """Those on hold among them."""
    HELD = "held"
    EXPIRED = "expired"
    PLANNED = "planned"
    """Not revoked, but to be revoked at a time to come."""


_OVER_TIME = (CertificateStatus.VALID, CertificateStatus.SIGNED, CertificateStatus.EXPIRED)


class Place(NamedTuple):
    """The place of a certificate in the list; the first octets of `issuer` will do.

    Two CAs may issue the same serial number at the same time.
    """

    issued_at: datetime
    serial: int
    issuer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFilter:
    """The certificates that are wanted: those to which all of it applies that is not None.

    Attributes:
        now: aware; needed for a status that depends on it.
        endpoint: the endpoint that issued them.
        status: how they stand.
        serial: their serial number.
        key: SHA-256 of their canonical SubjectPublicKeyInfo.
        subject: a text in the subject, in any case of ASCII letters.
        name: a text in an alternative name as `listed_names` writes it, likewise.
        issued_after: aware; issued then or later.
        issued_before: aware; issued before then.
        expires_after: aware; the end of the validity is then or later.
        expires_before: aware; the end of the validity is before then.

    Raises:
        UsageError: `now` is needed.
    """

    now: datetime | None = None
    endpoint: str | None = None
    status: CertificateStatus | None = None
    serial: int | None = None
    key: bytes | None = None
    subject: str | None = None
    name: str | None = None
    issued_after: datetime | None = None
    issued_before: datetime | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None

    def __post_init__(self) -> None:
        over_time = self.status in _OVER_TIME
        if over_time and self.now is None:
            raise UsageError(f"{self.status}: no time is given", hint="give now=")

    @property
    def is_scan(self) -> bool:
        """Say whether certificates are looked through one by one."""
        is_found = self.serial is not None or self.key is not None
        return bool(_looked_at(self)) and not is_found


class CertificatePage(NamedTuple):
    """Some of the certificates that are wanted.

    Attributes:
        rows: the certificates, newest first.
        signed: the names of those among them that are not delivered yet.
        after: the place behind which the list goes on; None at its end.
    """

    rows: list[CertificateRow]
    signed: frozenset[CertificateKey]
    after: Place | None


class CertificateListing(Database):
    """The part of the store in which people look for certificates."""

    def certificate_page(
        self, wanted: CertificateFilter, *, after: Place | None = None, limit: int = PAGE
    ) -> CertificatePage:
        """Return a page of the certificates that are wanted.

        Args:
            wanted: which ones.
            after: go on behind this place; None to begin.
            limit: at most so many.

        Raises:
            StoreError: the database cannot be read.
        """
        query = select(certificates).where(*_looked_up(wanted))
        if after is not None:
            query = query.where(_order(certificates) < _literal(after))
        with self._reading() as connection:
            end = None
            if wanted.is_scan:
                # Where the page ends is read first: rows that are deleted meanwhile make it
                # shorter, and never reach further than what is looked at.
                last = connection.execute(_last_of(wanted, after)).first()
                if last is None:
                    return CertificatePage([], frozenset(), None)
                end = Place(last.issued_at, last.serial, b"")
                query = query.where(_order(certificates) >= _literal(end))
            query = query.where(*_looked_at(wanted)).limit(limit)
            query = query.order_by(*(one.desc() for one in _order(certificates)))
            rows = [CertificateRow(*columns) for columns in connection.execute(query)]
            signed = SIGNED.where(requests.c.serial.in_([row.serial for row in rows]))
            keys = frozenset(CertificateKey(*one) for one in connection.execute(signed))
            if len(rows) == limit:
                end = place(rows[-1])
            return CertificatePage(rows, keys, end)

    def certificates(
        self,
        *,
        after: CertificateRow | None = None,
        limit: int | None = None,
        **wanted: Any,
    ) -> Iterator[CertificateRow]:
        """Return the certificates that are wanted, newest first, read a page at a time.

        Args:
            after: go on after this one.
            limit: at most so many; all when None.
            wanted: the attributes of a `CertificateFilter`.

        Raises:
            UsageError: as for `CertificateFilter`.
            StoreError: the database cannot be read.
        """
        which = CertificateFilter(**wanted)
        behind = None if after is None else place(after)
        left = limit
        while left is None or left > 0:
            page = self.certificate_page(
                which, after=behind, limit=PAGE if left is None else min(PAGE, left)
            )
            yield from page.rows
            if (behind := page.after) is None:
                return
            left = None if left is None else left - len(page.rows)


def _looked_up(wanted: CertificateFilter) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions for which there is an index."""
    if wanted.endpoint is not None:
        yield certificates.c.endpoint == wanted.endpoint
    if wanted.serial is not None:
        yield certificates.c.serial == wanted.serial
    if wanted.key is not None:
        yield certificates.c.public_key == wanted.key
    if wanted.issued_after is not None:
        yield certificates.c.issued_at >= wanted.issued_after
    if wanted.issued_before is not None:
        yield certificates.c.issued_at < wanted.issued_before


def _looked_at(wanted: CertificateFilter) -> list[ColumnElement[bool]]:
    """Return the conditions for which each certificate has to be looked at."""
    found: list[ColumnElement[bool]] = []
    if wanted.subject is not None:
        found.append(certificates.c.subject.icontains(wanted.subject, autoescape=True))
    if wanted.name is not None:
        found.append(certificates.c.names.icontains(wanted.name, autoescape=True))
    if wanted.expires_after is not None:
        found.append(wanted.expires_after <= _END)
    if wanted.expires_before is not None:
        found.append(wanted.expires_before > _END)
    if wanted.status is not None:
        found.append(_stands(wanted.status, wanted.now))
    return found


def place(row: CertificateRow) -> Place:
    """Return the place of a certificate in the list."""
    return Place(row.issued_at, row.serial, row.issuer)


def _order(table: FromClause) -> Tuple:
    return tuple_(table.c.issued_at, table.c.serial, table.c.issuer)


def _literal(at: Place) -> Tuple:
    return tuple_(
        literal(at.issued_at, UTCDateTime), literal(at.serial, SerialNumber), literal(at.issuer)
    )


def _last_of(wanted: CertificateFilter, after: Place | None) -> Select[Any]:
    """Return the statement for the place of the last row that a page looks through.

    That is one of an index alone, and therefore without the issuer: of those that differ in nothing
    else, all are looked at.
    """
    c = certificates.c
    rows = select(c.issued_at, c.serial).where(*_looked_up(wanted))
    if after is not None:
        at = tuple_(literal(after.issued_at, UTCDateTime), literal(after.serial, SerialNumber))
        pair = tuple_(c.issued_at, c.serial)
        rows = rows.where(pair <= at if after.issuer else pair < at)
    window = rows.order_by(c.issued_at.desc(), c.serial.desc()).limit(SCAN).subquery()
    return select(window).order_by(window.c.issued_at, window.c.serial).limit(1)


def _stands(status: CertificateStatus, now: datetime | None) -> ColumnElement[bool]:
    is_revoked = certificates.c.revoked_at.is_not(None)
    if status is CertificateStatus.REVOKED:
        return is_revoked
    if status is CertificateStatus.HELD:
        return and_(is_revoked, certificates.c.revocation_reason == HOLD)
    if status is CertificateStatus.PLANNED:
        is_final = and_(is_revoked, certificates.c.revocation_reason != HOLD)
        return and_(KEY.in_(_PLANNED), ~is_final)
    is_over = literal(now, UTCDateTime) > _END
    if status is CertificateStatus.EXPIRED:
        return and_(~is_revoked, is_over)
    is_valid = and_(~is_revoked, ~is_over)
    if status is CertificateStatus.VALID:
        return is_valid
    return and_(is_valid, KEY.in_(SIGNED))
