"""The certificates that are signed and not delivered: a service has to agree before they are sent.

Such a certificate is stored, its challenge spent, and its request is `signed`: nobody is given it.
Its delivery has an id of its own, by which the service knows it in every attempt. Then it is
delivered, or the request is rejected and the certificate revoked, in one transaction (`verdicts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, select, update

from scepkit.errors import StoreError
from scepkit.store.audit import AuditEvent
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.requests import outcome, request
from scepkit.store.tables import IS_SIGNED, requests
from scepkit.store.values import Status

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.audit import AuditAction
    from scepkit.store.values import CertificateKey, StoredOutcome

CESSATION_OF_OPERATION = 5  # RFC 5280 section 5.3.1

_THIS_ONE = and_(IS_SIGNED, requests.c.delivery == bindparam("of_delivery"))
ITS_CERTIFICATE = select(requests.c.serial, requests.c.issuer).where(_THIS_ONE)
NUMBER = select(requests.c.id).where(requests.c.delivery == bindparam("of_delivery"))
DELIVER = update(requests).where(_THIS_ONE).values(waits_for=None, decided_at=bindparam("now"))
REFUSE = (
    update(requests)
    .where(_THIS_ONE)
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


class Deliveries(Database):
    """The part of the store with what is signed and not delivered."""

    def is_undelivered(self, key: CertificateKey) -> bool:
        """Say whether a certificate is signed and not delivered.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            values = {"of_serial": key.serial, "of_issuer": key.issuer}
            return IS_UNDELIVERED.first(connection, values) is not None

    def undelivered(self, before: datetime) -> int:
        """Count the certificates that are signed and not delivered, of requests from before that.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return connection.execute(UNDELIVERED, {"before": before}).scalar_one()


def delivery_outcome(connection: Connection, delivery: str) -> StoredOutcome:
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


def delivery_event(
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
