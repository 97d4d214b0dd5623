"""Certificates that are signed, and delivered only when a service outside has agreed to that.

Such a certificate is stored, its challenge spent, and its request is `signed`: nobody is given it.
Its delivery has an id of its own, by which the service knows it in every attempt. Then it is
delivered, or the request is rejected and the certificate revoked, in one transaction.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, select, update

from scepkit.errors import StoreError
from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.certificates.records import certificate
from scepkit.store.committing.group_commit import GroupCommits, Step
from scepkit.store.prepared import Prepared
from scepkit.store.requests.records import outcome, request
from scepkit.store.revocations.changes import outdate_all, revocation
from scepkit.store.tables.requests import IS_SIGNED, requests
from scepkit.store.values import CertificateKey, Status

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.values import StoredOutcome

CESSATION_OF_OPERATION = 5  # RFC 5280 section 5.3.1

_THIS_DELIVERY = and_(IS_SIGNED, requests.c.delivery == bindparam("of_delivery"))
ITS_CERTIFICATE = select(requests.c.serial, requests.c.issuer).where(_THIS_DELIVERY)
OF_DELIVERY = select(requests.c.serial, requests.c.issuer).where(
    requests.c.delivery == bindparam("of_delivery")
)
NUMBER = select(requests.c.id).where(requests.c.delivery == bindparam("of_delivery"))
DELIVER = update(requests).where(_THIS_DELIVERY).values(waits_for=None, decided_at=bindparam("now"))
REFUSE = (
    update(requests)
    .where(_THIS_DELIVERY)
    .values(
        status=Status.REJECTED.value,
        serial=None,
        waits_for=None,
        fail_info=bindparam("its_fail_info"),
        reason=bindparam("its_reason"),
        decided_at=bindparam("now"),
        decided_by=bindparam("who"),
    )
)
IS_UNDELIVERED = Prepared(
    select(requests.c.id).where(
        IS_SIGNED,
        requests.c.serial == bindparam("of_serial"),
        requests.c.issuer == bindparam("of_issuer"),
    )
)
UNDELIVERED = (
    select(func.count())
    .select_from(requests)
    .where(IS_SIGNED, requests.c.created_at < bindparam("before"))
)


class SignedCertificates(GroupCommits):
    """The part of the store with the certificates that wait for a service's word."""

    def deliver(self, delivery: str, *, by: str, now: datetime) -> Future[StoredOutcome]:
        """Note that a certificate may be sent; again it changes nothing.

        Args:
            delivery: its id.
            by: the service that agreed.
            now: aware.

        Returns:
            A future, resolved after the commit, of what stands: the certificate, or what was
            decided before. Or StoreError, also where there is no such delivery.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        return self._writer.submit(_Delivering(delivery, by, now), Future())

    def refuse_delivery(
        self, delivery: str, *, fail_info: int, text: str, reason: str, by: str, now: datetime
    ) -> Future[StoredOutcome]:
        """Reject a request whose certificate is signed, and revoke that certificate.

        Args:
            delivery: its id.
            fail_info: the failInfo code for the device.
            text: the failInfoText for the device.
            reason: why, for the record.
            by: the service that refused.
            now: aware.

        Returns:
            A future, as that of `deliver`, of this rejection or of what was decided before.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        refusing = _Refusing(delivery, fail_info, text, reason, by, now)
        return self._writer.submit(refusing, Future())

    def is_undelivered(self, key: CertificateKey) -> bool:
        """Say whether a certificate is signed and not delivered.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"of_serial": key.serial, "of_issuer": key.issuer}
        return self._look_up(IS_UNDELIVERED, values) is not None

    def undelivered(self, before: datetime) -> int:
        """Count the certificates that are signed and not delivered, of requests from before that.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return connection.execute(UNDELIVERED, {"before": before}).scalar_one()


@dataclass(frozen=True, slots=True)
class _Delivering(Step):
    """The delivery of a certificate."""

    delivery: str
    by: str
    now: datetime

    def write(self, connection: Connection) -> tuple[StoredOutcome, list[AuditEvent]]:
        """Write that it may be sent, unless something else was decided before."""
        values = {"of_delivery": self.delivery, "now": self.now}
        is_new = connection.execute(DELIVER, values).rowcount == 1
        stands = _outcome(connection, self.delivery)
        if not is_new:
            return stands, []
        event = _event(AuditAction.DELIVERED, connection, stands, self.delivery, self.by, self.now)
        key = connection.execute(OF_DELIVERY, {"of_delivery": self.delivery}).one()
        return stands, [event._replace(about=certificate(connection, CertificateKey(*key)))]


@dataclass(frozen=True, slots=True)
class _Refusing(Step):
    """The refusal of a delivery."""

    delivery: str
    fail_info: int
    text: str
    reason: str
    by: str
    now: datetime

    def write(self, connection: Connection) -> tuple[StoredOutcome, list[AuditEvent]]:
        """Write the rejection and revoke the certificate, unless it was decided before."""
        signed = connection.execute(ITS_CERTIFICATE, {"of_delivery": self.delivery}).first()
        values: dict[str, Any] = {
            "of_delivery": self.delivery,
            "its_fail_info": self.fail_info,
            "its_reason": self.text,
            "who": self.by,
            "now": self.now,
        }
        if signed is None or connection.execute(REFUSE, values).rowcount != 1:
            return _outcome(connection, self.delivery), []
        stands = _outcome(connection, self.delivery)
        step = revocation(CESSATION_OF_OPERATION, self.by, self.reason, self.now, None)
        changes = step.take(connection, [CertificateKey(*signed)]).values()
        outdate_all(connection, changes)
        event = _event(AuditAction.REJECTED, connection, stands, self.delivery, self.by, self.now)
        return stands, [event._replace(reason=self.reason), *step.events(changes)]


def _outcome(connection: Connection, delivery: str) -> StoredOutcome:
    """Return what stands of a delivery.

    Raises:
        StoreError: there is no such delivery.
    """
    number = connection.scalar(NUMBER, {"of_delivery": delivery})
    found = None if number is None else outcome(connection, number, None)
    if found is None:
        raise StoreError(
            f"there is no delivery {delivery}", hint="was an old backup put in place meanwhile?"
        )
    return found


def _event(
    action: AuditAction,
    connection: Connection,
    stands: StoredOutcome,
    delivery: str,
    by: str,
    now: datetime,
) -> AuditEvent:
    """Return the audit event of what was decided on a delivery."""
    row = request(connection, stands.request_id or 0, None)
    details: dict[str, Any] = {"request": stands.request_id, "delivery": delivery}
    if stands.serial is not None and row is not None and row.issuer is not None:
        details["issuer_key"] = row.issuer.hex()
    return AuditEvent(
        action,
        by,
        now,
        endpoint=None if row is None else row.endpoint,
        serial=stands.serial,
        transaction_id=None if row is None else row.transaction_id,
        subject=stands.subject,
        details=details,
    )
