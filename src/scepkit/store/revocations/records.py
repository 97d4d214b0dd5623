"""Revoking certificates, for good or on hold, and releasing them; and the record of all that.

How a certificate stands is in its own row, which is read wherever that matters. What was done, by
whom and why is a line of its own in the record, written with it or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, update

from scepkit.store.certificates.records import find_key, find_keys, hold_renewals
from scepkit.store.database import Database
from scepkit.store.revocations.changes import (
    Action,
    Change,
    outdate_all,
    release,
    revocation,
)
from scepkit.store.revocations.crls import outdate
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import revocations
from scepkit.store.values import check_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from scepkit.store.certificates.records import Named


ADOPT = (
    update(certificates).where(certificates.c.issuer == b"").values(issuer=bindparam("of_issuer"))
)
HISTORY = (
    select(
        revocations.c.serial,
        revocations.c.action,
        revocations.c.reason,
        revocations.c.by,
        revocations.c.note,
        revocations.c.invalidity_date,
        revocations.c.at,
    )
    .where(
        revocations.c.serial == bindparam("of_serial"),
        revocations.c.issuer == bindparam("of_issuer"),
    )
    .order_by(revocations.c.id)
)
COUNTS = select(revocations.c.action, revocations.c.reason, func.count()).group_by(
    revocations.c.action, revocations.c.reason
)


@dataclass(frozen=True, slots=True)
class RevocationRow:
    """One line of the record of revocations: action, reason, operator and time.

    `reason` is a CRLReason code, 8 (removeFromCRL) for a release; `note` is for people.
    """

    serial: int
    action: Action
    reason: int
    by: str
    note: str
    invalidity_date: datetime | None
    at: datetime


class RevocationRecords(Database):
    """The part of the store that takes certificates back, and the record of that."""

    def assign_issuer(self, issuer: bytes) -> int:
        """Say who issued the certificates of before the store kept issuers: there was one CA.

        Args:
            issuer: SHA-256 of that CA's SubjectPublicKeyInfo.

        Returns:
            How many certificates had none; 0 from the second time on.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("bring the certificates up to date") as connection:
            count = connection.execute(ADOPT, {"of_issuer": issuer}).rowcount
            if count:
                outdate(connection, issuer)
            return count

    def revoke(
        self,
        named: Named,
        *,
        reason: int,
        by: str,
        now: datetime,
        note: str = "",
        invalidity_date: datetime | None = None,
    ) -> Change | None:
        """Revoke a certificate, or put it on hold; the first reason stands, unless it was a hold.

        Args:
            named: its name, or its serial number alone.
            reason: a CRLReason code (RFC 5280 section 5.3.1) that revokes; 6 is a hold.
            by: who revokes, for the record.
            now: aware.
            note: why, for the record.
            invalidity_date: since when its key is thought to be in wrong hands, aware; None if
                nobody knows.

        Returns:
            The certificate as it stands; None when there is none with that number.

        Raises:
            UsageError: a time has no zone, or several CAs have issued that serial number.
            StoreError: the database cannot be written.
        """
        (change,) = self.revoke_all(
            [named], reason=reason, by=by, now=now, note=note, invalidity_date=invalidity_date
        )
        return change

    def revoke_all(
        self,
        named: Sequence[Named],
        *,
        reason: int,
        by: str,
        now: datetime,
        note: str = "",
        invalidity_date: datetime | None = None,
        and_renewals: bool = False,
    ) -> list[Change | None]:
        """Revoke some hundred certificates in one transaction, which nobody else can write in.

        Args:
            named: as in `revoke`.
            reason: as in `revoke`, like the others.
            by: as in `revoke`.
            now: as in `revoke`.
            note: as in `revoke`.
            invalidity_date: as in `revoke`.
            and_renewals: whether what was renewed from those that are revoked now is revoked with
                them, and so on. When this returns nothing renews from any of them any more, so
                that no renewal at the same moment is missed.

        Returns:
            How each of them stands, in the order of `named`; then those that were revoked
            because of `and_renewals` and are not among them.

        Raises:
            UsageError: a time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now, *([] if invalidity_date is None else [invalidity_date]))
        step = revocation(reason, by, note, now, invalidity_date)
        with self._writing("revoke the certificate") as connection:
            if and_renewals:
                hold_renewals(connection)
            keys = find_keys(connection, named)
            found = step.take(connection, keys)
            if and_renewals:
                step.follow(connection, found)
            outdate_all(connection, found.values())
            self._audit.append(connection, step.events(found.values()))
        asked = set(keys)
        more = (change for key, change in found.items() if key not in asked)
        return [
            *(None if key is None else found[key] for key in keys),
            *(one for one in more if one and one.is_new),
        ]

    def release(self, named: Named, *, by: str, now: datetime, note: str = "") -> Change | None:
        """Take a certificate off hold (removeFromCRL); one that is not on hold stays as it is.

        Args:
            named: as in `revoke`.
            by: who releases, for the record.
            now: aware.
            note: why, for the record.

        Returns:
            The certificate as it stands; None when there is none with that number.

        Raises:
            UsageError: the time has no zone.
            StoreError: the database cannot be written.
        """
        (change,) = self.release_all([named], by=by, now=now, note=note)
        return change

    def release_all(
        self, named: Sequence[Named], *, by: str, now: datetime, note: str = ""
    ) -> list[Change | None]:
        """Take some hundred certificates off hold in one transaction; the rest as in `release`.

        Returns:
            How each of them stands, in the order of `named`.
        """
        check_times(now)
        step = release(by, note, now)
        with self._writing("release the certificate") as connection:
            keys = find_keys(connection, named)
            found = step.take(connection, keys)
            outdate_all(connection, found.values())
            self._audit.append(connection, step.events(found.values()))
        return [None if key is None else found[key] for key in keys]

    def revocation_history(self, named: Named) -> tuple[RevocationRow, ...]:
        """Return all revocations, holds and releases of a certificate, the oldest first.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            key = find_key(connection, named)
            of = {} if key is None else {"of_serial": key.serial, "of_issuer": key.issuer}
            rows = connection.execute(HISTORY, of).all() if key else []
        return tuple(
            RevocationRow(of_serial, Action(action), *rest) for of_serial, action, *rest in rows
        )

    def revocation_counts(self) -> dict[tuple[Action, int], int]:
        """Return the number of times of each action and reason, as far as it is not purged.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            rows = connection.execute(COUNTS).all()
        return {(Action(action), reason): count for action, reason, count in rows}
