"""The store as the rest of scepkit sees it: safe to use from many threads at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from scepkit.errors import UsageError
from scepkit.store import queries
from scepkit.store.engine import Kept, connect, transaction
from scepkit.store.faults import translated
from scepkit.store.schema import bring_up_to_date, version
from scepkit.store.tables import challenges
from scepkit.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from sqlalchemy import Connection, Engine

    from scepkit.store.values import (
        Answer,
        CertificateRow,
        Challenge,
        Issuance,
        NewChallenge,
        OtherOwner,
        Outcome,
    )

PAGE = 500  # certificates read at a time: about a megabyte

ADD_CHALLENGE = insert(challenges)
TOUCH = update(version).values(version_num=version.c.version_num)


class Store:
    """A database of challenges, transactions, requests and certificates.

    Every process opens its own, after any fork. The methods block for as long as the disk takes,
    except `record`: it only queues, and its future is resolved after the commit.

    Args:
        engine: a database whose tables are current; `Store.open` makes one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers = Kept(engine)
        self._writers = Kept(engine, writing=True)
        self._writer = Writer(self._writers)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a database, creating or migrating its tables where needed.

        Args:
            url: for instance ``sqlite:////var/lib/scep/scep.db``; the directory must exist.

        Raises:
            NewerDatabase: a newer scepkit wrote it.
            StoreError: it cannot be opened or written, or is no database of scepkit.
        """
        engine = connect(url)
        try:
            bring_up_to_date(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Store what is queued, then close all connections; may be called again."""
        self._writer.close()
        self._readers.close()
        self._writers.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ping(self) -> None:
        """Read, and write something that is taken back.

        Raises:
            StoreError: the database does not answer, cannot be written, or the store is closed.
        """
        self._writer.check()
        with translated("use the database"), self._writing() as connection:
            connection.execute(TOUCH)
            connection.rollback()

    def lookup(
        self, endpoint: str, transaction_id: bytes, signer_key: bytes, fingerprint: bytes
    ) -> Outcome | OtherOwner | None:
        """The answer that this very request got before (P-43).

        Args:
            endpoint: the name of the SCEP endpoint.
            transaction_id: the transactionID as received.
            signer_key: SHA-256 of the signer's SubjectPublicKeyInfo.
            fingerprint: as in `Issuance`.

        Returns:
            The outcome; OtherOwner when the transactionID is another key's (P-46); None when the
            request is new.

        Raises:
            StoreError: the database cannot be read.
        """
        with translated("read the database"), self._readers.connection() as connection:
            return queries.standing(
                connection, endpoint, transaction_id, signer_key, fingerprint
            ).answer

    def poll(
        self, endpoint: str, transaction_id: bytes, signer_key: bytes
    ) -> Outcome | OtherOwner | None:
        """Where the newest request of a transaction stands (CertPoll, P-47).

        Returns:
            The outcome; OtherOwner when the transactionID is another key's; None when unknown.

        Raises:
            StoreError: the database cannot be read.
        """
        with translated("read the database"), self._readers.connection() as connection:
            return queries.standing(connection, endpoint, transaction_id, signer_key, None).answer

    def record(self, issuance: Issuance) -> Future[Answer]:
        """Store a certificate, its request and its spent challenge in one atomic step.

        Returns:
            A future, resolved after the commit: Recorded, or the conflict that left nothing
            behind (AlreadyAnswered, OtherOwner, ChallengeSpent), or StoreError. Cancelling it
            before its turn means that nothing is stored.

        Raises:
            StoreError: too much is queued, or the store is closed; answer HTTP 503 (P-78).
        """
        return self._writer.submit(issuance)

    def add_challenges(self, new: Sequence[NewChallenge]) -> None:
        """Add challenges, all or none; they are on the disk when this returns.

        Raises:
            UsageError: a MAC is there already, so the secret is not new.
            StoreError: the database cannot be written.
        """
        rows = [_row(challenge) for challenge in new]
        if not rows:
            return
        with translated("add the challenges"), self._writing() as connection:
            try:
                connection.execute(ADD_CHALLENGE, rows)
            except IntegrityError as error:
                raise UsageError(
                    "a challenge with this secret exists already; none was added",
                    hint="choose another secret, better a random one",
                ) from error

    def find_challenge(self, endpoint: str, mac: bytes) -> Challenge | None:
        """The challenge with that MAC; spent and expired ones too, so that the log can say which.

        Raises:
            StoreError: the database cannot be read.
        """
        with translated("read the database"), self._readers.connection() as connection:
            return queries.challenge(connection, endpoint, mac)

    def certificates(
        self,
        *,
        endpoint: str | None = None,
        after: CertificateRow | None = None,
        limit: int | None = None,
    ) -> Iterator[CertificateRow]:
        """The certificates, newest first, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            after: go on after this one, as a page of a listing does.
            limit: at most so many; all when None.

        Raises:
            StoreError: the database cannot be read.
        """
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            with translated("read the database"), self._readers.connection() as connection:
                rows = queries.page(connection, endpoint, after, size)
            yield from rows
            if len(rows) < size:
                return
            after = rows[-1]
            left = None if left is None else left - size

    def certificate(self, serial: int) -> CertificateRow | None:
        """The certificate with that serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        with translated("read the database"), self._readers.connection() as connection:
            return queries.certificate(connection, serial)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._writers.connection() as connection, transaction(connection):
            yield connection


def _row(challenge: NewChallenge) -> dict[str, object]:
    return {
        "endpoint": challenge.endpoint,
        "mac": challenge.mac,
        "subject": challenge.subject,
        "sans": list(challenge.sans),
        "created_at": challenge.created_at,
        "expires_at": challenge.expires_at,
    }
