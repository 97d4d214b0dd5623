"""The words of services outside, stored: on a request, and on a certificate that is signed.

Many services answer at once, or one answers many at once. So their words share commits with each
other and with the certificates that are recorded at the time (`group_commit`).
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import IntegrityError

from scepkit.store.assents import SAY, SAY_AGAIN, Assent
from scepkit.store.audit import AuditAction, AuditEvent
from scepkit.store.connections import savepoint
from scepkit.store.deliveries import (
    CESSATION_OF_OPERATION,
    DELIVER,
    ITS_CERTIFICATE,
    REFUSE,
    delivery_event,
    delivery_outcome,
)
from scepkit.store.group_commit import GroupCommits, Step
from scepkit.store.revocations import outdate_all, revocation
from scepkit.store.values import CertificateKey

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.values import StoredOutcome


class Verdicts(GroupCommits):
    """The part of the store that records the words of services outside."""

    def assent(self, assent: Assent, *, now: datetime) -> Future[None]:
        """Store a yes; the same one again counts from now on.

        Returns:
            A future, resolved after the commit, or StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        return self._writer.submit(_Assenting(assent, now), Future())

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


@dataclass(frozen=True, slots=True)
class _Assenting(Step):
    """The storing of a yes."""

    assent: Assent
    now: datetime

    def write(self, connection: Connection) -> tuple[None, list[AuditEvent]]:
        """Write it, or that it was said again."""
        if not connection.execute(SAY_AGAIN, self.assent.condition | {"now": self.now}).rowcount:
            # The same request at the same time, in another process, has said it.
            with suppress(IntegrityError), savepoint(connection):
                connection.execute(SAY, self.assent.columns | {"said_at": self.now})
        return None, []


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
        stands = delivery_outcome(connection, self.delivery)
        if not is_new:
            return stands, []
        event = delivery_event(
            AuditAction.DELIVERED, connection, stands, self.delivery, self.by, self.now
        )
        return stands, [event]


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
            return delivery_outcome(connection, self.delivery), []
        stands = delivery_outcome(connection, self.delivery)
        step = revocation(CESSATION_OF_OPERATION, self.by, self.reason, self.now, None)
        changes = step.take(connection, [CertificateKey(*signed)]).values()
        outdate_all(connection, changes)
        event = delivery_event(
            AuditAction.REJECTED, connection, stands, self.delivery, self.by, self.now
        )
        return stands, [event._replace(reason=self.reason), *step.events(changes)]
