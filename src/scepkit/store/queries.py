"""The SELECT statements, each built once, so that only its values are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, select

from scepkit.store.rows import CertificateRow, Challenge
from scepkit.store.tables import certificates, challenges, requests, transactions
from scepkit.store.values import BAD_REQUEST, EXPIRED_REASON, OtherOwner, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_OUTCOME = (
    requests.c.status,
    certificates.c.der,
    requests.c.fail_info,
    requests.c.reason,
    requests.c.serial,
    requests.c.reply_secret,
    requests.c.id,
    requests.c.subject,
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
_ITS_CERTIFICATE = requests.c.serial == certificates.c.serial

# Outer joins: a known transactionID with an unknown request still has an owner.
ANSWERED = (
    select(*_ANSWER)
    .select_from(
        transactions.outerjoin(requests, _SAME_REQUEST).outerjoin(certificates, _ITS_CERTIFICATE)
    )
    .where(_OF_TRANSACTION)
)
NEWEST = (
    select(*_ANSWER)
    .select_from(transactions.join(requests).outerjoin(certificates, _ITS_CERTIFICATE))
    .where(_OF_TRANSACTION)
    .order_by(requests.c.id.desc())
    .limit(1)
)
OUTCOME = (
    select(*_OUTCOME)
    .select_from(requests.outerjoin(certificates, _ITS_CERTIFICATE))
    .where(requests.c.id == bindparam("request_id"))
)
CHALLENGE = select(challenges).where(
    challenges.c.endpoint == bindparam("endpoint"), challenges.c.mac == bindparam("mac")
)
CERTIFICATE = select(certificates).where(certificates.c.serial == bindparam("serial"))


class Standing(NamedTuple):
    """The state of a request: its transaction's row, if any, and the answer, if any."""

    transaction_row: int | None
    answer: Outcome | OtherOwner | None


def standing(
    connection: Connection,
    endpoint: str,
    transaction_id: bytes,
    signer_key: bytes,
    fingerprint: bytes | None,
    now: datetime | None,
) -> Standing:
    """Look a request up by its fingerprint, or the newest of its transaction (no fingerprint).

    The owner is judged first: another key hears nothing of what is stored (P-46, P-47).
    """
    values = {"endpoint": endpoint, "transaction_id": transaction_id}
    if fingerprint is None:
        row = connection.execute(NEWEST, values).first()
    else:
        row = connection.execute(ANSWERED, values | {"fingerprint": fingerprint}).first()
    if row is None:
        return Standing(None, None)
    transaction_row, owner, *columns = row
    if owner != signer_key:
        return Standing(transaction_row, OtherOwner())
    if columns[0] is None:
        return Standing(transaction_row, None)
    return Standing(transaction_row, _outcome(columns, now))


def outcome(connection: Connection, request_id: int, now: datetime | None) -> Outcome | None:
    """Return the state of the request with that number; None when there is none."""
    row = connection.execute(OUTCOME, {"request_id": request_id}).first()
    return None if row is None else _outcome(row, now)


def _outcome(columns: Sequence[Any], now: datetime | None) -> Outcome:
    """A request that waited too long has expired, though nobody may have written that yet."""
    status, der, fail_info, reason, serial, reply_secret, *who, expires_at = columns
    if is_overdue(status, expires_at, now):
        status, fail_info, reason = Status.EXPIRED, BAD_REQUEST, EXPIRED_REASON
    return Outcome(Status(status), der, fail_info, reason, serial, reply_secret, *who)


def is_overdue(status: str, expires_at: datetime | None, now: datetime | None) -> bool:
    """Tell whether a request has waited for a decision until it expired; not without `now`."""
    waits_until = expires_at if status == Status.PENDING else None
    return waits_until is not None and now is not None and waits_until <= now


def challenge(connection: Connection, endpoint: str, mac: bytes) -> Challenge | None:
    """Return the endpoint's challenge with that MAC; spent, void and expired ones too."""
    row = connection.execute(CHALLENGE, {"endpoint": endpoint, "mac": mac}).first()
    if row is None:
        return None
    return challenge_row(row)


def challenge_row(columns: Sequence[Any]) -> Challenge:
    """Return a challenge from its row."""
    row_id, endpoint, mac, subject, sans, *others = columns
    return Challenge(row_id, endpoint, mac, subject, tuple(sans), *others)


def certificate(connection: Connection, serial: int) -> CertificateRow | None:
    """Return the certificate with that serial number."""
    row = connection.execute(CERTIFICATE, {"serial": serial}).first()
    return None if row is None else CertificateRow(*row)
