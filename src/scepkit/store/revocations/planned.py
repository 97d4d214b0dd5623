"""Revocations at a time to come: planned, cancelled, and done when they are due.

What is due is taken out of the plan and revoked in one transaction. So whoever does it, and however
often that is killed, each is done once; and what was cancelled before is not done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.certificates.records import HOLD, CertificateRow, certificate
from scepkit.store.database import Database
from scepkit.store.revocations.changes import outdate_all, revocation
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import planned_revocations
from scepkit.store.values import CertificateKey, check_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.revocations.changes import Change

CHUNK = 100  # revoked in one transaction: some ten milliseconds

_c = planned_revocations.c
_THIS_ONE = and_(_c.serial == bindparam("of_serial"), _c.issuer == bindparam("of_issuer"))
# The lock is PostgreSQL's: whoever revokes it, or plans to, waits.
HELD = (
    select(certificates)
    .where(
        certificates.c.serial == bindparam("of_serial"),
        certificates.c.issuer == bindparam("of_issuer"),
    )
    .with_for_update()
)
ADD = insert(planned_revocations)
DROP = delete(planned_revocations).where(_THIS_ONE)
DUE = (
    select(_c.serial, _c.issuer)
    .where(_c.due_at <= bindparam("now"))
    .order_by(_c.due_at, _c.serial, _c.issuer)
    .limit(CHUNK)
)
# Again with the time: it may have been planned anew meanwhile.
TAKE = DROP.where(_c.due_at <= bindparam("now")).returning(_c.reason, _c.by, _c.note)
ONE = select(_c.serial, _c.issuer, _c.due_at, _c.reason, _c.by, _c.note, _c.planned_at).where(
    _THIS_ONE
)


@dataclass(frozen=True, slots=True)
class PlannedRevocation:
    """A revocation at a time to come.

    `reason` is a CRLReason code, `by` who planned it, `note` why, for people.
    """

    serial: int
    issuer: bytes
    due_at: datetime
    reason: int
    by: str
    note: str
    planned_at: datetime

    @property
    def key(self) -> CertificateKey:
        """Return the certificate's name."""
        return CertificateKey(self.serial, self.issuer)


class PlannedRevocations(Database):
    """The part of the store with revocations at a time to come."""

    def plan_revocations(
        self,
        keys: Sequence[CertificateKey],
        *,
        due_at: datetime,
        reason: int,
        by: str,
        now: datetime,
        note: str = "",
    ) -> list[CertificateRow]:
        """Plan the revocation of some hundred certificates; the last plan for one stands.

        Args:
            keys: their names; those that are revoked for good stay as they are.
            due_at: when, aware.
            reason: a CRLReason code that revokes for good.
            by: who plans it, for the record.
            now: aware.
            note: why, for the record.

        Returns:
            Those that are planned by this.

        Raises:
            UsageError: a time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now, due_at)
        plan = {"due_at": due_at, "reason": reason, "by": by, "note": note, "planned_at": now}
        with self._writing("plan the revocation") as connection:
            # Sorted, so that on PostgreSQL two of these do not wait for each other.
            found = [connection.execute(HELD, _of(key)).first() for key in sorted(set(keys))]
            stored = [CertificateRow(*one) for one in found if one is not None]
            changed = [one for one in stored if _may_be_revoked(one)]
            for row in changed:
                connection.execute(DROP, _of(row.key))
                connection.execute(ADD, plan | row.key._asdict())
            action, details = AuditAction.REVOCATION_PLANNED, {"crl_reason": reason}
            due = {"due": time_text(due_at)}
            events = [_event(action, row, by, now, note, details | due) for row in changed]
            self._audit.append(connection, events)
        return changed

    def cancel_revocations(
        self, keys: Sequence[CertificateKey], *, by: str, now: datetime, note: str = ""
    ) -> list[CertificateRow]:
        """Cancel the planned revocations of some hundred certificates; return those that had one.

        Args:
            keys: their names.
            by: who cancels, for the record.
            now: aware.
            note: why, for the record.

        Raises:
            UsageError: the time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now)
        with self._writing("cancel the planned revocation") as connection:
            dropped = [
                key for key in sorted(set(keys)) if connection.execute(DROP, _of(key)).rowcount == 1
            ]
            found = [certificate(connection, key) for key in dropped]
            cancelled = [one for one in found if one is not None]
            action = AuditAction.REVOCATION_CANCELLED
            events = [_event(action, row, by, now, note, {}) for row in cancelled]
            self._audit.append(connection, events)
        return cancelled

    def planned_revocation(self, key: CertificateKey) -> PlannedRevocation | None:
        """Return the planned revocation of a certificate, if there is one.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(ONE, _of(key)).first()
        return None if row is None else PlannedRevocation(*row)

    def revoke_due(self, now: datetime) -> int:
        """Revoke what was to be revoked by now; return how many certificates that were.

        Raises:
            UsageError: the time has no zone.
            StoreError: the database cannot be written; what was done stays done.
        """
        check_times(now)
        count = 0
        while True:
            with self._reading() as connection:
                due = [CertificateKey(*row) for row in connection.execute(DUE, {"now": now})]
            if due:
                with self._writing("revoke what was planned") as connection:
                    # Sorted, and the audit records last, so that on PostgreSQL two of these, or
                    # one and a cancellation, do not wait for each other.
                    taken = [_revoke_planned(connection, key, now) for key in sorted(due)]
                    done = [one for one in taken if one is not None]
                    outdate_all(connection, [change for change, _ in done])
                    self._audit.append(connection, [one for _, events in done for one in events])
                count += sum(change.is_new for change, _ in done)
            if len(due) < CHUNK:
                return count


def _revoke_planned(
    connection: Connection, key: CertificateKey, now: datetime
) -> tuple[Change, list[AuditEvent]] | None:
    """Take a certificate out of the plan and revoke it; None if it was taken out before.

    Returns:
        How it stands, and the audit events of that.
    """
    # In the order of whoever plans: the certificate first.
    connection.execute(HELD, _of(key))
    planned = connection.execute(TAKE, {**_of(key), "now": now}).first()
    if planned is None:
        return None
    step = revocation(planned.reason, planned.by, planned.note, now, None)
    change = step.take(connection, [key])[key]
    return None if change is None else (change, step.events([change]))


def _may_be_revoked(row: CertificateRow) -> bool:
    return row.revoked_at is None or row.revocation_reason == HOLD


def _of(key: CertificateKey) -> dict[str, Any]:
    return {"of_serial": key.serial, "of_issuer": key.issuer}


def _event(
    action: AuditAction,
    row: CertificateRow,
    by: str,
    now: datetime,
    note: str,
    details: dict[str, Any],
) -> AuditEvent:
    return AuditEvent(
        action,
        by,
        now,
        endpoint=row.endpoint,
        serial=row.serial,
        subject=row.subject,
        reason=note,
        details={**details, "issuer_key": row.issuer.hex()},
    )
