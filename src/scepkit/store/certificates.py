"""The certificates: found, listed, as OCSP asks for them, and along their renewals.

A certificate is renewed from one other at most, and any number may be renewed from it: a device
whose reply was lost, or a thief with a copied key, makes a second branch. So a chain is a tree, and
it is read by going up to the first certificate and from there down to all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, literal, or_, select, tuple_

from scepkit.errors import UsageError
from scepkit.store.database import Database
from scepkit.store.tables import SerialNumber, UTCDateTime, certificates
from scepkit.store.values import MAX_SERIAL_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select


class CertificateStatus(StrEnum):
    """The states to list certificates by; a revoked one stays revoked when it expires."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A stored certificate.

    `public_key` is the SHA-256 of its SubjectPublicKeyInfo and `issuer` that of the CA's, None
    until `Store.assign_issuer`; `revocation_reason` is a CRLReason code, `invalidity_date` since
    when its key is thought to be in wrong hands, `renews` the serial number of the certificate
    that it replaced, `names` its subject alternative names as `listed_names` writes them.
    """

    serial: int
    endpoint: str
    subject: str
    der: bytes
    not_before: datetime
    not_after: datetime
    public_key: bytes
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: int | None
    issuer: bytes | None
    renews: int | None
    revoked_by: str | None
    invalidity_date: datetime | None
    names: str = ""


class OCSPStatus(NamedTuple):
    """The status of a certificate: not revoked is None twice; `reason` is a CRLReason code."""

    revoked_at: datetime | None
    reason: int | None


# By the primary key; the certificate itself, which is most of the row, stays where it is.
_STATUS = select(
    certificates.c.serial, certificates.c.revoked_at, certificates.c.revocation_reason
).where(certificates.c.issuer == bindparam("of_issuer"))
STATUS = _STATUS.where(certificates.c.serial == bindparam("of_serial"))
# Written out anew for each number of serials, which for one would take longer than asking.
STATUSES = _STATUS.where(certificates.c.serial.in_(bindparam("of_serials", expanding=True)))
CERTIFICATE = select(certificates).where(certificates.c.serial == bindparam("serial"))
HOLD = 6  # certificateHold: the one reason that another may follow
_CHUNK = 500  # serial numbers in one statement


def _chains() -> Select[Any]:
    """Return one statement, so that what it reads is one state of the database."""
    start = select(certificates.c.serial, certificates.c.renews).where(
        certificates.c.serial.in_(bindparam("serials", expanding=True))
    )
    # UNION, and not UNION ALL: branches meet further up.
    up = start.cte("up", recursive=True)
    parent = certificates.alias("parent")
    up = up.union(select(parent.c.serial, parent.c.renews).where(parent.c.serial == up.c.renews))
    down = select(up.c.serial).where(up.c.renews.is_(None)).cte("down", recursive=True)
    child = certificates.alias("child")
    down = down.union(select(child.c.serial).where(child.c.renews == down.c.serial))
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


class CertificateRecords(Database):
    """The part of the store with the certificates."""

    def certificates(
        self,
        *,
        endpoint: str | None = None,
        status: CertificateStatus | None = None,
        subject: str | None = None,
        now: datetime | None = None,
        after: CertificateRow | None = None,
        limit: int | None = None,
    ) -> Iterator[CertificateRow]:
        """Return the certificates, newest first, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            status: only those that stand so; all when None.
            subject: only those whose subject has this somewhere, in any case of ASCII letters.
            now: aware; needed for valid and expired ones.
            after: go on after this one, as a page of a listing does.
            limit: at most so many; all when None.

        Raises:
            UsageError: `now` is needed.
            StoreError: the database cannot be read.
        """
        wanted = _filters(endpoint, status, subject, now)
        yield from self._pages(partial(_after, wanted), _row, after, limit)

    def has_issued(self, issuer: bytes) -> bool:
        """Say whether a CA has issued a certificate that is stored.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.

        Raises:
            StoreError: the database cannot be read.
        """
        query = select(certificates.c.serial).where(certificates.c.issuer == issuer).limit(1)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def certificate(self, serial: int) -> CertificateRow | None:
        """Return the certificate with that serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return certificate(connection, serial)

    def find_certificate(self, issuer: bytes, serial: int) -> CertificateRow | None:
        """Return the certificate with that serial number, if that CA issued it.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serial: the serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self.certificate(serial)
        return row if row is not None and row.issuer == issuer else None

    def ocsp_statuses(self, issuer: bytes, serials: Iterable[int]) -> dict[int, OCSPStatus]:
        """Return the status of certificates of a CA at this moment, expired ones included.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serials: some hundred numbers at most; those that no certificate can have cost nothing.

        Returns:
            Those that the CA issued, as far as the store has them, by their serial numbers.

        Raises:
            StoreError: the database cannot be read.
        """
        possible = [one for one in serials if one > 0 and one.bit_length() <= MAX_SERIAL_BITS]
        if not possible:
            return {}
        values: dict[str, object] = {"of_issuer": issuer}
        if len(possible) == 1:
            statement, values["of_serial"] = STATUS, possible[0]
        else:
            statement, values["of_serials"] = STATUSES, possible
        with self._reading() as connection:
            rows = connection.execute(statement, values).all()
        return {serial: OCSPStatus(revoked_at, reason) for serial, revoked_at, reason in rows}

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


def certificate(connection: Connection, serial: int) -> CertificateRow | None:
    """Return the certificate with that serial number."""
    row = connection.execute(CERTIFICATE, {"serial": serial}).first()
    return None if row is None else CertificateRow(*row)


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


def _filters(
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


def _after(wanted: Sequence[ColumnElement[bool]], after: CertificateRow | None) -> Select[Any]:
    order = certificates.c.issued_at, certificates.c.serial
    query = select(certificates).where(*wanted).order_by(order[0].desc(), order[1].desc())
    if after is None:
        return query
    last = literal(after.issued_at, UTCDateTime), literal(after.serial, SerialNumber)
    return query.where(tuple_(*order) < tuple_(*last))


def _row(columns: Sequence[Any]) -> CertificateRow:
    return CertificateRow(*columns)
