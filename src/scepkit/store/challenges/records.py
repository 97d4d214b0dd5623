"""One-time challenges: added, found, listed, voided; `requests.issuances` spends them.

Voiding is one statement whose condition is the guard, as that of spending is: of the two at once
one changes no row.
"""

from __future__ import annotations

from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import UsageError
from scepkit.store.audit.events import UNKNOWN, AuditAction, AuditEvent, ranges
from scepkit.store.audit.trail import time_text
from scepkit.store.challenges import mintings
from scepkit.store.challenges.challenge import Challenge, challenge_of
from scepkit.store.challenges.pending import BY_DOOR, MANY, PendingChallenges, check_room, count
from scepkit.store.column_types import UTCDateTime
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.challenges import IS_OPEN, challenge_uses, challenges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select

    from scepkit.store.challenges.mintings import Minting, NewMinting
    from scepkit.store.values import NewChallenge

CHUNK = 500  # challenges voided in one transaction: some milliseconds
PAUSE_SECONDS = 0.01  # between two of them: see `purge`

# The MACs come back with the keys: the order of the rows is nothing that databases promise.
ADD = insert(challenges).returning(challenges.c.mac, challenges.c.id)
BY_MAC = Prepared(
    select(challenges).where(
        challenges.c.endpoint == bindparam("endpoint"), challenges.c.mac == bindparam("mac")
    )
)
BY_MACS = select(challenges).where(
    challenges.c.endpoint == bindparam("endpoint"),
    challenges.c.mac.in_(bindparam("macs", expanding=True)),
)
BY_NUMBER = select(challenges).where(challenges.c.id == bindparam("challenge_id"))
USED_FOR = (
    select(challenge_uses.c.serial)
    .join(
        certificates,
        and_(
            challenge_uses.c.serial == certificates.c.serial,
            challenge_uses.c.issuer == certificates.c.issuer,
        ),
    )
    .where(
        challenge_uses.c.challenge_id == bindparam("challenge_id"),
        certificates.c.subject_digest == bindparam("digest"),
    )
    .limit(1)
)
VOID = (
    update(challenges)
    .where(challenges.c.id.in_(bindparam("ids", expanding=True)), IS_OPEN)
    .values(
        voided_at=bindparam("now", type_=UTCDateTime),
        voided_by=bindparam("by"),
        void_reason=bindparam("why"),
    )
    .returning(challenges.c.id, challenges.c.endpoint, challenges.c.subject)
)


class ChallengeRecords(Database):
    """The part of the store with the one-time challenges."""

    def add_challenges(
        self,
        new: Sequence[NewChallenge],
        *,
        by: str = UNKNOWN,
        reason: str = "",
        max_pending: int | None = None,
        minting: NewMinting | None = None,
    ) -> list[int]:
        """Add challenges, all or none; they are on the disk when this returns.

        Args:
            new: what they are; all of one endpoint and one door.
            by: who makes them, for the record.
            reason: why, for the same.
            max_pending: the most challenges of that endpoint and that door that may be neither
                spent, void nor expired, these included; None for no bound. Of several who add some
                at once, in whatever process, none goes beyond it.
            minting: the key under which they are made, if there is one.

        Returns:
            Their numbers, in the same order.

        Raises:
            TooManyPending: they would be more than `max_pending`.
            KeyTaken: challenges were made under the key already.
            UsageError: a MAC is there already, so the secret is not new.
            StoreError: the database cannot be written.
        """
        rows = [_row(challenge) for challenge in new]
        if not rows:
            return []
        with self._writing("add the challenges") as connection:
            if minting is not None:
                mintings.add(connection, minting)
            check_room(connection, new, max_pending)
            try:
                numbers = {row.mac: row.id for row in connection.execute(ADD, rows)}
            except IntegrityError as error:
                raise UsageError(
                    "a challenge with this secret exists already; none was added",
                    hint="choose another secret, better a random one",
                ) from error
            event = _minted(new, [*numbers.values()], by)._replace(reason=reason)
            if len(rows) >= MANY and connection.dialect.name == "postgresql":
                count(connection, len(rows))
            self._audit.append(connection, [event])
        return [numbers[challenge.mac] for challenge in new]

    def find_minting(self, token: int, key_mac: bytes, now: datetime) -> Minting | None:
        """Return what is remembered of an Idempotency-Key; None where nothing is.

        Args:
            token: the number of the token that asks.
            key_mac: a keyed digest of the key.
            now: aware.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return mintings.find(connection, token, key_mac, now)

    def challenges_by_mac(self, endpoint: str, macs: Sequence[bytes]) -> dict[bytes, Challenge]:
        """Return the challenges of an endpoint with these MACs, in any state.

        Raises:
            StoreError: the database cannot be read.
        """
        found: dict[bytes, Challenge] = {}
        for start in range(0, len(macs), CHUNK):
            values = {"endpoint": endpoint, "macs": [*macs[start : start + CHUNK]]}
            with self._reading() as connection:
                rows = map(challenge_of, connection.execute(BY_MACS, values))
                found.update((one.mac, one) for one in rows)
        return found

    def find_challenge(self, endpoint: str, mac: bytes) -> Challenge | None:
        """Return the challenge with that MAC; spent, void and expired ones too, for the log.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self._look_up(BY_MAC, {"endpoint": endpoint, "mac": mac})
        return None if row is None else challenge_of(row)

    def challenge(self, challenge_id: int) -> Challenge | None:
        """Return the challenge with that number; None when there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(BY_NUMBER, {"challenge_id": challenge_id}).first()
            return None if row is None else challenge_of(row)

    def pending_challenges(self, now: datetime) -> list[PendingChallenges]:
        """Return how many challenges are neither spent, void nor expired, by endpoint and door.

        Args:
            now: aware.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return [PendingChallenges(*row) for row in connection.execute(BY_DOOR, {"now": now})]

    def was_used_for(self, challenge_id: int, subject_digest: bytes | None) -> bool:
        """Say whether a challenge that is good for several certificates was used for a subject.

        Args:
            challenge_id: its number.
            subject_digest: as in `Entry`; nobody has None.

        Raises:
            StoreError: the database cannot be read.
        """
        values = {"challenge_id": challenge_id, "digest": subject_digest}
        with self._reading() as connection:
            return connection.execute(USED_FOR, values).first() is not None

    def challenges(
        self,
        *,
        endpoint: str | None = None,
        subject: str | None = None,
        label: str | None = None,
        is_open: bool = False,
        now: datetime | None = None,
        after: Challenge | None = None,
        limit: int | None = None,
    ) -> Iterator[Challenge]:
        """Return the challenges, newest first, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            subject: only those whose subject has this somewhere, in any case of ASCII letters.
            label: only those with exactly this label.
            is_open: only those that are neither spent nor void.
            now: aware; only those that have not expired by then. None: expired ones too.
            after: go on after this one, as a page of a listing does.
            limit: at most so many; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        wanted = _filters(endpoint, subject, label, now, is_open=is_open)
        yield from self._pages(partial(_after, wanted), challenge_of, after, limit)

    def void_challenges(
        self, ids: Sequence[int], *, by: str, now: datetime, reason: str = ""
    ) -> Iterator[list[int]]:
        """Take challenges back, so that they are good for nothing; a chunk after the other.

        Args:
            ids: their numbers. What is spent or void by then stays as it is.
            by: who takes them back, for the record.
            now: aware.
            reason: why, for the record.

        Yields:
            The numbers of those that this call has voided, when they are on the disk.

        Raises:
            StoreError: the database cannot be written; what was voided stays so.
        """
        for start in range(0, len(ids), CHUNK):
            if start:
                sleep(PAUSE_SECONDS)
            values = {
                "ids": [*ids[start : start + CHUNK]],
                "by": by,
                "why": reason or None,
                "now": now,
            }
            with self._writing("void the challenges") as connection:
                done = connection.execute(VOID, values).all()
                if done:
                    event = _voided(done, by, now)._replace(reason=reason)
                    self._audit.append(connection, [event])
            yield [row.id for row in done]


def _minted(new: Sequence[NewChallenge], numbers: Sequence[int], by: str) -> AuditEvent:
    """Return the audit event of new challenges: one for all of them, as they were asked for."""
    first, labels = new[0], {one.label for one in new}
    details: dict[str, Any] = {"door": str(first.door)}
    if first.label and len(labels) == 1:
        details["label"] = first.label
    event = AuditEvent(AuditAction.CHALLENGES_MINTED, by, first.created_at, endpoint=first.endpoint)
    if len(new) > 1:
        details |= {"count": len(new), "challenges": ranges(numbers)}
        if any(one.uses > 1 for one in new):
            details["uses"] = sum(one.uses for one in new)
        return event._replace(details=details)
    details |= {"sans": [*first.sans], "expires": time_text(first.expires_at)}
    if first.uses > 1:
        details["uses"] = first.uses
    return event._replace(
        action=AuditAction.CHALLENGE_MINTED,
        subject=first.subject,
        challenge=numbers[0],
        details=details,
    )


def _voided(rows: Sequence[Any], by: str, now: datetime) -> AuditEvent:
    """Return the audit event of challenges that were voided in one step."""
    first, endpoints = rows[0], {row.endpoint for row in rows}
    event = AuditEvent(
        AuditAction.CHALLENGES_VOIDED,
        by,
        now,
        endpoint=first.endpoint if len(endpoints) == 1 else None,
    )
    if len(rows) > 1:
        numbers = ranges(row.id for row in rows)
        return event._replace(details={"count": len(rows), "challenges": numbers})
    return event._replace(
        action=AuditAction.CHALLENGE_VOIDED, challenge=first.id, subject=first.subject
    )


def _filters(
    endpoint: str | None,
    subject: str | None,
    label: str | None,
    now: datetime | None,
    *,
    is_open: bool,
) -> list[ColumnElement[bool]]:
    wanted = []
    if endpoint is not None:
        wanted.append(challenges.c.endpoint == endpoint)
    if subject is not None:
        wanted.append(challenges.c.subject.icontains(subject, autoescape=True))
    if label is not None:
        wanted.append(challenges.c.label == label)
    if is_open:
        wanted.append(IS_OPEN)
    if now is not None:
        wanted.append(challenges.c.expires_at > literal(now, UTCDateTime))
    return wanted


def _after(wanted: Sequence[ColumnElement[bool]], after: Challenge | None) -> Select[Any]:
    query = select(challenges).where(*wanted).order_by(challenges.c.id.desc())
    return query if after is None else query.where(challenges.c.id < after.id)


def _row(challenge: NewChallenge) -> dict[str, object]:
    return {
        "endpoint": challenge.endpoint,
        "mac": challenge.mac,
        "subject": challenge.subject,
        "sans": list(challenge.sans),
        "created_at": challenge.created_at,
        "expires_at": challenge.expires_at,
        "label": challenge.label,
        "data": dict(challenge.data) or None,
        "uses": challenge.uses,
        "door": challenge.door.value,
    }
