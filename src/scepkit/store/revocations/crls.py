"""The CRLs and their numbers, apart for each CA.

Whether a CRL knows every revocation is told by numbers, not by times, since clocks differ and a
commit may come after a time that was taken before it. Whoever makes a CRL first reserves its
number, then reads what is revoked. A revocation or a release makes "needed" the number that is
reserved next: any CRL below it may have been read before that was there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.connections import savepoint
from scepkit.store.database import Database
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import crl_numbers, crls, revoked_serials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Insert, Update

PAGE = 5000  # rows of a CRL read at a time: about half a megabyte

_OF_ISSUER = crl_numbers.c.issuer == bindparam("of_issuer")
RESERVE = update(crl_numbers).where(_OF_ISSUER).values(last=crl_numbers.c.last + 1)
FIRST_NUMBER = insert(crl_numbers).values(issuer=bindparam("of_issuer"), last=1, needed=0)
LAST_NUMBER = select(crl_numbers.c.last).where(_OF_ISSUER)
OUTDATE = update(crl_numbers).where(_OF_ISSUER).values(needed=crl_numbers.c.last + 1)
FIRST_OUTDATED = insert(crl_numbers).values(issuer=bindparam("of_issuer"), last=0, needed=1)
_NEW_CRL: dict[str, Any] = {
    "number": bindparam("its_number"),
    "der": bindparam("its_der"),
    "this_update": bindparam("from_then"),
    "next_update": bindparam("until_then"),
}
REPLACE = (
    update(crls)
    .where(crls.c.issuer == bindparam("of_issuer"), crls.c.number < bindparam("its_number"))
    .values(_NEW_CRL)
)
FIRST_CRL = insert(crls).values(_NEW_CRL | {"issuer": bindparam("of_issuer")})
_IS_OUTDATED = crls.c.number < crl_numbers.c.needed
NEWEST = (
    select(crls.c.number, crls.c.der, crls.c.this_update, crls.c.next_update, _IS_OUTDATED)
    .join_from(crls, crl_numbers, crls.c.issuer == crl_numbers.c.issuer)
    .where(crls.c.issuer == bindparam("of_issuer"))
)
STATES = select(
    crls.c.number, crls.c.this_update, crls.c.next_update, _IS_OUTDATED, crls.c.issuer
).join_from(crls, crl_numbers, crls.c.issuer == crl_numbers.c.issuer)
STATE = STATES.where(crls.c.issuer == bindparam("of_issuer"))
REVOKED = (
    select(
        certificates.c.serial,
        certificates.c.revoked_at,
        certificates.c.revocation_reason,
        certificates.c.invalidity_date,
    )
    .where(
        certificates.c.issuer == bindparam("of_issuer"),
        certificates.c.revoked_at.is_not(None),
        certificates.c.not_after > bindparam("over"),
        certificates.c.serial > bindparam("last"),
    )
    .order_by(certificates.c.serial)
    .limit(bindparam("size"))
)
# Of which nobody knows the end, they are in every CRL.
REVOKED_ELSEWHERE = (
    select(
        revoked_serials.c.serial,
        revoked_serials.c.revoked_at,
        revoked_serials.c.reason,
        revoked_serials.c.invalidity_date,
    )
    .where(
        revoked_serials.c.issuer == bindparam("of_issuer"),
        or_(revoked_serials.c.not_after.is_(None), revoked_serials.c.not_after > bindparam("over")),
        revoked_serials.c.serial > bindparam("last"),
    )
    .order_by(revoked_serials.c.serial)
    .limit(bindparam("size"))
)


@dataclass(frozen=True, slots=True)
class RevokedRow:
    """A certificate's entry in a CRL; see `CertificateRow`."""

    serial: int
    revoked_at: datetime
    reason: int
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class CRLRow:
    """The newest CRL of a CA, DER.

    `outdated` says that a certificate was revoked since its number was reserved, so that it may
    lack it, whatever the clocks say.
    """

    number: int
    der: bytes = field(repr=False)
    this_update: datetime
    next_update: datetime
    outdated: bool


@dataclass(frozen=True, slots=True)
class CRLState:
    """The newest CRL of a CA but for its octets, of which there may be many; see `CRLRow`."""

    number: int
    this_update: datetime
    next_update: datetime
    outdated: bool


class CRLRecords(Database):
    """The part of the store with the CRLs, and with what is in them."""

    def revoked(self, issuer: bytes, *, not_after: datetime) -> Iterator[RevokedRow]:
        """Return the entries of a CRL in pages; reserve its number first (`reserve_crl_number`).

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            not_after: aware; only certificates that end after it.

        Raises:
            StoreError: the database cannot be read.
        """
        # In this order: an import moves a number to its certificate, and then outdates the CRL.
        for query in (REVOKED, REVOKED_ELSEWHERE):
            values: dict[str, Any] = {
                "of_issuer": issuer,
                "over": not_after,
                "size": PAGE,
                "last": 0,
            }
            rows: Sequence[Any] = [None] * PAGE
            while len(rows) == PAGE:
                with self._reading() as connection:
                    rows = connection.execute(query, values).all()
                yield from (RevokedRow(*row) for row in rows)
                values["last"] = rows[-1].serial if rows else 0

    def reserve_crl_number(self, issuer: bytes) -> int:
        """Return the next CRL number of a CA; never given twice, though a crash may leave a gap.

        To be reserved before `revoked` is read: what is revoked later makes the CRL outdated.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {"of_issuer": issuer}
        with self._writing("reserve a CRL number") as connection:
            _change(connection, RESERVE, FIRST_NUMBER, values)
            number: int = connection.execute(LAST_NUMBER, values).scalar_one()
            return number

    def put_crl(
        self, issuer: bytes, number: int, der: bytes, this_update: datetime, next_update: datetime
    ) -> None:
        """Store a CRL, unless one with its number or a higher one is there.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            number: its CRL number, reserved before.
            der: the CRL, DER.
            this_update: aware.
            next_update: aware.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {
            "of_issuer": issuer,
            "its_number": number,
            "its_der": der,
            "from_then": this_update,
            "until_then": next_update,
        }
        with self._writing("store the CRL") as connection:
            _change(connection, REPLACE, FIRST_CRL, values)

    def crl(self, issuer: bytes) -> CRLRow | None:
        """Return the newest CRL of a CA.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(NEWEST, {"of_issuer": issuer}).first()
        return None if row is None else CRLRow(*row)

    def crl_state(self, issuer: bytes) -> CRLState | None:
        """Return the facts about the newest CRL of a CA without reading the CRL; cheap.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(STATE, {"of_issuer": issuer}).first()
        return None if row is None else CRLState(*row[:-1])

    def crl_states(self) -> dict[bytes, CRLState]:
        """Return the same of the newest CRL of every CA that has one.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            rows = connection.execute(STATES).all()
        return {row[-1]: CRLState(*row[:-1]) for row in rows}


def outdate(connection: Connection, issuer: bytes) -> None:
    """Say, where something was revoked or released, that the CRL of its CA does not know it."""
    _change(connection, OUTDATE, FIRST_OUTDATED, {"of_issuer": issuer})


def _change(connection: Connection, change: Update, first: Insert, values: dict[str, Any]) -> None:
    """Change a row, or insert it where there is none; of two that insert, one changes it after.

    If it is there after all, but does not want the change, it stays as it is.
    """
    if connection.execute(change, values).rowcount:
        return
    try:
        with savepoint(connection):
            connection.execute(first, values)
    except IntegrityError:
        connection.execute(change, values)
