"""The chains of audit records: one for each process slot, so that none waits for another's.

A record is written in the transaction of what it tells of. The end of a chain is a row of its own,
moved in the same transaction by an update whose condition is the end that the record follows; where
somebody else was faster it is read again. That row is locked last in a transaction, so nobody waits
for anything else who holds it.

The chains are joined: from time to time a record carries the ends of the others. Who cuts one off
at its end, and sets its row back, is betrayed by the others.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.store.audit.events import AuditAction
from scepkit.store.audit.format import FIRST_PREVIOUS, FORMAT, JCS
from scepkit.store.connections import savepoint
from scepkit.store.prepared import Placed, Prepared
from scepkit.store.tables.audit import audit, audit_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from scepkit.store.audit.events import AuditEvent
    from scepkit.store.notifications.outbox import Outbox
    from scepkit.store.prepared import Trip

JOIN_RECORDS = 1000  # records of a chain until one carries the ends of the others again
JOIN_AFTER = timedelta(minutes=10)  # or so much later
MOST_HEADS = 100  # ends in one record, those that moved last; each process slot has one


class Unlinked(NamedTuple):
    """A record that is in no chain yet: its columns but for its place there."""

    at: str
    actor: str
    action: str
    endpoint: str | None
    serial: str | None
    transaction_id: str | None
    subject: str | None
    challenge: int | None
    reason: str | None
    details: str | None


RECORD = ("node", "number", *Unlinked._fields, "heads", "previous", "hash")
"""The columns of a record, by place."""

_OF_NODE = audit_heads.c.node == bindparam("of_node")
APPEND = Placed(
    insert(audit).values({name: bindparam(f"new_{name}") for name in audit.c.keys()}),  # noqa: SIM118
    [f"new_{name}" for name in RECORD],
)
# The condition is the guard: on the hash too, because after a rollback an end that never was may be
# remembered here, and its number may be given to another record.
MOVE = Prepared(
    update(audit_heads)
    .where(
        _OF_NODE,
        audit_heads.c.number == bindparam("old_number"),
        audit_heads.c.hash == bindparam("old_hash"),
    )
    .values(
        number=bindparam("new_number"),
        hash=bindparam("new_hash"),
        at=bindparam("new_at"),
        joined_number=bindparam("new_joined_number"),
        joined_at=bindparam("new_joined_at"),
    )
)
BEGIN = insert(audit_heads)
END = select(audit_heads).where(_OF_NODE).with_for_update()  # the lock is PostgreSQL's
LAST = (
    select(audit.c.number, audit.c.hash)
    .where(audit.c.node == bindparam("of_node"))
    .order_by(audit.c.number.desc())
    .limit(1)
)
SET_BACK = (
    update(audit_heads)
    .where(_OF_NODE)
    .values(number=bindparam("new_number"), hash=bindparam("new_hash"))
)
OTHERS = (
    select(audit_heads.c.node, audit_heads.c.number, audit_heads.c.hash)
    .where(audit_heads.c.node != bindparam("of_node"))
    .order_by(audit_heads.c.at.desc(), audit_heads.c.node)
    .limit(MOST_HEADS)
)


class _End(NamedTuple):
    """The end of a chain, and when it last carried the others'; `joined` is `joined_at`, read."""

    number: int
    hash: bytes
    joined_number: int
    joined_at: str
    joined: datetime | None


class EndMovedError(Exception):
    """A chain ends elsewhere than where its new records were to follow."""


class AuditTrail:
    """Writes a chain, and tells the outbox of the same events.

    Args:
        node: its name, the same one at every start; None to write nothing.
        outbox: as below.

    Attributes:
        outbox: where those are told who have subscribed; replaced with the settings.
    """

    def __init__(self, node: str | None, outbox: Outbox) -> None:
        self.node = node
        self.outbox = outbox
        self._end: _End | None = None

    def append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Write events in the connection's transaction, as the last thing that is done in it.

        Raises:
            SQLAlchemyError: the database failed, and the transaction is to be rolled back.
        """
        if self.outbox.subscriptions:
            self.outbox.put(connection, events)
        if self.node is None or not events:
            return
        end = self._take_end()
        records = [*map(unlinked, events)]
        if end is None or not self._follows(connection, end, records):
            end = _end(connection, self.node)
            if not self._follows(connection, end, records):
                raise StoreError("the audit chain has two ends", hint="report this as a bug")

    def append_within(
        self,
        trip: Trip,
        records: Sequence[Unlinked],
        events: Callable[[], Sequence[AuditEvent]],
    ) -> bool:
        """Write records on a trip, whose last ones they are; return False where `append` has to.

        It does where the end of the chain has to be looked for, or those of others.

        Args:
            trip: the trip.
            records: what is written.
            events: returns the same as events, for those who have subscribed, if there are any.

        Raises:
            EndMovedError: it is the end no more, and the transaction is to be rolled back; at the
                end of the trip.
        """
        links = None
        if self.node is not None and records:
            end = self._take_end()
            if end is None or _is_join_due(end, records[0]):
                self._end = end
                return False
            links = _links(records, self.node, end, None)
        if self.outbox.subscriptions:
            self.outbox.put_within(trip, events())
        if links is not None:
            trip.expect(MOVE, [links.move], EndMovedError())
            trip.run(APPEND, *links.records)
            self._end = links.end
        return True

    def _take_end(self) -> _End | None:
        """Return the end as it is remembered, and forget it until records follow it.

        If a record stands in the way that somebody has put there, the next one looks for the end
        behind it. An end is remembered before the commit: if that fails, it does not fit.
        """
        end, self._end = self._end, None
        return end

    def _follows(self, connection: Connection, end: _End, records: Sequence[Unlinked]) -> bool:
        """Write records after that end; return False, with nothing written, where it is none.

        The end is moved first, so that nobody else adds a record in between.
        """
        node = self.node or ""
        heads = _others(connection, node) if _is_join_due(end, records[0]) else None
        links = _links(records, node, end, heads)
        if not MOVE.run(connection, links.move).rowcount:
            return False
        APPEND.run(connection, *links.records)
        self._end = links.end
        return True


class _Links(NamedTuple):
    """The new records of a chain: their rows, its new end, and the parameters that move it."""

    records: list[tuple[Any, ...]]
    end: _End
    move: dict[str, Any]


def _links(
    records: Sequence[Unlinked], node: str, end: _End, heads: Mapping[str, Any] | None
) -> _Links:
    """Return what records become that follow an end; the first one carries the others' heads."""
    rows: list[tuple[Any, ...]] = []
    number, previous = end.number, end.hash
    carried = JCS.encode(heads) if heads else None
    for record in records:
        number += 1
        row = linked(record, node, number, previous, None if rows else carried)
        rows.append(row)
        previous = row[-1]
    at = records[-1].at
    joined = end[2:] if heads is None else (number, at, _read_time(at))
    new = _End(number, previous, *joined)
    return _Links(rows, new, _move(node, end, new, at))


def unlinked(event: AuditEvent) -> Unlinked:
    """Return the record that an event becomes."""
    serial, transaction_id = event.serial, event.transaction_id
    return Unlinked(
        at=time_text(event.at),
        actor=clean(event.actor),
        action=str(event.action),
        endpoint=event.endpoint or None,
        serial=None if serial is None else show_serial(serial),
        transaction_id=None if transaction_id is None else str(TransactionID(transaction_id)),
        subject=clean(event.subject) if event.subject else None,
        challenge=event.challenge,
        reason=clean(event.reason) if event.reason else None,
        details=_object(event.details) if event.details else None,
    )


def linked(
    record: Unlinked, node: str, number: int, previous: bytes, heads: str | None
) -> tuple[Any, ...]:
    """Return a record at its place in a chain, as `RECORD` names its columns.

    The text that `format.digest` hashes is written member by member: each enrolment pays for one.
    An encoder, a codec or a zone that is touched only here costs more than all the rest: between
    two enrolments the processor has forgotten it.

    Args:
        record: what was done.
        node: the name of the chain.
        number: its number there.
        previous: the hash of the record before it.
        heads: the ends of other chains, as JSON.
    """
    at, actor, action, endpoint, serial, transaction_id, subject, challenge, reason, details = (
        record
    )
    text = "".join(
        (
            f'{{"action":"{action}","actor":{_quoted(actor)},"at":"{at}"',
            "" if challenge is None else f',"challenge":{challenge}',
            "" if details is None else f',"details":{details}',
            "" if endpoint is None else f',"endpoint":{_quoted(endpoint)}',
            f',"format":{FORMAT}',
            "" if heads is None else f',"heads":{heads}',
            f',"node":{_quoted(node)},"number":{number},"previous":"{previous.hex()}"',
            "" if reason is None else f',"reason":{_quoted(reason)}',
            "" if serial is None else f',"serial":"{serial}"',
            "" if subject is None else f',"subject":{_quoted(subject)}',
            "" if transaction_id is None else f',"transaction_id":{_quoted(transaction_id)}',
            "}",
        )
    )
    return node, number, *record, heads, previous, hashlib.sha256(text.encode()).digest()


def _object(values: Mapping[str, Any]) -> str:
    """Write an object as `JCS` does; text and whole numbers, which most have, at once."""
    members = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, str):
            text = _quoted(value)
        else:
            text = str(value) if type(value) is int else JCS.encode(value)
        members.append(f"{_quoted(name)}:{text}")
    return f"{{{','.join(members)}}}"


def clean(text: str) -> str:
    """Replace what PostgreSQL or UTF-8 cannot hold: NUL, and halves of surrogate pairs."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\x00")


def time_text(at: datetime) -> str:
    """Return a time as records have it, in UTC; the text sorts as the times do."""
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return f"{in_utc.isoformat(timespec='microseconds')[:26]}Z"


def _end(connection: Connection, node: str) -> _End:
    """Return the end of a chain, which is nobody else's until the commit; begin a new one.

    Where the end's row is not the last record's, as somebody may have made it, the later one
    counts: enrolments go on, and a check of the chain finds what is missing.
    """
    values = {"of_node": node}
    row = connection.execute(END, values).first()
    if row is None:
        try:
            with savepoint(connection):
                connection.execute(BEGIN, _first(node))
        except IntegrityError:
            pass  # another process was faster
        row = connection.execute(END, values).one()
    joined = _read_time(row.joined_at)
    end = _End(row.number, row.hash, row.joined_number, row.joined_at, joined)
    last = connection.execute(LAST, values).first()
    if last is not None and last.number > end.number:
        end = end._replace(number=last.number, hash=last.hash)
        connection.execute(SET_BACK, values | {"new_number": end.number, "new_hash": end.hash})
    return end


def _first(node: str) -> dict[str, Any]:
    return {
        "node": node,
        "number": 0,
        "hash": FIRST_PREVIOUS,
        "at": "",
        "joined_number": 0,
        "joined_at": "",
    }


def _move(node: str, old: _End, new: _End, at: str) -> dict[str, Any]:
    return {
        "of_node": node,
        "old_number": old.number,
        "old_hash": old.hash,
        "new_number": new.number,
        "new_hash": new.hash,
        "new_at": at,
        "new_joined_number": new.joined_number,
        "new_joined_at": new.joined_at,
    }


def _is_join_due(end: _End, record: Unlinked) -> bool:
    """Say whether the first of new records carries the ends of the other chains."""
    if record.action in (AuditAction.STARTED, AuditAction.JOINED):
        return True
    if end.joined is None:
        return True
    if abs(datetime.fromisoformat(record.at) - end.joined) >= JOIN_AFTER:
        return True
    return end.number - end.joined_number >= JOIN_RECORDS


def _read_time(text: str) -> datetime | None:
    """Return a time of a record; None for what is none: no record has carried the others' yet."""
    try:
        time = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return time if time.tzinfo is not None else None


def _others(connection: Connection, node: str) -> Mapping[str, Any]:
    rows = connection.execute(OTHERS, {"of_node": node}).all()
    return {other: {"number": number, "hash": digest.hex()} for other, number, digest in rows}
