"""The words of services outside, stored: on a request, and on a certificate that is signed.

Many services answer at once, or one answers many at once. So their words share commits with each
other and with the certificates that are recorded at the time (`committing.group_commit`).

A yes before the signature is an assent. A service may spend a secret with it, so it is not asked
twice: a retransmission after a crash finds the yes here, with the answer that came with it. It is
good for one transactionID, one key that signed, and one PKCS#10; the first answer to them stays.
It is the word of one service: where another one is asked by now, that one's word counts.

A certificate that is signed is delivered only when a service has agreed to that. It is stored, its
challenge spent, and its request is `signed`: nobody is given it. Its delivery has an id of its own,
by which the service knows it in every attempt. Then it is delivered, or the request is rejected and
the certificate revoked, in one transaction.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import StoreError
from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.certificates.records import certificate
from scepkit.store.committing.group_commit import GroupCommits, Step
from scepkit.store.connections import savepoint
from scepkit.store.prepared import Prepared
from scepkit.store.requests.records import outcome, request
from scepkit.store.revocations.changes import outdate_all, revocation
from scepkit.store.tables.requests import IS_SIGNED, requests, transactions
from scepkit.store.tables.third_parties import assents
from scepkit.store.values import CertificateKey, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.values import StoredOutcome

_THIS_ASSENT = and_(
    assents.c.endpoint == bindparam("of_endpoint"),
    assents.c.transaction_id == bindparam("of_transaction_id"),
    assents.c.signer_key == bindparam("of_signer_key"),
    assents.c.csr_digest == bindparam("of_csr_digest"),
)
SAID = select(assents.c.said_at, assents.c.answer, assents.c.service).where(_THIS_ASSENT)
SAY_AGAIN = (
    update(assents)
    .where(
        _THIS_ASSENT,
        or_(
            assents.c.said_at < bindparam("since"),
            assents.c.service.is_(None),
            assents.c.service != bindparam("its_service"),
        ),
    )
    .values(
        said_at=bindparam("now"), answer=bindparam("its_answer"), service=bindparam("its_service")
    )
)
SAY = insert(assents)
# What waits is granted by the answer when its time comes.
FORGET = delete(assents).where(
    assents.c.said_at < bindparam("before"),
    ~exists().where(
        transactions.c.endpoint == assents.c.endpoint,
        transactions.c.transaction_id == assents.c.transaction_id,
        requests.c.transaction_row == transactions.c.id,
        requests.c.status == Status.PENDING.value,
    ),
)

_RECORDED = ("names", "validity_seconds")  # of an answer, in the audit record

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


StoredAnswer: TypeAlias = "Mapping[str, Any]"
"""The additions of a service to its yes, as JSON has them; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assent:
    """The request that a service said yes to.

    Attributes:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received.
        signer_key: SHA-256 of the request signer's SubjectPublicKeyInfo.
        csr_digest: SHA-256 of the PKCS#10 as received.
    """

    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    csr_digest: bytes

    @property
    def columns(self) -> dict[str, Any]:
        """Return the row's key."""
        return {
            "endpoint": self.endpoint,
            "transaction_id": self.transaction_id,
            "signer_key": self.signer_key,
            "csr_digest": self.csr_digest,
        }

    @property
    def condition(self) -> dict[str, Any]:
        """Return the parameters that find the row."""
        return {f"of_{name}": value for name, value in self.columns.items()}


class Verdicts(GroupCommits):
    """The part of the store that records the words of services outside."""

    def assent(
        self,
        assent: Assent,
        answer: StoredAnswer,
        *,
        service: bytes,
        by: str,
        now: datetime,
        since: datetime,
    ) -> Future[StoredAnswer]:
        """Store a yes with its answer, unless the service's own is there, no older than `since`.

        Args:
            assent: the request.
            answer: what the service added.
            service: SHA-256 of what tells the service from others.
            by: the service, for the record.
            now: aware.
            since: aware.

        Returns:
            A future, resolved after the commit, of the answer that stands. Or StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        return self._writer.submit(_Assenting(assent, answer, service, by, now, since), Future())

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

    def answer_to(
        self, assent: Assent, *, since: datetime | None = None, service: bytes | None = None
    ) -> StoredAnswer | None:
        """Return the answer that came with a yes; None where no yes is stored.

        Args:
            assent: the request.
            since: aware; an older yes does not count. None: any does.
            service: as in `assent`; that of another service does not count. None: any does.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            said = connection.execute(SAID, assent.condition).first()
            if said is None or (since is not None and said.said_at < since):
                return None
            if service is not None and said.service != service:
                return None
            return said.answer or {}

    def forget_assents(self, before: datetime) -> int:
        """Delete what was said before that, but of requests that wait; return how many.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("delete what is old") as connection:
            return connection.execute(FORGET, {"before": before}).rowcount

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
class _Assenting(Step):
    """The storing of a yes."""

    assent: Assent
    answer: StoredAnswer
    service: bytes
    by: str
    now: datetime
    since: datetime

    def write(self, connection: Connection) -> tuple[StoredAnswer, list[AuditEvent]]:
        """Write it in the place of one that counts no more, if any; return what stands."""
        condition, answer = self.assent.condition, dict(self.answer) or None
        said = {"said_at": self.now, "answer": answer, "service": self.service}
        values = condition | {
            "now": self.now,
            "since": self.since,
            "its_answer": answer,
            "its_service": self.service,
        }
        is_new = connection.execute(SAY_AGAIN, values).rowcount == 1
        if not is_new:
            # The same request at the same time may have said it, also in another process.
            with suppress(IntegrityError), savepoint(connection):
                connection.execute(SAY, self.assent.columns | said)
                is_new = True
        if is_new:
            return self.answer, [self._event()] if answer else []
        return connection.execute(SAID, condition).one().answer or {}, []

    def _event(self) -> AuditEvent:
        """Return the audit event of an answer; a yes alone is not recorded."""
        return AuditEvent(
            AuditAction.ANSWERED,
            self.by,
            self.now,
            endpoint=self.assent.endpoint,
            transaction_id=self.assent.transaction_id,
            subject=self.answer.get("subject"),
            details={name: self.answer[name] for name in _RECORDED if name in self.answer},
        )


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
