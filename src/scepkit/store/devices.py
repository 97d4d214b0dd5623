"""Lists of devices, one for each endpoint: imported, looked up by requests, listed, removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import bindparam, delete, func, insert, select

from scepkit.errors import UsageError
from scepkit.store.audit.events import AuditAction, AuditEvent, ranges
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.devices import devices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

MOST = 1_000_000
"""The devices on the list of one endpoint."""

CHUNK = 500  # rows looked for in one statement

DeviceColumn: TypeAlias = Literal["key", "serial_number", "mac", "hostname"]

_COLUMNS: tuple[DeviceColumn, ...] = ("key", "serial_number", "mac", "hostname")

KNOWN = select(devices.c.digest).where(
    devices.c.endpoint == bindparam("endpoint"),
    devices.c.digest.in_(bindparam("digests", expanding=True)),
)
COUNT = select(func.count()).select_from(devices).where(devices.c.endpoint == bindparam("endpoint"))
ADD = insert(devices)
REMOVE = (
    delete(devices)
    .where(
        devices.c.endpoint == bindparam("endpoint"),
        devices.c.id.in_(bindparam("ids", expanding=True)),
    )
    .returning(devices.c.id)
)


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to be put on a list, by one or several of its first four attributes.

    Attributes:
        key: SHA-256 of its canonical SubjectPublicKeyInfo.
        serial_number: in lower case.
        mac: the MAC address, 12 hex digits in lower case.
        hostname: in lower case, without a dot at the end.
        label: what people know it by.
    """

    key: bytes | None = None
    serial_number: str | None = None
    mac: str | None = None
    hostname: str | None = None
    label: str | None = None

    @property
    def digest(self) -> bytes:
        """Return 32 octets that only the same device has; the label does not count."""
        key = None if self.key is None else self.key.hex()
        text = json.dumps([key, self.serial_number, self.mac, self.hostname])
        return hashlib.sha256(text.encode()).digest()


class Device(NamedTuple):
    """A device on the list of an endpoint; the other attributes are those of `NewDevice`."""

    id: int
    endpoint: str
    key: bytes | None
    serial_number: str | None
    mac: str | None
    hostname: str | None
    label: str | None
    digest: bytes
    added_at: datetime
    added_by: str


class DeviceRecords(Database):
    """The part of the store with the lists of devices."""

    def import_devices(
        self,
        endpoint: str,
        new: Sequence[NewDevice],
        *,
        by: str,
        now: datetime,
        reason: str = "",
        gone: Sequence[int] = (),
        advance: Callable[[int], None] = lambda _more: None,
    ) -> int:
        """Put devices on the list of an endpoint, all or none; those that are there stay.

        Args:
            endpoint: its name.
            new: the devices.
            by: who does it, for the record.
            now: aware.
            reason: why, for the record.
            gone: the numbers of devices that are removed in the same step.
            advance: called with how many more are written.

        Returns:
            How many were not there before.

        Raises:
            UsageError: the list would be longer than `MOST`.
            StoreError: the database cannot be written.
        """
        with self._writing("import the devices") as connection:
            if connection.dialect.name == "postgresql":
                # Of two imports at once the second one waits for what the first one adds.
                connection.exec_driver_sql(f"LOCK TABLE {devices.name} IN EXCLUSIVE MODE")
            done = _remove(connection, endpoint, gone)
            added = _add(connection, endpoint, new, by, now, advance)
            events = _removal(done, by, now, endpoint, reason)
            if added:
                event = AuditEvent(AuditAction.DEVICES_IMPORTED, by, now, endpoint, reason=reason)
                events.append(event._replace(details={"count": added}))
            self._audit.append(connection, events)
        return added

    def has_device(self, endpoint: str, facts: Mapping[DeviceColumn, bytes | str]) -> bool:
        """Say whether one device on the list of an endpoint has all of some facts.

        Args:
            endpoint: its name.
            facts: by the names of the attributes of `NewDevice`, as these have them.

        Raises:
            StoreError: the database cannot be read.
        """
        columns = tuple(name for name in _COLUMNS if name in facts)
        values: dict[str, Any] = {f"its_{name}": facts[name] for name in columns}
        return self._look_up(_with(columns), values | {"endpoint": endpoint}) is not None

    def devices(
        self, endpoint: str | None = None, *, after: Device | None = None, limit: int | None = None
    ) -> Iterator[Device]:
        """Return the devices on the lists, in the order of their import, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            after: go on after this one.
            limit: at most so many; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        yield from self._pages(partial(_after, endpoint), lambda row: Device(*row), after, limit)

    def remove_devices(
        self, endpoint: str, ids: Sequence[int], *, by: str, now: datetime, reason: str = ""
    ) -> list[int]:
        """Remove devices from the list of an endpoint, all in one step.

        Args:
            endpoint: its name.
            ids: their numbers; those that are not on it do not count.
            by: who does it, for the record.
            now: aware.
            reason: why, for the record.

        Returns:
            The numbers of those that were on it.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("remove the devices") as connection:
            done = _remove(connection, endpoint, ids)
            self._audit.append(connection, _removal(done, by, now, endpoint, reason))
        return done


def _add(
    connection: Connection,
    endpoint: str,
    new: Sequence[NewDevice],
    by: str,
    now: datetime,
    advance: Callable[[int], None],
) -> int:
    """Put devices on a list; return how many were not there before.

    Raises:
        UsageError: the list would be longer than `MOST`.
    """
    count = connection.execute(COUNT, {"endpoint": endpoint}).scalar_one()
    unique = {one.digest: one for one in new}
    added, digests = 0, [*unique]
    for start in range(0, len(digests), CHUNK):
        chunk = digests[start : start + CHUNK]
        known = {*connection.scalars(KNOWN, {"endpoint": endpoint, "digests": chunk})}
        rows = [
            _row(endpoint, unique[digest], digest, by, now)
            for digest in chunk
            if digest not in known
        ]
        added += len(rows)
        if count + added > MOST:
            raise UsageError(
                f"the list would have more than {MOST} devices; none was added",
                hint="remove those that are gone",
            )
        if rows:
            connection.execute(ADD, rows)
        advance(len(chunk))
    return added


def _remove(connection: Connection, endpoint: str, ids: Sequence[int]) -> list[int]:
    """Remove devices from a list; return the numbers of those that were on it."""
    done: list[int] = []
    for start in range(0, len(ids), CHUNK):
        values = {"endpoint": endpoint, "ids": [*ids[start : start + CHUNK]]}
        done += connection.scalars(REMOVE, values)
    return sorted(done)


def _removal(
    done: Sequence[int], by: str, now: datetime, endpoint: str, reason: str
) -> list[AuditEvent]:
    """Return the audit record of a removal; none where nothing was removed."""
    event = AuditEvent(AuditAction.DEVICES_REMOVED, by, now, endpoint, reason=reason)
    details = {"count": len(done), "devices": ranges(done)}
    return [event._replace(details=details)] if done else []


@cache
def _with(columns: tuple[DeviceColumn, ...]) -> Prepared:
    """Return the statement that finds a device by some columns."""
    return Prepared(
        select(devices.c.id)
        .where(
            devices.c.endpoint == bindparam("endpoint"),
            *(devices.c[name] == bindparam(f"its_{name}") for name in columns),
        )
        .limit(1)
    )


def _after(endpoint: str | None, after: Device | None) -> Select[Any]:
    query = select(devices).order_by(devices.c.id)
    if endpoint is not None:
        query = query.where(devices.c.endpoint == endpoint)
    return query if after is None else query.where(devices.c.id > after.id)


def _row(endpoint: str, new: NewDevice, digest: bytes, by: str, now: datetime) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "key": new.key,
        "serial_number": new.serial_number,
        "mac": new.mac,
        "hostname": new.hostname,
        "label": new.label,
        "digest": digest,
        "added_at": now,
        "added_by": by,
    }
