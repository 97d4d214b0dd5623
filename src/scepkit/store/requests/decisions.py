"""The decisions on requests that wait for a person: approved, rejected, expired.

Each decision is one transaction whose first write holds the request's row, so of an approval and a
rejection at once exactly one is written, and the other hears what stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import LargeBinary, and_, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import Hint, UsageError
from scepkit.store.audit.events import SERVER, AuditAction, AuditEvent
from scepkit.store.column_types import SerialNumber
from scepkit.store.database import PAGE, Database
from scepkit.store.requests.issuance_row import row_of
from scepkit.store.requests.issuances import (
    NotRenewableError,
    NotSpendableError,
    audit_event,
    check_renewable,
    issue,
    serial_is_taken,
    spend,
    spending,
)
from scepkit.store.requests.records import outcome, request
from scepkit.store.revocations.replacements import SubjectTakenError
from scepkit.store.tables.certificates import passphrases
from scepkit.store.tables.challenges import IS_OPEN
from scepkit.store.tables.requests import IS_PENDING, requests, transactions
from scepkit.store.values import (
    BAD_REQUEST,
    EXPIRED_REASON,
    AlreadyAnswered,
    ChallengeSpent,
    Recorded,
    SignerRevoked,
    Status,
    StoredOutcome,
    SubjectTaken,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.requests.records import RequestRow
    from scepkit.store.values import Answer, Issuance

_STILL_WAITS = and_(
    IS_PENDING,
    or_(requests.c.expires_at.is_(None), requests.c.expires_at > bindparam("now")),
)
_THIS_ONE = and_(requests.c.id == bindparam("request_id"), _STILL_WAITS)
HOLD = select(requests.c.id).where(_THIS_ONE).with_for_update()  # the lock is PostgreSQL's
APPROVE = (
    update(requests)
    .where(requests.c.id == bindparam("request_id"))
    .values(
        status=Status.ISSUED.value,
        serial=bindparam("its_serial"),
        issuer=bindparam("its_issuer"),
        decided_at=bindparam("its_decided_at"),
        decided_by=bindparam("by"),
        passphrase=None,
        waits_for=bindparam("its_waits_for"),
        delivery=bindparam("its_delivery"),
        notice=bindparam("its_notice"),
        approval_reason=bindparam("why"),
    )
)
REJECT = (
    update(requests)
    .where(_THIS_ONE)
    .values(
        status=Status.REJECTED.value,
        fail_info=bindparam("its_fail_info"),
        reason=bindparam("its_reason"),
        decided_at=bindparam("now"),
        decided_by=bindparam("by"),
        passphrase=None,
    )
)
EXPIRE = (
    update(requests)
    .where(IS_PENDING, requests.c.expires_at <= bindparam("now"))
    .values(
        status=Status.EXPIRED.value,
        fail_info=BAD_REQUEST,
        reason=EXPIRED_REASON,
        decided_at=bindparam("now"),
        passphrase=None,
    )
    .returning(requests.c.id)
)
EXPIRED = (
    select(
        requests.c.id, requests.c.subject, transactions.c.endpoint, transactions.c.transaction_id
    )
    .join(transactions, requests.c.transaction_row == transactions.c.id)
    .where(requests.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(requests.c.id)
)
TAKE_PASSPHRASE = insert(passphrases).from_select(
    ["serial", "issuer", "hidden"],
    select(
        bindparam("its_serial", type_=SerialNumber),
        bindparam("its_issuer", type_=LargeBinary),
        requests.c.passphrase,
    ).where(requests.c.id == bindparam("request_id"), requests.c.passphrase.is_not(None)),
)
# Whether the challenge has expired does not count: it was good when the request came.
SPEND = spending(IS_OPEN)


class Decisions(Database):
    """The part of the store with the decisions on requests that wait."""

    def approve(self, request_id: int, issuance: Issuance, *, by: str, reason: str = "") -> Answer:
        """Issue the certificate of a waiting request, in one atomic step.

        Args:
            request_id: the request's number.
            issuance: as for `Store.record`, with the request's own transactionID, challenge and so
                on; `issuance.now` is the time of the decision.
            by: who decided, for the record.
            reason: why, for the same.

        Returns:
            Recorded; or, with nothing written, AlreadyAnswered when it is decided or has expired,
            ChallengeSpent when another certificate took its challenge or somebody voided it,
            SignerRevoked when the certificate to be renewed was revoked, SubjectTaken when its
            subject has a certificate and may have one only.

        Raises:
            UsageError: there is no such request, or the issuance is for another one.
            StoreError: the database cannot be written, or the serial number is taken.
        """
        try:
            with self._writing("approve the request") as connection:
                answer = _approve(connection, request_id, issuance, by, reason)
                if isinstance(answer, Recorded):
                    event = _approved(request_id, issuance, by)._replace(reason=reason)
                    self._audit.append(connection, [event])
                return answer
        except NotSpendableError:
            return ChallengeSpent()
        except NotRenewableError:
            return SignerRevoked()
        except SubjectTakenError:
            return SubjectTaken()

    def reject(
        self, request_id: int, *, fail_info: int, reason: str, by: str, now: datetime
    ) -> StoredOutcome:
        """Refuse a waiting request.

        Args:
            request_id: the request's number.
            fail_info: the failInfo code for the device.
            reason: the failInfoText for the device.
            by: who decided, for the record.
            now: aware.

        Returns:
            What stands: this rejection, or what was decided before it.

        Raises:
            UsageError: there is no such request.
            StoreError: the database cannot be written.
        """
        values = {
            "request_id": request_id,
            "its_fail_info": fail_info,
            "its_reason": reason,
            "by": by,
            "now": now,
        }
        with self._writing("reject the request") as connection:
            is_new = connection.execute(REJECT, values).rowcount == 1
            found = _outcome(connection, request_id, now)
            row = request(connection, request_id, None)
            if is_new and row is not None:
                self._audit.append(connection, [_rejected(row, reason, by, now)])
            return found

    def expire(self, now: datetime) -> int:
        """Write down which requests have waited too long; to the devices it shows without.

        Args:
            now: aware.

        Returns:
            How many.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("expire requests") as connection:
            ids = [*connection.scalars(EXPIRE, {"now": now})]
            self._audit.append(connection, _lapsed(connection, ids, now))
            return len(ids)


def _approve(
    connection: Connection, request_id: int, issuance: Issuance, by: str, reason: str
) -> Answer:
    held = connection.execute(HOLD, {"request_id": request_id, "now": issuance.now}).first()
    if held is None:
        return AlreadyAnswered(_outcome(connection, request_id, issuance.now))
    _check_same(request(connection, request_id, None), issuance)
    check_renewable(connection, issuance)
    row = row_of(issuance, connection.dialect.name)
    try:
        issue(connection, issuance, row)
    except IntegrityError as error:
        raise serial_is_taken(issuance) from error
    values = {
        "request_id": request_id,
        "its_serial": issuance.serial,
        "its_issuer": issuance.issuer,
    }
    connection.execute(TAKE_PASSPHRASE, values)
    decision = {
        "its_decided_at": None if row.decided_at is None else issuance.now,
        "its_waits_for": row.waits_for,
        "its_delivery": row.delivery,
        "its_notice": row.notice,
        "by": by,
        "why": reason or None,
    }
    connection.execute(APPROVE, values | decision)
    spend(connection, row, SPEND)
    return Recorded(_outcome(connection, request_id, None))


def _approved(request_id: int, issuance: Issuance, by: str) -> AuditEvent:
    event = audit_event(issuance)
    return event._replace(
        action=AuditAction.APPROVED,
        actor=by,
        details={**(event.details or {}), "request": request_id},
    )


def _rejected(row: RequestRow, reason: str, by: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        AuditAction.REJECTED,
        by,
        now,
        endpoint=row.endpoint,
        transaction_id=row.transaction_id,
        subject=row.subject,
        challenge=row.challenge_id,
        reason=reason,
        details={"request": row.id},
    )


def _lapsed(connection: Connection, ids: list[int], now: datetime) -> list[AuditEvent]:
    return [
        AuditEvent(
            AuditAction.LAPSED,
            SERVER,
            now,
            endpoint=row.endpoint,
            transaction_id=row.transaction_id,
            subject=row.subject,
            details={"request": row.id},
        )
        for start in range(0, len(ids), PAGE)
        for row in connection.execute(EXPIRED, {"ids": ids[start : start + PAGE]})
    ]


def _check_same(row: RequestRow | None, issuance: Issuance) -> None:
    """Refuse a certificate for another request than the one approved, or without its challenge."""
    fields = (
        "endpoint",
        "transaction_id",
        "signer_key",
        "fingerprint",
        "challenge_id",
        "renewed",
    )
    if row is None or any(getattr(row, name) != getattr(issuance, name) for name in fields):
        raise UsageError(
            "the certificate is for another request than the one approved",
            hint=f"take these from the request's row: {', '.join(fields)}",
        )


def _outcome(connection: Connection, request_id: int, now: datetime | None) -> StoredOutcome:
    found = outcome(connection, request_id, now)
    if found is None:
        raise UsageError(f"there is no request {request_id}", hint=Hint.WAITING_REQUESTS)
    return found
