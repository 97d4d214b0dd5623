"""The one atomic step, entry by entry: what stands in the way of one, and whose it is.

A certificate, its request and its spent challenge are written, or nothing. Or a request that has to
wait for a person: then there is no certificate yet, and its challenge is only looked at, to be
spent when the request is approved (`decisions`).

1. The transactionID belongs to another key: OtherOwner.
2. The same request was answered before: AlreadyAnswered. Before the challenge is judged, because
   a device that lost the reply comes again with a challenge that it spent itself (P-44).
3. The certificate to be renewed is revoked or unknown: SignerRevoked. Its row stays locked until
   the commit, so that a revocation comes before the renewal or after it.
4. As many requests wait already as may: QueueFull. Those that queue do so one after the other,
   whatever process they are of, so that no two can both take the last place (`check_room`).
5. Another key has a valid certificate for the subject, where that may have one: SubjectTaken.
6. The challenge is spent, void, expired or not of this endpoint: ChallengeSpent. One that is good
   for several certificates is spent with the last of them.
7. Otherwise everything is written: Recorded.

Two processes may both find 1 and 2 clear. The unique constraints let one of them through; the
other is rolled back to the savepoint and reads again what the first has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from scepkit.errors import StoreError
from scepkit.store.connections import savepoint
from scepkit.store.prepared import Prepared
from scepkit.store.requests.issuance_row import row_of
from scepkit.store.requests.issuances import (
    ANSWER,
    CLAIM,
    SPEND,
    SPENDABLE,
    NotRenewableError,
    NotSpendableError,
    check_renewable,
    issue,
    recorded,
    serial_is_taken,
    spend,
)
from scepkit.store.requests.records import QueueFullError, check_room, standing
from scepkit.store.revocations.replacements import SubjectTakenError
from scepkit.store.tables.requests import requests, transactions
from scepkit.store.values import (
    AlreadyAnswered,
    ChallengeSpent,
    Issuance,
    OtherOwner,
    QueuedEntry,
    QueueFull,
    Recorded,
    SignerRevoked,
    Status,
    StoredOutcome,
    SubjectTaken,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from scepkit.store.values import Answer, Conflict, NewEntry

CLAIM_ROW = Prepared(insert(transactions).returning(transactions.c.id))
QUEUE = Prepared(insert(requests).returning(requests.c.id))


def record(connection: Connection, entry: NewEntry) -> Answer:
    """Write one entry inside the connection's transaction; a conflict leaves nothing behind.

    Every statement is under a savepoint: PostgreSQL gives up the whole transaction after an error
    outside of one, and with it what the others of the batch have written.

    Raises:
        StoreError: the serial number is taken.
        SQLAlchemyError: the database failed.
    """
    try:
        return _attempt(connection, entry)
    except IntegrityError:
        # Somebody was first, which shows now; or a purge took the transaction from under it.
        try:
            return _attempt(connection, entry)
        except IntegrityError as error:
            raise _impossible(entry) from error


def _attempt(connection: Connection, entry: NewEntry) -> Answer:
    try:
        with savepoint(connection):
            before = standing(
                connection,
                entry.endpoint,
                entry.transaction_id,
                entry.signer_key,
                entry.fingerprint,
                entry.now,
            )
            if before.answer is not None:
                return _conflict(before.answer)
            return _write(connection, entry, before.transaction_row)
    except NotSpendableError:
        return ChallengeSpent()
    except NotRenewableError:
        return SignerRevoked()
    except SubjectTakenError:
        return SubjectTaken()
    except QueueFullError as full:
        return QueueFull(full.of_peer)


def _conflict(answer: StoredOutcome | OtherOwner) -> Conflict:
    return answer if isinstance(answer, OtherOwner) else AlreadyAnswered(answer)


def _impossible(entry: NewEntry) -> StoreError:
    if isinstance(entry, Issuance):
        return serial_is_taken(entry)
    return StoreError("the request cannot be stored", hint="report this as a bug")


def _write(connection: Connection, entry: NewEntry, transaction_row: int | None) -> Recorded:
    check_renewable(connection, entry)
    if isinstance(entry, QueuedEntry):
        return _queue(connection, entry, transaction_row or _claim(connection, entry))
    row = row_of(entry, connection.dialect.name)
    issue(connection, entry, row)
    if transaction_row is None:
        CLAIM.run(connection, row)
    ANSWER.run(connection, row)
    spend(connection, row, SPEND)
    return recorded(entry)


def queue(connection: Connection, queued: QueuedEntry) -> Recorded:
    """Write a request that waits, as the first of its transaction.

    If something stands in the way, the transaction is to be rolled back.

    Raises:
        NotSpendableError, NotRenewableError, QueueFullError, SQLAlchemyError: something does.
    """
    check_renewable(connection, queued)
    return _queue(connection, queued, _claim(connection, queued))


def _queue(connection: Connection, queued: QueuedEntry, transaction_row: int) -> Recorded:
    check_room(connection, queued)
    if queued.challenge_id is not None:
        values = {
            "challenge_id": queued.challenge_id,
            "of_endpoint": queued.endpoint,
            "now": queued.now,
        }
        if SPENDABLE.first(connection, values) is None:
            raise NotSpendableError
    request_id = _insert(
        connection, QUEUE, _waiting_row(queued) | {"transaction_row": transaction_row}
    )
    return Recorded(
        StoredOutcome(Status.PENDING, reply_secret=queued.reply_secret, request_id=request_id)
    )


def _claim(connection: Connection, entry: NewEntry) -> int:
    return _insert(connection, CLAIM_ROW, _claim_row(entry))


def _insert(connection: Connection, statement: Prepared, row: dict[str, Any]) -> int:
    """Insert a row; return its number."""
    returned = statement.first(connection, row)
    if returned is None:  # cannot be: both databases return it for a single row
        raise StoreError("the database returned no key", hint="report this as a bug")
    number: int = returned[0]
    return number


def _claim_row(entry: NewEntry) -> dict[str, Any]:
    """Return a row of `transactions`."""
    return {
        "endpoint": entry.endpoint,
        "transaction_id": entry.transaction_id,
        "signer_key": entry.signer_key,
    }


def _waiting_row(queued: QueuedEntry) -> dict[str, Any]:
    """Return a row of `requests` that waits, but for its transaction."""
    renewed = queued.renewed
    return {
        "fingerprint": queued.fingerprint,
        "message_type": queued.message_type,
        "csr": queued.csr,
        "csr_digest": queued.csr_digest,
        "subject": queued.subject,
        "issuer": queued.issuer,
        "reply_secret": queued.reply_secret,
        "peer": queued.peer or None,
        "created_at": queued.now,
        "renews": None if renewed is None else renewed.serial,
        "renews_issuer": None if renewed is None else renewed.issuer,
        "status": Status.PENDING.value,
        "challenge_id": queued.challenge_id,
        "expires_at": queued.expires_at,
        "passphrase": queued.passphrase,
        "queue": queued.endpoint,
        "waits_for": queued.waits_for,
    }
