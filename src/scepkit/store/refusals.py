"""Refused requests, kept for the operator: a bounded number of them, and each for a time.

A request is refused whether it is kept or not, so nobody waits for these rows. A writer of their
own queues them and writes those that wait together: a table that is locked, or a fault, then holds
up no certificate. What is refused again, for the same reason, is counted in its row.

Strangers can be refused as often as they like. So each endpoint has two rings, one for those whose
sender had shown a right to a certificate, and one for strangers; a ring that is full loses the rows
that were not seen for the longest time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.audit.trail import AuditTrail
from scepkit.store.column_types import UTCDateTime
from scepkit.store.committing.group_commit import GroupCommits, Step, Writer
from scepkit.store.committing.promises import Promise
from scepkit.store.connections import savepoint
from scepkit.store.notifications.outbox import Outbox
from scepkit.store.notifications.refusal_events import tell_refused
from scepkit.store.tables.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

    from scepkit.store.audit.events import AuditEvent
    from scepkit.store.committing.remote_writer import Connect

PRUNED = 500  # rows that one commit takes out of a ring: it bounds how long other writers wait
_TRIES = 3  # of a row that another process may be adding at the same time
_SHOWN = 100  # refusals of one transactionID, or of one certificate

COUNT = (
    update(refusals)
    .where(refusals.c.digest == bindparam("of_digest"))
    .values(
        times=refusals.c.times + bindparam("more"),
        last_at=bindparam("at"),
        reason=bindparam("its_reason"),
        peer=bindparam("its_peer"),
    )
)
ADD = insert(refusals)
# Rows that another process takes out at the same time are its business.
OLDEST = (
    select(refusals.c.id)
    .where(
        refusals.c.endpoint == bindparam("of_endpoint"),
        refusals.c.is_entitled == bindparam("entitled"),
    )
    .order_by(refusals.c.last_at.desc(), refusals.c.id.desc())
    .offset(bindparam("most"))
    .limit(PRUNED)
    .with_for_update(skip_locked=True)
)
DELETE = delete(refusals).where(refusals.c.id.in_(bindparam("keys", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that was refused; of what the sender wrote, no more than the log has.

    Attributes:
        endpoint: the name of the SCEP endpoint.
        is_entitled: whether its sender had shown a right to a certificate, by a challenge or by the
            certificate that signed; otherwise anybody may have sent it.
        transaction_id: the transactionID as the log has it.
        message_type: the name of the messageType.
        at: when, aware.
        fail_info: the failInfo's number.
        reason: why, for the operator.
        rule: the setting or the rule that it does not follow; empty where that has no name.
        attribute: the part of the request that does not follow it; empty where
            that is not one part.
        length: of that part, in characters or octets, where that is what is wrong.
        subject: the subject that it asks for, as text; empty where it could not be read.
        key: SHA-256 of the canonical SubjectPublicKeyInfo of its key; empty where that is not
            known.
        serial: the serial number of the certificate that is to be renewed, or that is asked for.
        challenge: the number of the one-time challenge that it came with.
        peer: the sender's address, as the log has it.
        times: how often, since it was last kept.
    """

    endpoint: str
    is_entitled: bool
    transaction_id: str
    message_type: str
    at: datetime
    fail_info: int
    reason: str
    rule: str = ""
    attribute: str = ""
    length: int | None = None
    subject: str = ""
    key: bytes = b""
    serial: int | None = None
    challenge: int | None = None
    peer: str = ""
    times: int = 1

    @property
    def digest(self) -> bytes:
        """Return 32 octets that equal refusals have in common: who, which request, which rule."""
        parts = (
            self.endpoint,
            str(self.is_entitled),
            self.transaction_id,
            self.key.hex(),
            str(self.fail_info),
            self.rule,
            self.attribute,
        )
        digests = (hashlib.sha256(one.encode()).digest() for one in parts)
        return hashlib.sha256(b"".join(digests)).digest()


class RefusalRow(NamedTuple):
    """A refusal as it is stored.

    Attributes:
        id: its number, which tells apart what was last seen at the same time.
        first_at: when it was first seen.
        last_at: when it was last seen.
        times: how often it was seen.
        others: as in `Refusal`, with None in the place of what is empty or not known.
    """

    id: int
    endpoint: str
    is_entitled: bool
    transaction_id: str
    message_type: str
    first_at: datetime
    last_at: datetime
    times: int
    fail_info: int
    reason: str
    rule: str | None
    attribute: str | None
    length: int | None
    subject: str
    key: bytes | None
    serial: int | None
    challenge: int | None
    peer: str | None


ROWS = select(*(refusals.c[name] for name in RefusalRow._fields))


class LastSeen(NamedTuple):
    """The place of a refusal in the list."""

    last_at: datetime
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalFilter:
    """The refusals that are wanted: those to which all of it applies that is not None.

    Attributes:
        endpoint: the endpoint that refused.
        transaction_id: the transactionID as the log has it.
        serial: the certificate that was to be renewed, or that was asked for.
        key: SHA-256 of the canonical SubjectPublicKeyInfo.
        subject: a text in the subject, in any case of ASCII letters.
        seen_after: aware; last seen then or later.
        seen_before: aware; last seen before then.
    """

    endpoint: str | None = None
    transaction_id: str | None = None
    serial: int | None = None
    key: bytes | None = None
    subject: str | None = None
    seen_after: datetime | None = None
    seen_before: datetime | None = None


class Refusals(GroupCommits):
    """The part of the store that keeps what was refused."""

    def __init__(
        self, engine: Engine, node: str | None = None, committer: Connect | None = None
    ) -> None:
        super().__init__(engine, node, committer)
        self._aside: Writer | None = None
        self._aside_lock = Lock()

    def close(self) -> None:
        """Keep the refusals that are queued, then close the rest; may be called again."""
        with self._aside_lock:
            aside = self._aside
        if aside is not None:
            aside.close()
        super().close()

    def keep_refusals(self, refused: Sequence[Refusal], promise: Promise, *, most: int) -> None:
        """Keep refusals, in a transaction to come; nobody waits for it.

        Args:
            refused: some at once; equal ones are counted together by the caller, or here.
            promise: gets the number of rows that are new, or StoreError, from another thread.
            most: the rows of each ring; those that were not seen for the longest time go.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        self._writer.check()
        with self._aside_lock:
            if self._aside is None:
                # With the first one: commands of an operator's need no such thread.
                self._aside = Writer(self._writers, AuditTrail(None, Outbox()))
            aside = self._aside
        aside.submit(_Keeping(refused, most, self._audit.outbox), promise)

    def refusal_page(
        self, wanted: RefusalFilter, *, after: LastSeen | None = None, limit: int = _SHOWN
    ) -> list[RefusalRow]:
        """Return the refusals that are wanted, those last seen first.

        Args:
            wanted: which ones.
            after: go on behind this place; None to begin.
            limit: at most so many.

        Raises:
            StoreError: the database cannot be read.
        """
        place = tuple_(refusals.c.last_at, refusals.c.id)
        query = ROWS.where(*_conditions(wanted))
        if after is not None:
            last = bindparam(None, after.last_at, UTCDateTime)
            query = query.where(place < tuple_(last, bindparam(None, after.id)))
        query = query.order_by(*(one.desc() for one in place)).limit(limit)
        with self._reading() as connection:
            return [RefusalRow(*columns) for columns in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class _Keeping(Step):
    """Keeps refusals."""

    refused: Sequence[Refusal]
    most: int
    outbox: Outbox

    def write(self, connection: Connection) -> tuple[int, Sequence[AuditEvent]]:
        """Count those that are known and add the others, in one order: so two cannot stand off."""
        found: dict[bytes, list[Refusal]] = {}
        for one in self.refused:
            found.setdefault(one.digest, []).append(one)
        new = [_kept(connection, digest, found[digest]) for digest in sorted(found)]
        tell_refused(connection, self.outbox, self.refused, [one for one in new if one is not None])
        grown = Counter((one.endpoint, one.is_entitled) for one in new if one is not None)
        for endpoint, entitled in sorted(grown):
            _prune(connection, endpoint, self.most, entitled=entitled)
        return grown.total(), []


def _kept(connection: Connection, digest: bytes, equal: list[Refusal]) -> Refusal | None:
    """Count a refusal in its row; return it where it has none yet, and now does."""
    last = max(equal, key=lambda one: one.at)
    times = sum(one.times for one in equal)
    more = {
        "of_digest": digest,
        "more": times,
        "at": last.at,
        "its_reason": last.reason,
        "its_peer": last.peer or None,
    }
    for _ in range(_TRIES):
        if connection.execute(COUNT, more).rowcount:
            return None
        try:
            with savepoint(connection):
                connection.execute(ADD, _row(last, digest, min(one.at for one in equal), times))
        except IntegrityError:
            continue  # another process has just added it
        return last
    return None


def _row(refusal: Refusal, digest: bytes, first_at: datetime, times: int) -> dict[str, Any]:
    return {
        "digest": digest,
        "endpoint": refusal.endpoint,
        "is_entitled": refusal.is_entitled,
        "transaction_id": refusal.transaction_id,
        "message_type": refusal.message_type,
        "first_at": first_at,
        "last_at": refusal.at,
        "times": times,
        "fail_info": refusal.fail_info,
        "reason": refusal.reason,
        "rule": refusal.rule or None,
        "attribute": refusal.attribute or None,
        "length": refusal.length,
        "subject": refusal.subject,
        "key": refusal.key or None,
        "serial": refusal.serial,
        "challenge": refusal.challenge,
        "peer": refusal.peer or None,
    }


def _prune(connection: Connection, endpoint: str, most: int, *, entitled: bool) -> None:
    ring = {"of_endpoint": endpoint, "entitled": entitled, "most": most}
    if keys := connection.scalars(OLDEST, ring).all():
        connection.execute(DELETE, {"keys": keys})


def _conditions(wanted: RefusalFilter) -> Iterator[ColumnElement[bool]]:
    equal = {
        refusals.c.endpoint: wanted.endpoint,
        refusals.c.transaction_id: wanted.transaction_id,
        refusals.c.serial: wanted.serial,
        refusals.c.key: wanted.key,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if wanted.subject is not None:
        yield refusals.c.subject.icontains(wanted.subject, autoescape=True)
    if wanted.seen_after is not None:
        yield refusals.c.last_at >= wanted.seen_after
    if wanted.seen_before is not None:
        yield refusals.c.last_at < wanted.seen_before
