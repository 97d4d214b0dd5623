"""The issuances: a certificate, its request and its spent challenge, written table by table.

Nearly always nothing stands in the way of any, so a batch is first written as a whole, which takes
a third of the time of one by one. If a constraint objects, all of it is rolled back and written one
by one, which shows what stands in whose way (`recording`).

All that writes issuances takes its values from one lot of parameters each (`issued`): every
statement picks those that it names.
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

from scepkit.errors import StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.store.audit.events import UNKNOWN, AuditAction, AuditEvent
from scepkit.store.column_types import SerialNumber, UTCDateTime
from scepkit.store.prepared import Prepared, SharedValues, one_trip
from scepkit.store.revocations.replacements import other_certificates, replace_later
from scepkit.store.tables.certificates import certificates, passphrases
from scepkit.store.tables.challenges import IS_OPEN, challenge_uses, challenges
from scepkit.store.tables.requests import requests, transactions
from scepkit.store.values import TELLER, Issuance, Recorded, Status, StoredOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from scepkit.store.prepared import Trip
    from scepkit.store.values import NewEntry

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
    """Return the parameters of `issued` for columns, by their names."""
    return {name: bindparam(f"new_{name}") for name in columns}


CLAIM = Prepared(
    insert(transactions).values(_parameters("endpoint", "transaction_id", "signer_key"))
)
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


def issue_all(trip: Trip, issuances: Sequence[Issuance]) -> list[Recorded]:
    """Write what is issued, if nothing stands in the way.

    If something does, the transaction is to be rolled back.

    Returns:
        The answer to each, which is good once the trip is over.

    Raises:
        NotSpendableError, NotRenewableError, SQLAlchemyError: something does; at the end of the
            trip at the latest.
    """
    if not issuances:
        return []
    rows = [issued(one) for one in issuances]
    hidden = passphrase_rows(issuances)
    entitled = [one for one in issuances if one.challenge_id is not None]
    # In one order, as in `hold_renewable`: several may use one challenge.
    entitled.sort(key=attrgetter("challenge_id"))
    spent = [spending(one) for one in entitled]
    shared = [row for row, one in zip(spent, entitled, strict=True) if not one.is_only_use]
    answers = [recorded(one) for one in issuances]
    renewed = {
        (row["new_renews"], row["new_renews_issuer"])
        for row in rows
        if row["new_renews"] is not None
    }
    hold_renewable(trip, renewed)
    trip.convert(_ISSUED, rows)
    # What is referred to first.
    trip.run(ISSUE, *rows, are_converted=True)
    if hidden:
        trip.run(KEEP_PASSPHRASE, *hidden)
    trip.run(CLAIM, *rows, are_converted=True)
    trip.run(ANSWER, *rows, are_converted=True)
    if spent:
        trip.expect(SPEND, spent, NotSpendableError())
    if shared:
        trip.run(KEEP_USE, *shared)
    return answers


def recorded(issuance: Issuance) -> Recorded:
    """Return the answer to an issuance that is written."""
    status = Status.ISSUED if issuance.delivery is None else Status.SIGNED
    return Recorded(StoredOutcome(status, certificate=issuance.certificate, serial=issuance.serial))


class NotSpendableError(Exception):
    """Takes back what was written before the challenge was judged."""


class NotRenewableError(Exception):
    """The certificate to be renewed is revoked or unknown."""


def serial_is_taken(issuance: Issuance) -> StoreError:
    """Return the error for the only constraint left when the request itself is new."""
    return StoreError(
        f"the serial number {show_serial(issuance.serial)} is taken",
        hint="serial numbers must be 127 random bits: check the source of randomness",
    )


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


def issued(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters of all that writes a certificate and its request.

    One lot for all of these statements: each takes those out that it names.
    """
    renewed = None if issuance.renews is None else issuance.renewed
    chain = None if issuance.is_anew else renewed
    is_signed = issuance.delivery is not None
    return {
        "new_serial": issuance.serial,
        "new_endpoint": issuance.endpoint,
        "new_subject": issuance.subject,
        "new_der": issuance.certificate,
        "new_not_before": issuance.not_before,
        "new_not_after": issuance.not_after,
        "new_public_key": issuance.public_key,
        "new_names": issuance.names,
        "new_subject_digest": issuance.subject_digest,
        "new_issuer": issuance.issuer,
        "new_now": issuance.now,
        "new_renews": None if renewed is None else renewed.serial,
        "new_renews_issuer": None if renewed is None else renewed.issuer,
        "new_chain_serial": None if chain is None else chain.serial,
        "new_chain_issuer": None if chain is None else chain.issuer,
        "new_transaction_id": issuance.transaction_id,
        "new_signer_key": issuance.signer_key,
        "new_fingerprint": issuance.fingerprint,
        "new_message_type": issuance.message_type,
        "new_csr": issuance.csr,
        "new_csr_digest": issuance.csr_digest,
        "new_reply_secret": issuance.reply_secret,
        "new_peer": issuance.peer or None,
        "new_decided_at": None if is_signed else issuance.now,
        "new_waits_for": TELLER if is_signed else None,
        "new_delivery": issuance.delivery,
        "new_notice": issuance.notice or None,
    }


def passphrase_rows(issuances: Sequence[Issuance]) -> list[dict[str, Any]]:
    """Return rows of `passphrases`, for those that have one."""
    return [
        {"serial": issuance.serial, "issuer": issuance.issuer, "hidden": issuance.passphrase}
        for issuance in issuances
        if issuance.passphrase is not None
    ]


def spending(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters that spend a challenge."""
    return {
        "challenge_id": issuance.challenge_id,
        "of_endpoint": issuance.endpoint,
        "by_serial": issuance.serial,
        "by_issuer": issuance.issuer,
        "now": issuance.now,
    }


def hold_renewable(trip: Trip, renewed: set[tuple[int, bytes]]) -> None:
    """Refuse to renew what is revoked or unknown; what is good stays so until the commit.

    Args:
        trip: on which it is looked at.
        renewed: their serial numbers, each with its issuer.

    Raises:
        NotRenewableError: one of them is not; at the end of the trip.
    """
    # In one order, whoever asks: nobody waits for what another one holds who waits for this one.
    for serial, issuer in sorted(renewed):
        values = {"of_serial": serial, "of_issuer": issuer}
        trip.expect(RENEWABLE, [values], NotRenewableError())


def check_renewable(connection: Connection, entry: NewEntry) -> None:
    """Do the same as `hold_renewable`, for one entry and at once."""
    with one_trip(connection) as trip:
        hold_renewable(trip, set() if entry.renewed is None else {entry.renewed})


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
