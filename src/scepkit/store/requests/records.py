"""The requests: how they stand, and how many may wait for a decision.

The bounds on those that wait, for one address and for one endpoint, are counted in the transaction
that adds one, and nobody else adds one until it is committed: on SQLite whoever writes is alone, on
PostgreSQL an advisory lock sees to it. Without the lock, two at once would each miss what the other
has not committed yet, and pass the bound together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, func, or_, select, text

from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.requests import IS_PENDING, requests, transactions
from scepkit.store.values import (
    BAD_REQUEST,
    EXPIRED_REASON,
    TELLER,
    CertificateKey,
    OtherOwner,
    Status,
    StoredOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.values import QueuedEntry

_OUTCOME = (
    requests.c.status,
    certificates.c.der,
    requests.c.fail_info,
    requests.c.reason,
    requests.c.serial,
    requests.c.reply_secret,
    requests.c.id,
    requests.c.subject,
    requests.c.waits_for,
    requests.c.delivery,
    requests.c.notice,
    requests.c.expires_at,
)
_ANSWER = (transactions.c.id, transactions.c.signer_key, *_OUTCOME)
_OF_TRANSACTION = and_(
    transactions.c.endpoint == bindparam("endpoint"),
    transactions.c.transaction_id == bindparam("transaction_id"),
)
_SAME_REQUEST = and_(
    requests.c.transaction_row == transactions.c.id,
    requests.c.fingerprint == bindparam("fingerprint"),
)
_ITS_CERTIFICATE = and_(
    requests.c.serial == certificates.c.serial, requests.c.issuer == certificates.c.issuer
)

# Outer joins: a known transactionID with an unknown request still has an owner.
ANSWERED = Prepared(
    select(*_ANSWER)
    .select_from(
        transactions.outerjoin(requests, _SAME_REQUEST).outerjoin(certificates, _ITS_CERTIFICATE)
    )
    .where(_OF_TRANSACTION)
)
NEWEST = Prepared(
    select(*_ANSWER)
    .select_from(transactions.join(requests).outerjoin(certificates, _ITS_CERTIFICATE))
    .where(_OF_TRANSACTION)
    .order_by(requests.c.id.desc())
    .limit(1)
)
OUTCOME = Prepared(
    select(*_OUTCOME)
    .select_from(requests.outerjoin(certificates, _ITS_CERTIFICATE))
    .where(requests.c.id == bindparam("request_id"))
)
REQUESTS = select(
    requests.c.id,
    transactions.c.endpoint,
    transactions.c.transaction_id,
    transactions.c.signer_key,
    requests.c.fingerprint,
    requests.c.message_type,
    requests.c.csr,
    requests.c.csr_digest,
    requests.c.subject,
    requests.c.issuer,
    requests.c.status,
    requests.c.fail_info,
    requests.c.reason,
    requests.c.serial,
    requests.c.challenge_id,
    requests.c.renews,
    requests.c.created_at,
    requests.c.decided_at,
    requests.c.expires_at,
    requests.c.decided_by,
    requests.c.peer,
    requests.c.waits_for,
    requests.c.approval_reason,
    requests.c.renews_issuer,
).join_from(requests, transactions)
REQUEST = REQUESTS.where(requests.c.id == bindparam("request_id"))
IN_TRANSACTION = REQUESTS.where(_OF_TRANSACTION).order_by(requests.c.id)
OF_CERTIFICATE = REQUESTS.where(
    requests.c.serial == bindparam("serial"), requests.c.issuer == bindparam("issuer")
)
# What is over by then no longer waits, though nobody may have written that yet.
IN_ALL = (
    select(func.count())
    .select_from(requests)
    .where(
        IS_PENDING,
        requests.c.queue == bindparam("endpoint"),
        or_(requests.c.expires_at.is_(None), requests.c.expires_at > bindparam("now")),
    )
)
OF_PEER = IN_ALL.where(requests.c.peer == bindparam("peer"))

# PostgreSQL drops the lock with the transaction. One lock for all endpoints: with several, two
# batches could take them in different orders. The key is "queueing" in ASCII.
ALONE = text("SELECT pg_advisory_xact_lock(:key)")
LOCK_KEY = int.from_bytes(b"queueing")


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A stored request.

    `issuer` and `csr_digest` are None only where an older scepkit stored it. `challenge_id` is
    that of a request that had to wait; otherwise the challenge names the certificate. `peer` is
    what the sender's address is counted under, None where nobody knew it. `waits_for` is whom it
    waits for, None for an operator. `reason` is what the device is told of a refusal,
    `approval_reason` what an operator noted.
    """

    id: int
    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    fingerprint: bytes
    message_type: int
    csr: bytes
    csr_digest: bytes | None
    subject: str | None
    issuer: bytes | None
    status: Status
    fail_info: int | None
    reason: str | None
    serial: int | None
    challenge_id: int | None
    renews: int | None
    created_at: datetime
    decided_at: datetime | None
    expires_at: datetime | None
    decided_by: str | None
    peer: str | None
    waits_for: str | None
    approval_reason: str | None = None
    renews_issuer: bytes | None = None

    @property
    def renewed(self) -> CertificateKey | None:
        """Return the name of the certificate that it asks to replace."""
        if self.renews is None or self.renews_issuer is None:
            return None
        return CertificateKey(self.renews, self.renews_issuer)


class StoredTransaction(NamedTuple):
    """The state of a request: its transaction's row, if any, and the answer, if any."""

    transaction_row: int | None
    answer: StoredOutcome | OtherOwner | None


class QueueFullError(Exception):
    """Takes back what was written of a request that may not wait.

    Args:
        of_peer: as in `QueueFull`.
    """

    def __init__(self, of_peer: bool) -> None:  # noqa: FBT001
        super().__init__()
        self.of_peer = of_peer


class RequestRecords(Database):
    """The part of the store with the requests, and with what was answered to them."""

    def lookup(
        self,
        endpoint: str,
        transaction_id: bytes,
        signer_key: bytes,
        fingerprint: bytes,
        *,
        now: datetime | None = None,
    ) -> StoredOutcome | OtherOwner | None:
        """Return the answer that this very request got before (P-43).

        Args:
            endpoint: the name of the SCEP endpoint.
            transaction_id: the transactionID as received.
            signer_key: SHA-256 of the signer's SubjectPublicKeyInfo.
            fingerprint: as in `Issuance`.
            now: aware; what waits but is over by then has expired. None: as written.

        Returns:
            The outcome; OtherOwner when the transactionID is another key's (P-46); None when the
            request is new.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {
            "endpoint": endpoint,
            "transaction_id": transaction_id,
            "fingerprint": fingerprint,
        }
        return _judged(self._look_up(ANSWERED, values), signer_key, now).answer

    def poll(
        self,
        endpoint: str,
        transaction_id: bytes,
        signer_key: bytes,
        *,
        now: datetime | None = None,
    ) -> StoredOutcome | OtherOwner | None:
        """Return the state of the newest request of a transaction (CertPoll, P-47).

        Args:
            endpoint: as in `lookup`, like the others.
            transaction_id: as in `lookup`.
            signer_key: as in `lookup`.
            now: as in `lookup`.

        Returns:
            The outcome; OtherOwner when the transactionID is another key's; None when unknown.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"endpoint": endpoint, "transaction_id": transaction_id}
        return _judged(self._look_up(NEWEST, values), signer_key, now).answer

    def request(self, request_id: int, *, now: datetime | None = None) -> RequestRow | None:
        """Return the request with that number; None when there is none.

        Args:
            request_id: its number, as lists have it.
            now: as in `RequestFilter`.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return request(connection, request_id, now)

    def requests_of(self, endpoint: str, transaction_id: bytes) -> list[RequestRow]:
        """Return the requests of a transaction, oldest first.

        Args:
            endpoint: the endpoint that they came to.
            transaction_id: the transactionID as received.

        Raises:
            StoreError: the database cannot be read.
        """
        of = {"endpoint": endpoint, "transaction_id": transaction_id}
        with self._reading() as connection:
            return [as_of(None, row) for row in connection.execute(IN_TRANSACTION, of)]

    def request_of(self, key: CertificateKey) -> RequestRow | None:
        """Return the request that got a certificate; None where it is not kept.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(OF_CERTIFICATE, key._asdict()).first()
            return None if row is None else as_of(None, row)


def standing(
    connection: Connection,
    endpoint: str,
    transaction_id: bytes,
    signer_key: bytes,
    fingerprint: bytes,
    now: datetime | None,
) -> StoredTransaction:
    """Look a request up in the connection's transaction; as `RequestRecords.lookup` does."""
    values = {
        "endpoint": endpoint,
        "transaction_id": transaction_id,
        "fingerprint": fingerprint,
    }
    return _judged(ANSWERED.first(connection, values), signer_key, now)


def _judged(
    row: Sequence[Any] | None, signer_key: bytes, now: datetime | None
) -> StoredTransaction:
    """Return what a row says to the key that asks.

    The owner is judged first: another key hears nothing of what is stored (P-46, P-47).
    """
    if row is None:
        return StoredTransaction(None, None)
    transaction_row, owner, *columns = row
    if owner != signer_key:
        return StoredTransaction(transaction_row, OtherOwner())
    if columns[0] is None:
        return StoredTransaction(transaction_row, None)
    return StoredTransaction(transaction_row, _outcome(columns, now))


def outcome(connection: Connection, request_id: int, now: datetime | None) -> StoredOutcome | None:
    """Return the state of the request with that number; None when there is none."""
    row = OUTCOME.first(connection, {"request_id": request_id})
    return None if row is None else _outcome(row, now)


def _outcome(columns: Sequence[Any], now: datetime | None) -> StoredOutcome:
    """Return the outcome; what waited too long has expired, though nobody may have written it."""
    status, der, fail_info, reason, serial, reply_secret, *who, expires_at = columns
    if _is_overdue(status, expires_at, now):
        status, fail_info, reason = Status.EXPIRED, BAD_REQUEST, EXPIRED_REASON
    number, subject, waits_for, delivery, notice = who
    state = _status(status, waits_for)
    if state not in (Status.PENDING, Status.SIGNED):
        waits_for = None  # its row may still say for whom it waited before it was decided
    answer = (state, der, fail_info, reason, serial, reply_secret)
    return StoredOutcome(*answer, number, subject, waits_for, delivery, notice or "")


def _status(status: str, waits_for: str | None) -> Status:
    """Return the state of a request; what is issued and not delivered is signed."""
    return Status.SIGNED if waits_for == TELLER else Status(status)


def request(connection: Connection, request_id: int, now: datetime | None) -> RequestRow | None:
    """Return the request with that number."""
    row = connection.execute(REQUEST, {"request_id": request_id}).first()
    return None if row is None else as_of(now, row)


def check_room(connection: Connection, queued: QueuedEntry) -> None:
    """Refuse one more that waits if there is no room; else nobody takes its place until the commit.

    Raises:
        QueueFullError: there is no room.
    """
    if queued.most_of_peer is None and queued.most is None:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(ALONE, {"key": LOCK_KEY})
    values = {"endpoint": queued.endpoint, "peer": queued.peer, "now": queued.now}
    # The address first: its rows are fewer, so that refusing one more of them costs little.
    if queued.peer and _reaches(connection.scalar(OF_PEER, values), queued.most_of_peer):
        raise QueueFullError(of_peer=True)
    del values["peer"]
    if _reaches(connection.scalar(IN_ALL, values), queued.most):
        raise QueueFullError(of_peer=False)


def _reaches(count: int | None, most: int | None) -> bool:
    return most is not None and count is not None and count >= most


def as_of(now: datetime | None, columns: Sequence[Any]) -> RequestRow:
    """Return a row of `REQUESTS` as it stands at a time; None: as written."""
    row = RequestRow(*columns)
    if _is_overdue(row.status, row.expires_at, now):
        return replace(row, status=Status.EXPIRED, fail_info=BAD_REQUEST, reason=EXPIRED_REASON)
    return replace(row, status=_status(row.status, row.waits_for))


def _is_overdue(status: str, expires_at: datetime | None, now: datetime | None) -> bool:
    """Say whether a request has waited for a decision until it expired; not without `now`."""
    waits_until = expires_at if status == Status.PENDING else None
    return waits_until is not None and now is not None and waits_until <= now
