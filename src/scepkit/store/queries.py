"""What is read: one statement for each question, built once, so only its values are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, literal, select, tuple_

from scepkit.store.tables import (
    SerialNumber,
    UTCDateTime,
    certificates,
    challenges,
    requests,
    transactions,
)
from scepkit.store.values import CertificateRow, Challenge, OtherOwner, Outcome, Status

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

_ANSWER = (
    transactions.c.id,
    transactions.c.signer_key,
    requests.c.status,
    certificates.c.der,
    requests.c.fail_info,
    requests.c.reason,
    requests.c.serial,
)
_OF_TRANSACTION = and_(
    transactions.c.endpoint == bindparam("endpoint"),
    transactions.c.transaction_id == bindparam("transaction_id"),
)
_SAME_REQUEST = and_(
    requests.c.transaction_row == transactions.c.id,
    requests.c.fingerprint == bindparam("fingerprint"),
)

# Outer joins: a known transactionID with an unknown request still has an owner.
ANSWERED = (
    select(*_ANSWER)
    .select_from(transactions.outerjoin(requests, _SAME_REQUEST).outerjoin(certificates))
    .where(_OF_TRANSACTION)
)
NEWEST = (
    select(*_ANSWER)
    .select_from(transactions.join(requests).outerjoin(certificates))
    .where(_OF_TRANSACTION)
    .order_by(requests.c.id.desc())
    .limit(1)
)
CHALLENGE = select(challenges).where(
    challenges.c.endpoint == bindparam("endpoint"), challenges.c.mac == bindparam("mac")
)
CERTIFICATE = select(certificates).where(certificates.c.serial == bindparam("serial"))


class Standing(NamedTuple):
    """Where a request stands: its transaction's row, if any, and the answer, if any."""

    transaction_row: int | None
    answer: Outcome | OtherOwner | None


def standing(
    connection: Connection,
    endpoint: str,
    transaction_id: bytes,
    signer_key: bytes,
    fingerprint: bytes | None,
) -> Standing:
    """Look a request up by what it is, or the newest of its transaction (no fingerprint).

    The owner is judged first: another key hears nothing of what is stored (P-46, P-47).
    """
    values = {"endpoint": endpoint, "transaction_id": transaction_id}
    if fingerprint is None:
        row = connection.execute(NEWEST, values).first()
    else:
        row = connection.execute(ANSWERED, values | {"fingerprint": fingerprint}).first()
    if row is None:
        return Standing(None, None)
    transaction_row, owner, status, der, fail_info, reason, serial = row
    if owner != signer_key:
        return Standing(transaction_row, OtherOwner())
    if status is None:
        return Standing(transaction_row, None)
    return Standing(transaction_row, Outcome(Status(status), der, fail_info, reason, serial))


def challenge(connection: Connection, endpoint: str, mac: bytes) -> Challenge | None:
    """The challenge of that endpoint with that MAC, spent and expired ones included."""
    row = connection.execute(CHALLENGE, {"endpoint": endpoint, "mac": mac}).first()
    if row is None:
        return None
    row_id, of_endpoint, of_mac, subject, sans, *times_and_serial = row
    return Challenge(row_id, of_endpoint, of_mac, subject, tuple(sans), *times_and_serial)


def certificate(connection: Connection, serial: int) -> CertificateRow | None:
    """The certificate with that serial number."""
    row = connection.execute(CERTIFICATE, {"serial": serial}).first()
    return None if row is None else CertificateRow(*row)


def page(
    connection: Connection, endpoint: str | None, after: CertificateRow | None, size: int
) -> list[CertificateRow]:
    """The next certificates after one, newest first.

    Pages instead of an open cursor: a slow reader then holds no connection, and does not keep
    the write-ahead log from being emptied.
    """
    rows = connection.execute(_listing(endpoint, after).limit(size))
    return [CertificateRow(*row) for row in rows]


def _listing(endpoint: str | None, after: CertificateRow | None) -> Select[Any]:
    order = certificates.c.issued_at, certificates.c.serial
    query = select(certificates).order_by(order[0].desc(), order[1].desc())
    if endpoint is not None:
        query = query.where(certificates.c.endpoint == endpoint)
    if after is not None:
        last = literal(after.issued_at, UTCDateTime), literal(after.serial, SerialNumber)
        query = query.where(tuple_(*order) < tuple_(*last))
    return query
