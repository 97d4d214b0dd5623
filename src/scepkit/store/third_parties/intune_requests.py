"""Requests that Intune has validated, and what it has still to be told of them.

Intune wants the whole PKCS#10 with every notification, its challengePassword included, so it is
kept, encrypted, until Intune knows what became of it. A notification that waits is a part of the
row: it is stored before anything is done that it tells of, and a crash loses none.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.clocks import CLOCKS
from scepkit.store.committing.group_commit import GroupCommits, Step
from scepkit.store.connections import savepoint
from scepkit.store.tables.requests import IS_SIGNED, requests, transactions
from scepkit.store.tables.third_parties import intune_requests

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.audit.events import AuditEvent

MAX_DESCRIPTION = 255
"""The characters that Intune takes of a description."""

LONGEST_PAUSE = timedelta(hours=1)
"""The time until a notification is sent again, at most."""


class Notice(StrEnum):
    """The kind of a notification."""

    SUCCESS = "success"
    FAILURE = "failure"


class IntuneName(NamedTuple):
    """The name of a request.

    Attributes:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received.
        csr_digest: SHA-256 of the PKCS#10 as received.
    """

    endpoint: str
    transaction_id: bytes
    csr_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IntuneRow:
    """A request that Intune has validated.

    Attributes:
        id: its number.
        name: the request.
        registration: the name of the app registration.
        csr: the PKCS#10, encrypted.
        validated_at: when Intune agreed, aware.
        notice: the notification that waits or was sent; None for none.
        code: of a failure: Intune's code, or one of ours.
        description: of a failure.
        certificate: of a success: the certificate, DER.
        attempts: how often the notification was sent in vain.
    """

    id: int
    name: IntuneName
    registration: str
    csr: bytes
    validated_at: datetime
    notice: Notice | None
    code: str | None
    description: str | None
    certificate: bytes | None
    attempts: int


class SignedDelivery(NamedTuple):
    """A certificate that is signed and not delivered.

    Attributes:
        delivery: the id of its delivery.
        name: the request.
    """

    delivery: str
    name: IntuneName


_c = intune_requests.c
_THIS = and_(
    _c.endpoint == bindparam("of_endpoint"),
    _c.transaction_id == bindparam("of_transaction_id"),
    _c.csr_digest == bindparam("of_csr_digest"),
)
_WAITS = and_(_c.notice.is_not(None), _c.told_at.is_(None))
GET = select(intune_requests).where(_THIS)
ADD = insert(intune_requests)
ANEW = (
    update(intune_requests)
    .where(_THIS, _c.notice.is_(None))
    .values(validated_at=bindparam("now"), csr=bindparam("its_csr"))
)
NOTE = (
    update(intune_requests)
    .where(_THIS, _c.notice.is_(None))
    .values(
        notice=bindparam("its_notice"),
        code=bindparam("its_code"),
        description=bindparam("its_description"),
        certificate=bindparam("its_certificate"),
        due_at=bindparam("now"),
    )
)
# What is to be sent later than any pause lasts is of a clock that was ahead.
_IS_DUE = or_(_c.due_at <= bindparam("now"), _c.due_at > bindparam("never_at"))
DUE = (
    select(intune_requests)
    .where(_WAITS, _IS_DUE, _c.registration == bindparam("of_registration"))
    .order_by(_c.due_at, _c.id)
    .limit(bindparam("most"))
)
POSTPONE = (
    update(intune_requests)
    .where(_c.id == bindparam("of_id"))
    .values(due_at=bindparam("until"), attempts=_c.attempts + 1)
)
TOLD = update(intune_requests).where(_c.id == bindparam("of_id")).values(told_at=bindparam("now"))
WAITING = select(func.count(), func.min(_c.validated_at)).where(_WAITS)
FORGET = delete(intune_requests).where(
    _c.validated_at < bindparam("before"),
    or_(_c.notice.is_(None), _c.told_at.is_not(None), _c.validated_at < bindparam("long_before")),
)
SIGNED = (
    select(
        requests.c.delivery,
        transactions.c.endpoint,
        transactions.c.transaction_id,
        requests.c.csr_digest,
    )
    .join(transactions, requests.c.transaction_row == transactions.c.id)
    .where(
        IS_SIGNED,
        requests.c.created_at < bindparam("before"),
        transactions.c.endpoint.in_(bindparam("endpoints", expanding=True)),
    )
    .order_by(requests.c.created_at)
    .limit(bindparam("most"))
)


class IntuneRequests(GroupCommits):
    """The part of the store with requests that Intune has validated."""

    def keep_validated(
        self, name: IntuneName, registration: str, csr: bytes, now: datetime
    ) -> Future[None]:
        """Store a request that Intune agrees to; again it changes its time alone.

        Args:
            name: the request.
            registration: the name of the app registration.
            csr: the PKCS#10, encrypted.
            now: aware.

        Returns:
            A future, resolved after the commit. Or StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        return self._writer.submit(_Keeping(name, registration, csr, now), Future())

    def queue_notice(
        self,
        name: IntuneName,
        notice: Notice,
        now: datetime,
        *,
        code: str | None = None,
        description: str | None = None,
        certificate: bytes | None = None,
    ) -> Future[Notice | None]:
        """Store a notification to be sent, unless there is one already, which stands.

        Args:
            name: the request.
            notice: its kind.
            now: aware.
            code: of a failure, as in `IntuneRow`.
            description: of a failure; of it no more than `MAX_DESCRIPTION` characters are kept.
            certificate: of a success.

        Returns:
            A future, resolved after the commit, of the kind that stands; None where no such
            request is kept. Or StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        values = {
            **_condition(name),
            "its_notice": notice.value,
            "its_code": code,
            "its_description": None if description is None else description[:MAX_DESCRIPTION],
            "its_certificate": certificate,
            "now": now,
        }
        return self._writer.submit(_Noting(name, values), Future())

    def validated(self, name: IntuneName) -> IntuneRow | None:
        """Return a request that Intune has validated; None where it has not, or long ago.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(GET, _condition(name)).first()
        return None if row is None else _row(row)

    def due_notices(self, registration: str, now: datetime, most: int) -> list[IntuneRow]:
        """Return notifications that are to be sent by now, those that wait longest first.

        Args:
            registration: the name of their app registration.
            now: aware.
            most: how many at most.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"of_registration": registration, "now": now, "most": most}
        values["never_at"] = now + LONGEST_PAUSE + CLOCKS
        with self._reading() as connection:
            return [_row(one) for one in connection.execute(DUE, values)]

    def postpone_notice(self, number: int, until: datetime) -> None:
        """Send a notification later, and count the attempt; `number` is its request's id.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("postpone a notification") as connection:
            connection.execute(POSTPONE, {"of_id": number, "until": until})

    def finish_notice(self, number: int, now: datetime) -> None:
        """Note that Intune has had a notification; `number` is its request's id.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("note a notification") as connection:
            connection.execute(TOLD, {"of_id": number, "now": now})

    def waiting_notices(self) -> tuple[int, datetime | None]:
        """Return how many notifications wait, and since when the oldest of their requests is kept.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            count, oldest = connection.execute(WAITING).one()
        return count, oldest

    def forget_validated(self, before: datetime, long_before: datetime) -> int:
        """Delete requests of before that of which there is nothing to tell; return how many.

        Args:
            before: aware.
            long_before: aware; older ones are deleted whatever there is to tell.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("delete what is old") as connection:
            values = {"before": before, "long_before": long_before}
            return connection.execute(FORGET, values).rowcount

    def signed_before(
        self, before: datetime, endpoints: Collection[str], most: int
    ) -> list[SignedDelivery]:
        """Return certificates that are signed and not delivered, the oldest first.

        Args:
            before: aware; those of requests that came before that.
            endpoints: the names of the endpoints.
            most: how many at most.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"before": before, "endpoints": [*endpoints], "most": most}
        with self._reading() as connection:
            return [*_deliveries(connection.execute(SIGNED, values).all())]


@dataclass(frozen=True, slots=True)
class _Keeping(Step):
    """The storing of a request that Intune agrees to."""

    name: IntuneName
    registration: str
    csr: bytes
    now: datetime

    def write(self, connection: Connection) -> tuple[None, Sequence[AuditEvent]]:
        """Write it, or its new time."""
        values = {**_condition(self.name), "now": self.now, "its_csr": self.csr}
        if connection.execute(ANEW, values).rowcount == 0:
            row = self.name._asdict() | {
                "registration": self.registration,
                "csr": self.csr,
                "validated_at": self.now,
            }
            # Another process may have it, or it has a notification, and stays as it is.
            with suppress(IntegrityError), savepoint(connection):
                connection.execute(ADD, row)
        return None, []


@dataclass(frozen=True, slots=True)
class _Noting(Step):
    """The storing of a notification."""

    name: IntuneName
    values: dict[str, Any]

    def write(self, connection: Connection) -> tuple[Notice | None, Sequence[AuditEvent]]:
        """Write it, unless there is one; return the kind that stands."""
        connection.execute(NOTE, self.values)
        row = connection.execute(GET, _condition(self.name)).first()
        return (None if row is None or row.notice is None else Notice(row.notice)), []


def _condition(name: IntuneName) -> dict[str, Any]:
    return {f"of_{field}": value for field, value in name._asdict().items()}


def _row(row: Any) -> IntuneRow:
    return IntuneRow(
        id=row.id,
        name=IntuneName(row.endpoint, row.transaction_id, row.csr_digest),
        registration=row.registration,
        csr=row.csr,
        validated_at=row.validated_at,
        notice=None if row.notice is None else Notice(row.notice),
        code=row.code,
        description=row.description,
        certificate=row.certificate,
        attempts=row.attempts,
    )


def _deliveries(rows: Sequence[Any]) -> Iterator[SignedDelivery]:
    for delivery, endpoint, transaction_id, digest in rows:
        yield SignedDelivery(delivery, IntuneName(endpoint, transaction_id, digest or b""))
