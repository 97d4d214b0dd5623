"""Revoking certificates, for good or on hold, and releasing them; and the record of all that.

How a certificate stands is in its own row, which is read wherever that matters. What was done, by
whom and why is a line of its own in the record, written with it or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, bindparam, func, insert, or_, select, update

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.certificates import records as rows
from scepkit.store.certificates.records import HOLD, find_key, find_keys
from scepkit.store.column_types import UTCDateTime
from scepkit.store.crls import outdate
from scepkit.store.database import Database
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import revocations
from scepkit.store.values import check_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Update

    from scepkit.store.certificates.records import CertificateRow, Named
    from scepkit.store.values import CertificateKey

REMOVE = 8  # removeFromCRL

ADOPT = (
    update(certificates).where(certificates.c.issuer == b"").values(issuer=bindparam("of_issuer"))
)
_THIS_ONE = and_(
    certificates.c.serial == bindparam("of_serial"), certificates.c.issuer == bindparam("of_issuer")
)
_IS_HELD = and_(certificates.c.revoked_at.is_not(None), certificates.c.revocation_reason == HOLD)
_NOW = bindparam("now", type_=UTCDateTime)
_INVALIDITY_DATE = bindparam("its_invalidity_date", type_=UTCDateTime)
# A revocation counts from the hold before it, as X.509 has it for this reason code: what was not
# good in between does not become good by it.
REVOKE = (
    update(certificates)
    .where(_THIS_ONE, or_(certificates.c.revoked_at.is_(None), _IS_HELD))
    .values(
        revoked_at=func.coalesce(certificates.c.revoked_at, _NOW),
        revocation_reason=bindparam("its_reason"),
        revoked_by=bindparam("who"),
        invalidity_date=func.coalesce(_INVALIDITY_DATE, certificates.c.invalidity_date),
    )
)
PUT_ON_HOLD = (
    update(certificates)
    .where(_THIS_ONE, certificates.c.revoked_at.is_(None))
    .values(
        revoked_at=_NOW,
        revocation_reason=bindparam("its_reason"),
        revoked_by=bindparam("who"),
        invalidity_date=_INVALIDITY_DATE,
    )
)
RELEASE = (
    update(certificates)
    .where(_THIS_ONE, _IS_HELD)
    .values(revoked_at=None, revocation_reason=None, revoked_by=None, invalidity_date=None)
)
NOTE = insert(revocations)
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
class Change:
    """The standing of a certificate after a revocation or a release was asked for.

    `is_new` says whether this call changed that; otherwise it stood so before, or could not be
    changed any more.
    """

    certificate: CertificateRow
    is_new: bool


_Changes: TypeAlias = "dict[CertificateKey, Change | None]"


class Action(StrEnum):
    """An action on a certificate in the record of revocations."""

    REVOKE = "revoke"
    HOLD = "hold"
    RELEASE = "release"


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
                rows.hold_renewals(connection)
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
        step = _Step(RELEASE, {}, _line(Action.RELEASE, REMOVE, by, note, now, None))
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
            rows = connection.execute(HISTORY, _of(key)).all() if key else []
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


@dataclass(frozen=True, slots=True)
class _Step:
    """An action on certificates.

    Attributes:
        update: changes the row of one if it may be changed.
        values: of that statement, but for the certificate's name.
        line: of the record, but for the certificate's name.
    """

    update: Update
    values: dict[str, Any]
    line: dict[str, Any]

    def take(self, connection: Connection, keys: Iterable[CertificateKey | None]) -> _Changes:
        """Change those of the certificates that may be changed, and write that down."""
        found: _Changes = {}
        # Sorted, so that on PostgreSQL two of these do not wait for each other.
        for key in sorted({one for one in keys if one is not None}):
            is_new = connection.execute(self.update, self.values | _of(key)).rowcount == 1
            if is_new:
                connection.execute(NOTE, self.line | key._asdict())
            row = rows.certificate(connection, key)
            found[key] = None if row is None else Change(row, is_new)
        return found

    def follow(self, connection: Connection, found: _Changes) -> None:
        """Change what was renewed from the certificates that were changed just now, and so on."""
        changed = [key for key, one in found.items() if one is not None and one.is_new]
        while changed:
            renewals = [one for one in rows.renewed_from(connection, changed) if one not in found]
            more = self.take(connection, renewals)
            found.update(more)
            changed = [key for key, one in more.items() if one is not None and one.is_new]

    def events(self, changes: Iterable[Change | None]) -> list[AuditEvent]:
        """Return the audit events of what was changed."""
        line = self.line
        details: dict[str, Any] = {"crl_reason": line["reason"]}
        if line["invalidity_date"] is not None:
            details["invalidity_date"] = time_text(line["invalidity_date"])
        return [
            AuditEvent(
                _AUDITED[Action(line["action"])],
                line["by"],
                line["at"],
                endpoint=one.certificate.endpoint,
                serial=one.certificate.serial,
                subject=one.certificate.subject,
                reason=line["note"],
                details={**details, "issuer_key": one.certificate.issuer.hex()},
                about=one.certificate,
            )
            for one in changes
            if one is not None and one.is_new
        ]


_AUDITED = {
    Action.REVOKE: AuditAction.REVOKED,
    Action.HOLD: AuditAction.HELD,
    Action.RELEASE: AuditAction.RELEASED,
}


def revocation(
    reason: int, by: str, note: str, now: datetime, invalidity_date: datetime | None
) -> _Step:
    """Return the action that revokes certificates, or puts them on hold."""
    values = {
        "its_reason": reason,
        "who": by,
        "now": now,
        "its_invalidity_date": invalidity_date,
    }
    action, update_row = (Action.HOLD, PUT_ON_HOLD) if reason == HOLD else (Action.REVOKE, REVOKE)
    return _Step(update_row, values, _line(action, reason, by, note, now, invalidity_date))


def _of(key: CertificateKey) -> dict[str, Any]:
    return {"of_serial": key.serial, "of_issuer": key.issuer}


def _line(
    action: Action,
    reason: int,
    by: str,
    note: str,
    now: datetime,
    invalidity_date: datetime | None,
) -> dict[str, Any]:
    return {
        "action": action.value,
        "reason": reason,
        "by": by,
        "note": note,
        "invalidity_date": invalidity_date,
        "at": now,
    }


def outdate_all(connection: Connection, changes: Iterable[Change | None]) -> None:
    """Have new CRLs made by the CAs of certificates that were changed."""
    issuers = {one.certificate.issuer for one in changes if one is not None and one.is_new}
    for issuer in sorted(one for one in issuers if one):
        outdate(connection, issuer)
