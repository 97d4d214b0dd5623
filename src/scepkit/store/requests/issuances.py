"""The issuances: a certificate, its request and its spent challenge, written table by table.

Nearly always nothing stands in the way of any, so a batch is first written as a whole, which takes
a third of the time of one by one. If a constraint objects, all of it is rolled back and written one
by one, which shows what stands in whose way (`recording`).

All that writes issuances takes its values out of one row of each (`IssuanceRow`): every statement
picks those that it names.
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
from scepkit.store.prepared import Placed, Prepared, one_trip
from scepkit.store.requests.issuance_row import IssuanceRow
from scepkit.store.revocations.replacements import other_certificates, replace_later
from scepkit.store.tables.certificates import certificates, passphrases
from scepkit.store.tables.challenges import IS_OPEN, challenge_uses, challenges
from scepkit.store.tables.requests import requests, transactions
from scepkit.store.values import Issuance, Recorded, Status, StoredOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from scepkit.store.prepared import Trip
    from scepkit.store.values import CertificateKey, NewEntry

_VALUES = tuple(f"new_{name}" for name in IssuanceRow._fields)


def _new(*columns: str, **others: str) -> dict[str, Any]:
    """Return the parameters of columns, by their names; some are named otherwise in a row."""
    named = {name: name for name in columns} | others
    return {column: bindparam(f"new_{name}") for column, name in named.items()}


CLAIM = Placed(
    insert(transactions).values(_new("endpoint", "transaction_id", "signer_key")), _VALUES
)
_PARENT = certificates.alias("parent")
ISSUE = Placed(
    insert(certificates).values(
        _new(
            *("serial", "endpoint", "subject", "not_before", "not_after", "public_key", "names"),
            *("issuer", "renews", "renews_issuer", "subject_digest"),
            der="certificate",
            issued_at="now",
        )
        | {
            "chain_began": select(func.coalesce(_PARENT.c.chain_began, _PARENT.c.issued_at))
            .where(
                _PARENT.c.serial == bindparam("new_chain_serial"),
                _PARENT.c.issuer == bindparam("new_chain_issuer"),
            )
            .scalar_subquery(),
        }
    ),
    _VALUES,
)
KEEP_PASSPHRASE = Placed(
    insert(passphrases).values(_new("serial", "issuer", hidden="passphrase")), _VALUES
)
# The row of its transaction was claimed before.
ANSWER = Placed(
    insert(requests).values(
        _new(
            *("fingerprint", "message_type", "csr", "csr_digest", "subject", "issuer", "peer"),
            *("reply_secret", "renews", "renews_issuer", "serial", "decided_at", "waits_for"),
            *("delivery", "notice"),
            created_at="now",
        )
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
        }
    ),
    _VALUES,
)
_ONE: ColumnElement[int] = literal_column("1")
_IS_LAST_USE = challenges.c.used + _ONE >= challenges.c.uses
USED = {
    "used": challenges.c.used + _ONE,
    "spent_at": case((_IS_LAST_USE, bindparam("new_now", type_=UTCDateTime))),
    "spent_serial": case((_IS_LAST_USE, bindparam("new_serial", type_=SerialNumber))),
    "spent_issuer": case((_IS_LAST_USE, bindparam("new_issuer", type_=LargeBinary))),
}
"""The columns of a challenge after one more use."""
KEEP_USE = Placed(
    insert(challenge_uses).from_select(
        ["challenge_id", "serial", "issuer", "used_at"],
        select(
            challenges.c.id,
            bindparam("new_serial", type_=SerialNumber),
            bindparam("new_issuer", type_=LargeBinary),
            bindparam("new_now", type_=UTCDateTime),
        ).where(challenges.c.id == bindparam("new_challenge_id"), challenges.c.uses > _ONE),
    ),
    _VALUES,
)


def spending(*conditions: ColumnElement[bool]) -> Placed:
    """Return the statement that spends the challenge of an issuance, or one of its uses.

    Args:
        conditions: have to hold of the challenge as well.
    """
    of_issuance = challenges.c.id == bindparam("new_challenge_id")
    return Placed(update(challenges).where(of_issuance, *conditions).values(USED), _VALUES)


# The condition is the guard: of two that spend the same challenge, or of one that spends it and one
# that voids it, one changes no row.
SPEND = spending(
    challenges.c.endpoint == bindparam("new_endpoint"),
    IS_OPEN,
    challenges.c.expires_at > bindparam("new_now"),
)
SPENDABLE = Prepared(
    select(challenges.c.id).where(
        challenges.c.id == bindparam("challenge_id"),
        challenges.c.endpoint == bindparam("of_endpoint"),
        IS_OPEN,
        challenges.c.expires_at > bindparam("now"),
    )
)
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


def issue_all(trip: Trip, rows: Sequence[IssuanceRow]) -> None:
    """Write what is issued, if nothing stands in the way.

    It is good once the trip is over. If something stands in the way, the transaction is to be
    rolled back.

    Raises:
        NotSpendableError, NotRenewableError, SQLAlchemyError: something does; at the end of the
            trip at the latest.
    """
    if not rows:
        return
    hold_renewable(trip, {renewed for row in rows if (renewed := row.renewed) is not None})
    # What is referred to first.
    trip.run(ISSUE, *rows)
    if hidden := [row for row in rows if row.passphrase is not None]:
        trip.run(KEEP_PASSPHRASE, *hidden)
    trip.run(CLAIM, *rows)
    trip.run(ANSWER, *rows)
    if spent := [row for row in rows if row.challenge_id is not None]:
        # In one order, as in `hold_renewable`: several may use one challenge.
        spent.sort(key=attrgetter("challenge_id"))
        trip.expect(SPEND, spent, NotSpendableError())
        if shared := [row for row in spent if not row.is_only_use]:
            trip.run(KEEP_USE, *shared)


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


def spend(connection: Connection, row: IssuanceRow, statement: Placed) -> None:
    """Spend the challenge of a certificate that is written, or one of its uses.

    Args:
        connection: in a transaction.
        row: the certificate.
        statement: updates one row of `challenges`, if it can be spent (`spending`).

    Raises:
        NotSpendableError: it cannot.
    """
    if row.challenge_id is None:
        return
    if statement.run(connection, row).rowcount != 1:
        raise NotSpendableError
    if not row.is_only_use:
        KEEP_USE.run(connection, row)


def issue(connection: Connection, issuance: Issuance, row: IssuanceRow) -> None:
    """Write the certificate; before the request and the spent challenge, which refer to it.

    Args:
        connection: in a transaction.
        issuance: the certificate.
        row: the same as a row.

    Raises:
        SubjectTakenError: its subject has one, and may have one only.
    """
    others = other_certificates(connection, issuance)
    ISSUE.run(connection, row)
    replace_later(connection, issuance, others)
    if row.passphrase is not None:
        KEEP_PASSPHRASE.run(connection, row)


def hold_renewable(trip: Trip, renewed: set[CertificateKey]) -> None:
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
