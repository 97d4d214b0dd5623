"""The one atomic step: a certificate, its request and its spent challenge, or nothing.

Or a request that has to wait for a person: then there is no certificate yet, and its challenge is
only looked at, to be spent when the request is approved (`decisions`).

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

Nearly always nothing stands in the way, so a batch is first written as a whole, table by table,
which takes a third of the time; if a constraint objects, all of it is rolled back and written one
by one.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    LargeBinary,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from scepkit.errors import StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.store.audit import UNKNOWN, AuditAction, AuditEvent
from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.connections import savepoint
from scepkit.store.entry_rows import claim_row, issued, passphrase_rows, spending, waiting_row
from scepkit.store.prepared import Prepared, SharedValues, one_trip
from scepkit.store.replacements import SubjectTakenError, other_certificates, replace_later
from scepkit.store.requests import QueueFullError, check_room, standing
from scepkit.store.tables import (
    IS_OPEN,
    certificates,
    challenge_uses,
    challenges,
    passphrases,
    requests,
    transactions,
)
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
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from scepkit.store.prepared import Trip
    from scepkit.store.values import Answer, Conflict, NewEntry

_OF_ISSUED = (
    *("serial", "endpoint", "subject", "der", "not_before", "not_after", "public_key", "names"),
    *("issuer", "renews", "renews_issuer", "subject_digest"),
)
_OF_ANSWER = (
    *("fingerprint", "message_type", "csr", "csr_digest", "subject", "issuer", "reply_secret"),
    *("peer", "renews", "renews_issuer", "serial", "decided_at", "waits_for", "delivery"),
    "notice",
)


def _parameters(*columns: str) -> dict[str, Any]:
    """Return the parameters of `entry_rows.issued` for columns, by their names."""
    return {name: bindparam(f"new_{name}") for name in columns}


CLAIM = Prepared(
    insert(transactions).values(_parameters("endpoint", "transaction_id", "signer_key"))
)
CLAIM_ROW = Prepared(insert(transactions).returning(transactions.c.id))
_PARENT = certificates.alias("parent")
ISSUE = Prepared(
    insert(certificates).values(
        _parameters(*_OF_ISSUED)
        | {
            "issued_at": bindparam("new_now"),
            "chain_began": select(func.coalesce(_PARENT.c.chain_began, _PARENT.c.issued_at))
            .where(
                _PARENT.c.serial == bindparam("new_chain_serial"),
                _PARENT.c.issuer == bindparam("new_chain_issuer"),
            )
            .scalar_subquery(),
        }
    )
)
KEEP_PASSPHRASE = Prepared(insert(passphrases))
# The row of its transaction was claimed before.
ANSWER = Prepared(
    insert(requests).values(
        _parameters(*_OF_ANSWER)
        | {
            "transaction_row": select(transactions.c.id)
            .where(
                and_(
                    transactions.c.endpoint == bindparam("new_endpoint"),
                    transactions.c.transaction_id == bindparam("new_transaction_id"),
                )
            )
            .scalar_subquery(),
            "status": literal_column(f"'{Status.ISSUED.value}'"),
            "created_at": bindparam("new_now"),
        }
    )
)
QUEUE = Prepared(insert(requests).returning(requests.c.id))
_IS_LAST_USE = challenges.c.used + 1 >= challenges.c.uses
USED = {
    "used": challenges.c.used + 1,
    "spent_at": case((_IS_LAST_USE, bindparam("now", type_=UTCDateTime))),
    "spent_serial": case((_IS_LAST_USE, bindparam("by_serial", type_=SerialNumber))),
    "spent_issuer": case((_IS_LAST_USE, bindparam("by_issuer", type_=LargeBinary))),
}
"""The columns of a challenge after one more use."""
KEEP_USE = Prepared(
    insert(challenge_uses).from_select(
        ["challenge_id", "serial", "issuer", "used_at"],
        select(
            challenges.c.id,
            bindparam("by_serial", type_=SerialNumber),
            bindparam("by_issuer", type_=LargeBinary),
            bindparam("now", type_=UTCDateTime),
        ).where(challenges.c.id == bindparam("challenge_id"), challenges.c.uses > 1),
    )
)
_SPENDABLE = and_(
    challenges.c.id == bindparam("challenge_id"),
    challenges.c.endpoint == bindparam("of_endpoint"),
    IS_OPEN,
    challenges.c.expires_at > bindparam("now"),
)
# The condition is the guard: of two that spend the same challenge, or of one that spends it and one
# that voids it, one changes no row.
SPEND = Prepared(update(challenges).where(_SPENDABLE).values(USED))
_ISSUED = SharedValues(ISSUE, CLAIM, ANSWER)
SPENDABLE = Prepared(select(challenges.c.id).where(_SPENDABLE))
# The lock is PostgreSQL's: a revocation then waits for the renewal's commit. On SQLite whoever
# writes is alone anyway.
RENEWABLE = Prepared(
    select(certificates.c.serial)
    .where(
        certificates.c.serial == bindparam("of_serial"),
        certificates.c.issuer == bindparam("of_issuer"),
        certificates.c.revoked_at.is_(None),
    )
    .with_for_update(read=True)
)


def answer_all(connection: Connection, entries: Sequence[NewEntry]) -> list[Answer]:
    """Write those that wait, inside the connection's transaction; `issue_all` wrote the others.

    If something stands in the way, the transaction is to be rolled back, and `record` shows what
    stands in whose way.

    Returns:
        One Recorded for each.

    Raises:
        NotSpendableError, NotRenewableError, QueueFullError, SQLAlchemyError: something does.
    """
    return [
        _recorded(e) if isinstance(e, Issuance) else _queue_anew(connection, e) for e in entries
    ]


def issue_all(trip: Trip, issuances: Sequence[Issuance]) -> None:
    """Write what is issued, if nothing stands in the way; if something does, as in `answer_all`.

    Raises:
        NotSpendableError, NotRenewableError, SQLAlchemyError: something does; at the end of the
            trip at the latest.
    """
    if not issuances:
        return
    hold_renewable(trip, issuances)
    rows = [issued(one) for one in issuances]
    trip.convert(_ISSUED, rows)
    # What is referred to first.
    trip.run(ISSUE, *rows, are_converted=True)
    if passphrases := passphrase_rows(issuances):
        trip.run(KEEP_PASSPHRASE, *passphrases)
    trip.run(CLAIM, *rows, are_converted=True)
    trip.run(ANSWER, *rows, are_converted=True)
    entitled = [one for one in issuances if one.challenge_id is not None]
    if entitled:
        # In one order, as in `hold_renewable`: several may use one challenge.
        entitled.sort(key=attrgetter("challenge_id"))
        trip.expect(SPEND, [*map(spending, entitled)], NotSpendableError())
    if shared := [spending(one) for one in entitled if not one.is_only_use]:
        trip.run(KEEP_USE, *shared)


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


def _recorded(issuance: Issuance) -> Recorded:
    status = Status.ISSUED if issuance.delivery is None else Status.SIGNED
    return Recorded(StoredOutcome(status, certificate=issuance.certificate, serial=issuance.serial))


class NotSpendableError(Exception):
    """Takes back what was written before the challenge was judged."""


class NotRenewableError(Exception):
    """The certificate to be renewed is revoked or unknown."""


def _conflict(answer: StoredOutcome | OtherOwner) -> Conflict:
    return answer if isinstance(answer, OtherOwner) else AlreadyAnswered(answer)


def _impossible(entry: NewEntry) -> StoreError:
    if isinstance(entry, Issuance):
        return serial_is_taken(entry)
    return StoreError("the request cannot be stored", hint="report this as a bug")


def serial_is_taken(issuance: Issuance) -> StoreError:
    """Return the error for the only constraint left when the request itself is new."""
    return StoreError(
        f"the serial number {show_serial(issuance.serial)} is taken",
        hint="serial numbers must be 127 random bits: check the source of randomness",
    )


def _write(connection: Connection, entry: NewEntry, transaction_row: int | None) -> Recorded:
    check_renewable(connection, entry)
    if isinstance(entry, QueuedEntry):
        return _queue(connection, entry, transaction_row or _claim(connection, entry))
    issue(connection, entry)
    parameters = issued(entry)
    if transaction_row is None:
        CLAIM.run(connection, parameters)
    ANSWER.run(connection, parameters)
    spend(connection, entry, SPEND)
    return _recorded(entry)


def spend(connection: Connection, issuance: Issuance, statement: Prepared) -> None:
    """Spend the challenge of a certificate that is written, or one of its uses.

    Args:
        connection: in a transaction.
        issuance: the certificate.
        statement: updates one row of `challenges`, if it can be spent.

    Raises:
        NotSpendableError: it cannot.
    """
    if issuance.challenge_id is None:
        return
    values = spending(issuance)
    if statement.run(connection, values).rowcount != 1:
        raise NotSpendableError
    if not issuance.is_only_use:
        KEEP_USE.run(connection, values)


def issue(connection: Connection, issuance: Issuance) -> None:
    """Write the certificate; before the request and the spent challenge, which refer to it.

    Raises:
        SubjectTakenError: its subject has one, and may have one only.
    """
    others = other_certificates(connection, issuance)
    ISSUE.run(connection, issued(issuance))
    replace_later(connection, issuance, others)
    if rows := passphrase_rows([issuance]):
        KEEP_PASSPHRASE.run(connection, *rows)


def hold_renewable(trip: Trip, entries: Sequence[NewEntry]) -> None:
    """Refuse to renew what is revoked or unknown; what is good stays so until the commit.

    Raises:
        NotRenewableError: one of them is not; at the end of the trip.
    """
    # In one order, whoever asks: nobody waits for what another one holds who waits for this one.
    renewed = {entry.renewed for entry in entries if entry.renews is not None}
    for serial, issuer in sorted(one for one in renewed if one is not None):
        values = {"of_serial": serial, "of_issuer": issuer}
        trip.expect(RENEWABLE, [values], NotRenewableError())


def check_renewable(connection: Connection, entry: NewEntry) -> None:
    """Do the same as `hold_renewable`, for one entry and at once."""
    with one_trip(connection) as trip:
        hold_renewable(trip, [entry])


def _queue_anew(connection: Connection, queued: QueuedEntry) -> Recorded:
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
        connection, QUEUE, waiting_row(queued) | {"transaction_row": transaction_row}
    )
    return Recorded(
        StoredOutcome(Status.PENDING, reply_secret=queued.reply_secret, request_id=request_id)
    )


def _claim(connection: Connection, entry: NewEntry) -> int:
    return _insert(connection, CLAIM_ROW, claim_row(entry))


def _insert(connection: Connection, statement: Prepared, row: dict[str, Any]) -> int:
    """Insert a row; return its number."""
    returned = statement.first(connection, row)
    if returned is None:  # cannot be: both databases return it for a single row
        raise StoreError("the database returned no key", hint="report this as a bug")
    number: int = returned[0]
    return number


def audit_event(entry: NewEntry, request_id: int | None = None) -> AuditEvent:
    """Return the audit event of an entry that was recorded.

    Args:
        entry: what was recorded.
        request_id: the number of a request that waits.
    """
    details: dict[str, Any] = {"message_type": int(entry.message_type)}
    if entry.renews is not None and (renewed := entry.renewed) is not None:
        details["renews"] = show_serial(renewed.serial)
        details["renews_issuer_key"] = renewed.issuer.hex()
    if isinstance(entry, Issuance):
        action, serial = AuditAction.ISSUED, entry.serial
        if entry.delivery is not None:
            details["delivery"] = entry.delivery
        details["certificate"] = hashlib.sha256(entry.certificate).hexdigest()
        details["issuer_key"] = entry.issuer.hex()
    else:
        action, serial = AuditAction.QUEUED, None
        details["request"] = request_id
    return AuditEvent(
        action=action,
        actor=entry.peer or UNKNOWN,
        at=entry.now,
        endpoint=entry.endpoint,
        serial=serial,
        transaction_id=entry.transaction_id,
        subject=entry.subject,
        challenge=entry.challenge_id,
        details=details,
        about=entry,
    )
