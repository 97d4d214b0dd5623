"""Calls to renew early: one row for all certificates of a CA, of a subject, or of everybody.

A call is for what was issued before it. What was renewed since, has been renewed: nobody has to
write that down for ten thousand certificates. A planned revocation is a call for its certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select

from scepkit.errors import UsageError
from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.column_types import UTCDateTime
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.certificates import certificates, early_renewals
from scepkit.store.tables.revocations import planned_revocations
from scepkit.store.values import check_times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from scepkit.store.certificates.records import CertificateRow

MOST = 100
"""Calls at one time: whoever asks when to renew has all of them looked through."""

_c, _planned = early_renewals.c, planned_revocations.c
# What may be NULL is bound to be so by its type: PostgreSQL would not know it.
CALLS = Prepared(
    select(_c.called_at, _c.until, _c.explanation).where(
        _c.called_at >= bindparam("its_issue", type_=UTCDateTime),
        or_(_c.issuer.is_(None), _c.issuer == bindparam("of_issuer", type_=_c.issuer.type)),
        or_(
            _c.subject_digest.is_(None),
            _c.subject_digest == bindparam("of_subject", type_=_c.subject_digest.type),
        ),
    )
)
PLANNED = Prepared(
    select(_planned.planned_at, _planned.due_at).where(
        _planned.serial == bindparam("of_serial"), _planned.issuer == bindparam("of_issuer")
    )
)
RENEWED = Prepared(
    select(certificates.c.serial)
    .where(
        certificates.c.renews == bindparam("of_serial"),
        certificates.c.renews_issuer == bindparam("of_issuer"),
        certificates.c.revoked_at.is_(None),
    )
    .limit(1)
)
ADD = insert(early_renewals).returning(_c.id)
ALL = select(early_renewals).order_by(_c.id)
COUNT = select(func.count()).select_from(early_renewals)
DROP = delete(early_renewals).where(_c.id == bindparam("its_id")).returning(early_renewals)
# All that was issued before it is gone by then, or renewed and gone.
OVER = delete(early_renewals).where(
    _c.called_at < select(func.min(certificates.c.issued_at)).scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Called:
    """The certificates that are called to be renewed.

    Attributes:
        issuer: SHA-256 of their CA's SubjectPublicKeyInfo; None for those of all.
        subject_digest: what their subjects have in common; None for those of all.
        subject: as text.
    """

    issuer: bytes | None = None
    subject_digest: bytes | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class EarlyRenewal:
    """A call to renew early.

    `until` is the end of the time over which the renewals are spread, `by` who called, `reason`
    why, and `explanation` a page about it; "" for none.
    """

    id: int
    called_at: datetime
    until: datetime
    issuer: bytes | None
    subject_digest: bytes | None
    subject: str | None
    by: str
    reason: str
    explanation: str


class Pull(NamedTuple):
    """A time in which a certificate is to be renewed, before its usual one.

    Attributes:
        start: aware.
        end: aware.
        explanation: a page about it; "" for none.
        is_revoked: whether the certificate is revoked at the end.
    """

    start: datetime
    end: datetime
    explanation: str = ""
    is_revoked: bool = False


class EarlyRenewals(Database):
    """The part of the store with calls to renew early."""

    def pulls(self, row: CertificateRow, *, even_renewed: bool = False) -> list[Pull]:
        """Return the times in which a certificate is to be renewed early.

        Args:
            row: the certificate.
            even_renewed: whether it matters though the certificate was renewed.

        Raises:
            StoreError: the database cannot be read.
        """
        key = {"of_serial": row.serial, "of_issuer": row.issuer}
        values = {
            "its_issue": row.issued_at,
            "of_issuer": row.issuer,
            "of_subject": row.subject_digest,
        }
        with self._reading() as connection:
            found = [Pull(*call) for call in CALLS.all(connection, values)]
            planned = PLANNED.all(connection, key)
            found += [Pull(start, end, is_revoked=True) for start, end in planned]
            if found and not even_renewed and RENEWED.first(connection, key) is not None:
                return []
        return found

    def call_early(
        self,
        called: Called,
        *,
        until: datetime,
        by: str,
        now: datetime,
        reason: str = "",
        explanation: str = "",
    ) -> int:
        """Call certificates that were issued by now to be renewed early.

        Args:
            called: which ones.
            until: the end of the time over which they are spread, aware.
            by: who calls, for the record.
            now: aware.
            reason: why, for the record.
            explanation: a page about it.

        Returns:
            The number of the call.

        Raises:
            UsageError: a time has no zone, or there are too many calls.
            StoreError: the database cannot be written.
        """
        check_times(now, until)
        values = {
            "called_at": now,
            "until": until,
            "issuer": called.issuer,
            "subject_digest": called.subject_digest,
            "subject": called.subject,
            "by": by,
            "reason": reason,
            "explanation": explanation,
        }
        action = AuditAction.EARLY_RENEWAL_CALLED
        with self._writing("call for early renewals") as connection:
            if (connection.scalar(COUNT) or 0) >= MOST:
                raise UsageError(
                    f"there are {MOST} calls to renew early already",
                    hint="cancel those that are over",
                )
            number = int(connection.execute(ADD, values).scalar_one())
            details = {"call": number, "until": time_text(until)}
            if called.issuer is not None:
                details["issuer_key"] = called.issuer.hex()
            event = AuditEvent(
                action, by, now, subject=called.subject, reason=reason, details=details
            )
            self._audit.append(connection, [event])
        return number

    def early_renewals(self) -> list[EarlyRenewal]:
        """Return the calls to renew early, the oldest first.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return [EarlyRenewal(*row) for row in connection.execute(ALL)]

    def cancel_early(
        self, number: int, *, by: str, now: datetime, reason: str = ""
    ) -> EarlyRenewal | None:
        """Cancel a call to renew early; return it, or None if there is none of that number.

        Args:
            number: the call's.
            by: who cancels, for the record.
            now: aware.
            reason: why, for the record.

        Raises:
            UsageError: the time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now)
        action = AuditAction.EARLY_RENEWAL_CANCELLED
        with self._writing("cancel the call for early renewals") as connection:
            row = connection.execute(DROP, {"its_id": number}).first()
            if row is None:
                return None
            found = EarlyRenewal(*row)
            details = {"call": number}
            event = AuditEvent(
                action, by, now, subject=found.subject, reason=reason, details=details
            )
            self._audit.append(connection, [event])
        return found

    def count_called(self, called: Called, now: datetime) -> int:
        """Count the certificates that are valid now and would be called.

        All certificates are looked through, unless they are those of a subject.

        Raises:
            StoreError: the database cannot be read.
        """
        query = select(func.count()).select_from(certificates).where(*_valid(called, now))
        with self._reading() as connection:
            return int(connection.scalar(query) or 0)

    def forget_early(self) -> int:
        """Delete the calls that are for no certificate any more; return how many.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("delete what is old") as connection:
            return connection.execute(OVER).rowcount


def _valid(called: Called, now: datetime) -> Iterator[ColumnElement[bool]]:
    next_one = certificates.alias("next_one")
    yield certificates.c.revoked_at.is_(None)
    yield certificates.c.not_after > now
    yield ~exists().where(
        and_(
            next_one.c.renews == certificates.c.serial,
            next_one.c.renews_issuer == certificates.c.issuer,
            next_one.c.revoked_at.is_(None),
        )
    )
    if called.issuer is not None:
        yield certificates.c.issuer == called.issuer
    if called.subject_digest is not None:
        yield certificates.c.subject_digest == called.subject_digest
