"""The audit records as they are read: listed, exported, checked; and what is written by itself."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, exists, func, literal, select, tuple_

from scepkit.store.audit.events import SERVER, AuditAction, AuditEvent
from scepkit.store.audit.format import AuditRecord, hex_text
from scepkit.store.audit.trail import JOIN_AFTER, time_text
from scepkit.store.database import Database
from scepkit.store.tables.audit import audit, audit_heads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Select

_COLUMNS = audit.c.keys()
_MOST = 2**63 - 1  # that a column for numbers holds
_OF_NODE = audit_heads.c.node == bindparam("of_node")
# Whether another chain has got more than joins since it was last carried: else two idle servers
# would write about each other for ever.
_SOMETHING = (
    exists()
    .where(
        audit.c.node == audit_heads.c.node,
        audit.c.at >= bindparam("since"),
        audit.c.action != AuditAction.JOINED.value,
    )
    .correlate(audit_heads)
)
NEWS = select(literal(1)).select_from(audit_heads).where(~_OF_NODE, _SOMETHING).limit(1)
JOINED_AT = select(audit_heads.c.joined_at).where(_OF_NODE)

HEADS = select(audit_heads.c.node, audit_heads.c.number, audit_heads.c.hash).order_by(
    audit_heads.c.node
)
FIRST_NODE = select(func.min(audit.c.node))
NEXT_NODE = FIRST_NODE.where(audit.c.node > bindparam("after"))
LONGER = (
    select(audit_heads.c.node, func.max(audit.c.number))
    .join(audit, and_(audit.c.node == audit_heads.c.node, audit.c.number > audit_heads.c.number))
    .group_by(audit_heads.c.node)
)


class AuditRecords(Database):
    """The part of the store with the audit records."""

    def write_audit(self, *events: AuditEvent) -> None:
        """Write what was done where no other record of the store tells of it.

        Raises:
            StoreError: the database cannot be written.
        """
        if self._audit.node is not None and events:
            with self._writing("write the audit record") as connection:
                self._audit.append(connection, events)

    def join_audit(self, now: datetime) -> None:
        """Write the ends of the other chains into this one, if there is news in them.

        Args:
            now: aware.

        Raises:
            StoreError: the database cannot be written.
        """
        values = {"of_node": self._audit.node}
        with self._reading() as connection:
            joined_at = connection.scalar(JOINED_AT, values)
            if not joined_at:
                return
            # Earlier by some minutes: the clocks of servers differ.
            since = time_text(datetime.fromisoformat(joined_at) - JOIN_AFTER)
            if connection.scalar(NEWS, values | {"since": since}) is None:
                return
        self.write_audit(AuditEvent(AuditAction.JOINED, SERVER, now))

    def audit_records(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: AuditRecord | None = None,
        limit: int | None = None,
        **values: str | None,
    ) -> Iterator[AuditRecord]:
        """Return records of all chains, newest first, read a page at a time.

        Args:
            since: aware; only those from then on.
            until: aware; only those of before.
            after: go on after this one, as a page of a listing does.
            limit: at most so many; all when None.
            values: only those with these texts, by member: node, actor, action, endpoint, serial,
                transaction_id; any where it is None.

        Raises:
            StoreError: the database cannot be read.
        """
        wanted = [audit.c[name] == value for name, value in values.items() if value is not None]
        if since is not None:
            wanted.append(audit.c.at >= time_text(since))
        if until is not None:
            wanted.append(audit.c.at < time_text(until))
        yield from self._pages(partial(_newest_after, wanted), _record, after, limit)

    def audit_chain(
        self, node: str, *, after: int | None = None, until: int
    ) -> Iterator[AuditRecord]:
        """Return the records of a chain, oldest first, read a page at a time.

        Args:
            node: the chain's name.
            after: the number that comes before the first; None to begin with the lowest there is,
                though none should be below 1.
            until: the number of the last.

        Raises:
            StoreError: the database cannot be read.
        """
        query = select(audit).where(audit.c.node == node, audit.c.number <= until)
        query = query.order_by(audit.c.number)

        def following(last: AuditRecord | None) -> Select[Any]:
            # Not its `number`, which is 0 for what is none: the same page would come for ever.
            number = after if last is None else last.members["number"]
            return query if number is None else query.where(audit.c.number > number)

        yield from self._pages(following, _record, None, None)

    def audit_joins(self) -> Iterator[AuditRecord]:
        """Return the records that carry the ends of other chains, chain by chain.

        Raises:
            StoreError: the database cannot be read.
        """
        key = tuple_(audit.c.node, audit.c.number)
        query = select(audit).where(audit.c.heads.is_not(None)).order_by(*key)

        def following(last: AuditRecord | None) -> Select[Any]:
            return query if last is None else query.where(key > (last.node, last.number))

        yield from self._pages(following, _record, None, None)

    def audit_hashes(self, node: str, numbers: Sequence[int]) -> dict[int, str]:
        """Return the hashes of some hundred records of a chain, by their numbers.

        Raises:
            StoreError: the database cannot be read.
        """
        # An export is a file, and may say anything; a chain's name is of ASCII.
        possible = [
            one for one in numbers if 0 < one <= _MOST and node.isascii() and "\0" not in node
        ]
        query = select(audit.c.number, audit.c.hash).where(
            audit.c.node == node, audit.c.number.in_(possible)
        )
        if not possible:
            return {}
        with self._reading() as connection:
            return {number: hex_text(digest) for number, digest in connection.execute(query)}

    def audit_heads(self) -> dict[str, tuple[int, str]]:
        """Return the ends of all chains as of one moment: number and hash, by node.

        The number is -1 where somebody has put there what is none.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            rows = connection.execute(HEADS).all()
        return {
            str(node): (number if isinstance(number, int) else -1, hex_text(digest))
            for node, number, digest in rows
        }

    def audit_nodes(self) -> list[str]:
        """Return the names of the chains that have records.

        Raises:
            StoreError: the database cannot be read.
        """
        found: list[str] = []
        with self._reading() as connection:
            # One look into the index for each; DISTINCT would read all of it.
            node = connection.scalar(FIRST_NODE)
            while node is not None:
                found.append(str(node))
                node = connection.scalar(NEXT_NODE, {"after": node})
        return found

    def audit_overrun(self) -> dict[str, int]:
        """Return the last numbers of chains that are longer than their ends say, by node.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(LONGER)}


def _newest_after(wanted: Sequence[ColumnElement[bool]], last: AuditRecord | None) -> Select[Any]:
    key = tuple_(audit.c.at, audit.c.node, audit.c.number)
    query = (
        select(audit)
        .where(*wanted)
        .order_by(audit.c.at.desc(), audit.c.node.desc(), audit.c.number.desc())
    )
    if last is None:
        return query
    return query.where(key < (last.members["at"], last.node, last.number))


def _record(row: Any) -> AuditRecord:
    return AuditRecord.of_row(dict(zip(_COLUMNS, row, strict=True)))
