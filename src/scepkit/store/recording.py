"""The one atomic step: a certificate, its request and its spent challenge, or nothing.

1. The transactionID belongs to another key: OtherOwner.
2. The same request was answered before: AlreadyAnswered. Before the challenge is judged, because
   a device that lost the reply comes again with a challenge that it spent itself (P-44).
3. The challenge is spent, expired or not of this endpoint: ChallengeSpent.
4. Otherwise everything is written: Recorded.

Two processes may both find 1 and 2 clear. The unique constraints let one of them through; the
other is rolled back to the savepoint and reads again what the first has written.

Nearly always nothing stands in the way, so a batch is first written as a whole, table by table,
which takes a third of the time; if a constraint objects, all of it is rolled back and written one
by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import StoreError
from scepkit.store import queries
from scepkit.store.engine import savepoint
from scepkit.store.tables import certificates, challenges, requests, transactions
from scepkit.store.values import (
    AlreadyAnswered,
    ChallengeSpent,
    OtherOwner,
    Outcome,
    Recorded,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from scepkit.store.values import Answer, Conflict, Issuance

CLAIM = insert(transactions)
ISSUE = insert(certificates)
ANSWER = insert(requests)
# The same, for a transaction whose row was claimed a moment ago.
ANSWER_CLAIMED = insert(requests).values(
    transaction_row=select(transactions.c.id)
    .where(
        and_(
            transactions.c.endpoint == bindparam("of_endpoint"),
            transactions.c.transaction_id == bindparam("of_transaction_id"),
        )
    )
    .scalar_subquery()
)
# The condition is the guard: of two that spend the same challenge, one changes no row.
SPEND = (
    update(challenges)
    .where(
        and_(
            challenges.c.id == bindparam("challenge_id"),
            challenges.c.endpoint == bindparam("of_endpoint"),
            challenges.c.spent_at.is_(None),
            challenges.c.expires_at > bindparam("now"),
        )
    )
    .values(spent_at=bindparam("now"), spent_serial=bindparam("by_serial"))
)


def record_all(connection: Connection, issuances: Sequence[Issuance]) -> list[Answer]:
    """Write several issuances inside the connection's transaction, if nothing stands in the way.

    Returns:
        One Recorded for each.

    Raises:
        NotSpendableError, SQLAlchemyError: the transaction is to be rolled back; `record` shows
            what stands in whose way.
    """
    connection.execute(ISSUE, [_certificate(i) for i in issuances])
    connection.execute(CLAIM, [_transaction(i) for i in issuances])
    connection.execute(ANSWER_CLAIMED, [_request(i) | _claimed(i) for i in issuances])
    _spend(connection, [i for i in issuances if i.challenge_id is not None])
    return [_recorded(i) for i in issuances]


def record(connection: Connection, issuance: Issuance) -> Answer:
    """Write one issuance inside the connection's transaction; a conflict leaves nothing behind.

    Every statement is under a savepoint: PostgreSQL gives up the whole transaction after an error
    outside of one, and with it what the others of the batch have written.

    Raises:
        StoreError: the serial number is taken.
        SQLAlchemyError: the database failed.
    """
    try:
        with savepoint(connection):
            before = _standing(connection, issuance)
            if before.answer is not None:
                return _conflict(before.answer)
            _write(connection, issuance, before.transaction_row)
            _spend(connection, [issuance] if issuance.challenge_id is not None else [])
    except NotSpendableError:
        return ChallengeSpent()
    except IntegrityError as error:
        return _what_was_first(connection, issuance, error)
    return _recorded(issuance)


def _recorded(issuance: Issuance) -> Recorded:
    return Recorded(
        Outcome(Status.ISSUED, certificate=issuance.certificate, serial=issuance.serial)
    )


class NotSpendableError(Exception):
    """Takes back what was written before the challenge was judged."""


def _standing(connection: Connection, issuance: Issuance) -> queries.Standing:
    return queries.standing(
        connection,
        issuance.endpoint,
        issuance.transaction_id,
        issuance.signer_key,
        issuance.fingerprint,
    )


def _conflict(answer: Outcome | OtherOwner) -> Conflict:
    return answer if isinstance(answer, OtherOwner) else AlreadyAnswered(answer)


def _what_was_first(connection: Connection, issuance: Issuance, error: IntegrityError) -> Conflict:
    with savepoint(connection):
        answer = _standing(connection, issuance).answer
    if answer is None:
        raise StoreError(
            f"the serial number {issuance.serial:x} is taken",
            hint="serial numbers must be 127 random bits: check the source of randomness",
        ) from error
    return _conflict(answer)


def _write(connection: Connection, issuance: Issuance, transaction_row: int | None) -> None:
    # The certificate first: the request and the spent challenge refer to it.
    connection.execute(ISSUE, _certificate(issuance))
    row = transaction_row or _claim(connection, issuance)
    connection.execute(ANSWER, _request(issuance) | {"transaction_row": row})


def _claim(connection: Connection, issuance: Issuance) -> int:
    key = connection.execute(CLAIM, _transaction(issuance)).inserted_primary_key
    if key is None:  # cannot be: both databases return it for a single row
        raise StoreError("the database returned no key", hint="report this as a bug")
    row: int = key[0]
    return row


def _spend(connection: Connection, issuances: Sequence[Issuance]) -> None:
    if not issuances:
        return
    result = connection.execute(SPEND, [_spent(i) for i in issuances])
    if result.rowcount != len(issuances):
        raise NotSpendableError


def _certificate(issuance: Issuance) -> dict[str, Any]:
    return {
        "serial": issuance.serial,
        "endpoint": issuance.endpoint,
        "subject": issuance.subject,
        "der": issuance.certificate,
        "not_before": issuance.not_before,
        "not_after": issuance.not_after,
        "public_key": issuance.public_key,
        "issued_at": issuance.now,
    }


def _transaction(issuance: Issuance) -> dict[str, Any]:
    return {
        "endpoint": issuance.endpoint,
        "transaction_id": issuance.transaction_id,
        "signer_key": issuance.signer_key,
    }


def _claimed(issuance: Issuance) -> dict[str, Any]:
    return {"of_endpoint": issuance.endpoint, "of_transaction_id": issuance.transaction_id}


def _request(issuance: Issuance) -> dict[str, Any]:
    return {
        "fingerprint": issuance.fingerprint,
        "message_type": issuance.message_type,
        "csr": issuance.csr,
        "status": Status.ISSUED.value,
        "serial": issuance.serial,
        "created_at": issuance.now,
        "decided_at": issuance.now,
    }


def _spent(issuance: Issuance) -> dict[str, Any]:
    return {
        "challenge_id": issuance.challenge_id,
        "of_endpoint": issuance.endpoint,
        "by_serial": issuance.serial,
        "now": issuance.now,
    }
