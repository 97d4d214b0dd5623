"""A change of how certificates stand: their rows and the record, in any transaction.

Whoever revokes goes this way: an operator, a plan, a certificate that takes the place of another,
a service that refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, bindparam, func, insert, or_, update

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.certificates.records import HOLD, certificate, renewed_from
from scepkit.store.column_types import UTCDateTime
from scepkit.store.revocations.crls import outdate
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import revocations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Update

    from scepkit.store.certificates.records import CertificateRow
    from scepkit.store.values import CertificateKey

REMOVE = 8  # removeFromCRL

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
            row = certificate(connection, key)
            found[key] = None if row is None else Change(row, is_new)
        return found

    def follow(self, connection: Connection, found: _Changes) -> None:
        """Change what was renewed from the certificates that were changed just now, and so on."""
        changed = [key for key, one in found.items() if one is not None and one.is_new]
        while changed:
            renewals = [one for one in renewed_from(connection, changed) if one not in found]
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


def release(by: str, note: str, now: datetime) -> _Step:
    """Return the action that takes certificates off hold."""
    return _Step(RELEASE, {}, _line(Action.RELEASE, REMOVE, by, note, now, None))


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
