"""Assents: what services outside said yes to, before the signature.

A service may spend a secret with its yes, so it is not asked twice: a retransmission after a crash
finds the yes here, with the answer that came with it. It is good for one transactionID, one key
that signed, and one PKCS#10; the first answer to them stays. It is the word of one service: where
another one is asked by now, that one's word counts.

Many services answer at once, or one answers many at once. So their words share commits with each
other and with the certificates that are recorded at the time (`committing.group_commit`).
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.committing.group_commit import GroupCommits, Step
from scepkit.store.connections import savepoint
from scepkit.store.tables.requests import requests, transactions
from scepkit.store.tables.third_parties import assents
from scepkit.store.values import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection


_THIS_ASSENT = and_(
    assents.c.endpoint == bindparam("of_endpoint"),
    assents.c.transaction_id == bindparam("of_transaction_id"),
    assents.c.signer_key == bindparam("of_signer_key"),
    assents.c.csr_digest == bindparam("of_csr_digest"),
)
SAID = select(assents.c.said_at, assents.c.answer, assents.c.service).where(_THIS_ASSENT)
SAY_AGAIN = (
    update(assents)
    .where(
        _THIS_ASSENT,
        or_(
            assents.c.said_at < bindparam("since"),
            assents.c.service.is_(None),
            assents.c.service != bindparam("its_service"),
        ),
    )
    .values(
        said_at=bindparam("now"), answer=bindparam("its_answer"), service=bindparam("its_service")
    )
)
SAY = insert(assents)
# What waits is granted by the answer when its time comes.
FORGET = delete(assents).where(
    assents.c.said_at < bindparam("before"),
    ~exists().where(
        transactions.c.endpoint == assents.c.endpoint,
        transactions.c.transaction_id == assents.c.transaction_id,
        requests.c.transaction_row == transactions.c.id,
        requests.c.status == Status.PENDING.value,
    ),
)

_RECORDED = ("names", "validity_seconds")  # of an answer, in the audit record


StoredAnswer: TypeAlias = "Mapping[str, Any]"
"""The additions of a service to its yes, as JSON has them; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assent:
    """The request that a service said yes to.

    Attributes:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received.
        signer_key: SHA-256 of the request signer's SubjectPublicKeyInfo.
        csr_digest: SHA-256 of the PKCS#10 as received.
    """

    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    csr_digest: bytes

    @property
    def columns(self) -> dict[str, Any]:
        """Return the row's key."""
        return {
            "endpoint": self.endpoint,
            "transaction_id": self.transaction_id,
            "signer_key": self.signer_key,
            "csr_digest": self.csr_digest,
        }

    @property
    def condition(self) -> dict[str, Any]:
        """Return the parameters that find the row."""
        return {f"of_{name}": value for name, value in self.columns.items()}


class Assents(GroupCommits):
    """The part of the store that keeps what services outside said yes to."""

    def assent(
        self,
        assent: Assent,
        answer: StoredAnswer,
        *,
        service: bytes,
        by: str,
        now: datetime,
        since: datetime,
    ) -> Future[StoredAnswer]:
        """Store a yes with its answer, unless the service's own is there, no older than `since`.

        Args:
            assent: the request.
            answer: what the service added.
            service: SHA-256 of what tells the service from others.
            by: the service, for the record.
            now: aware.
            since: aware.

        Returns:
            A future, resolved after the commit, of the answer that stands. Or StoreError.

        Raises:
            StoreError: too much is queued, or the store is closed.
        """
        return self._writer.submit(_Assenting(assent, answer, service, by, now, since), Future())

    def answer_to(
        self, assent: Assent, *, since: datetime | None = None, service: bytes | None = None
    ) -> StoredAnswer | None:
        """Return the answer that came with a yes; None where no yes is stored.

        Args:
            assent: the request.
            since: aware; an older yes does not count. None: any does.
            service: as in `assent`; that of another service does not count. None: any does.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            said = connection.execute(SAID, assent.condition).first()
            if said is None or (since is not None and said.said_at < since):
                return None
            if service is not None and said.service != service:
                return None
            return said.answer or {}

    def forget_assents(self, before: datetime) -> int:
        """Delete what was said before that, but of requests that wait; return how many.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("delete what is old") as connection:
            return connection.execute(FORGET, {"before": before}).rowcount


@dataclass(frozen=True, slots=True)
class _Assenting(Step):
    """The storing of a yes."""

    assent: Assent
    answer: StoredAnswer
    service: bytes
    by: str
    now: datetime
    since: datetime

    def write(self, connection: Connection) -> tuple[StoredAnswer, list[AuditEvent]]:
        """Write it in the place of one that counts no more, if any; return what stands."""
        condition, answer = self.assent.condition, dict(self.answer) or None
        said = {"said_at": self.now, "answer": answer, "service": self.service}
        values = condition | {
            "now": self.now,
            "since": self.since,
            "its_answer": answer,
            "its_service": self.service,
        }
        is_new = connection.execute(SAY_AGAIN, values).rowcount == 1
        if not is_new:
            # The same request at the same time may have said it, also in another process.
            with suppress(IntegrityError), savepoint(connection):
                connection.execute(SAY, self.assent.columns | said)
                is_new = True
        if is_new:
            return self.answer, [self._event()] if answer else []
        return connection.execute(SAID, condition).one().answer or {}, []

    def _event(self) -> AuditEvent:
        """Return the audit event of an answer; a yes alone is not recorded."""
        return AuditEvent(
            AuditAction.ANSWERED,
            self.by,
            self.now,
            endpoint=self.assent.endpoint,
            transaction_id=self.assent.transaction_id,
            subject=self.answer.get("subject"),
            details={name: self.answer[name] for name in _RECORDED if name in self.answer},
        )
