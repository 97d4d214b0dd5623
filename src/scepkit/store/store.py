"""The store as the rest of scepkit sees it: safe to use from many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sqlalchemy import update

from scepkit.store import listing, queries
from scepkit.store.challenges import ChallengeKeeping
from scepkit.store.crls import CRLKeeping
from scepkit.store.engine import BUSY_SECONDS, connect
from scepkit.store.group_commit import Writer
from scepkit.store.ocsp_status import Statuses
from scepkit.store.purge import Purging
from scepkit.store.renewals import Renewals
from scepkit.store.requests import Deciding
from scepkit.store.revocations import Revoking
from scepkit.store.schema import bring_up_to_date, version
from scepkit.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from datetime import datetime

    from sqlalchemy import URL, Engine

    from scepkit.store.rows import CertificateRow, CertificateStatus
    from scepkit.store.values import Answer, Issuance, OtherOwner, Outcome, Queued

TOUCH = update(version).values(version_num=version.c.version_num)


class Store(ChallengeKeeping, Deciding, Revoking, Renewals, CRLKeeping, Statuses, Purging):
    """A database of challenges, transactions, requests, certificates and CRLs.

    Every process opens its own, after any fork. The methods block for as long as the disk takes,
    except `record` and `queue`: their futures are resolved after the commit.

    Args:
        engine: a database whose tables are current; `Store.open` makes one.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._writer = Writer(self._writers)

    @classmethod
    def open(cls, url: str | URL, *, create: bool = True, patience: float = BUSY_SECONDS) -> Self:
        """Open a database, creating or migrating its tables where needed.

        Args:
            url: for instance ``sqlite:////var/lib/scep/scep.db``; the directory must exist.
            create: whether the tables may be made, where there are none.
            patience: seconds to wait for what another process has locked.

        Raises:
            EmptyDatabase: they may not, and there are none.
            NewerDatabase: a newer scepkit wrote it.
            StoreError: it cannot be opened or written, or is no database of scepkit.
        """
        engine = connect(url, patience=patience)
        try:
            bring_up_to_date(engine, create=create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Store the queued entries, then close all connections; may be called again."""
        self._writer.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ping(self) -> None:
        """Read and write: what is there again, but up to the disk, which may be full.

        Raises:
            StoreError: the database does not answer, cannot be written, was seen to be damaged,
                another program has locked it or a table of it, or the store is closed.
        """
        self._writer.check()
        self._check_damage()
        if self._engine.dialect.name == "postgresql":
            # Each by itself: while it waits for one it holds no other that somebody may wait for.
            for table in metadata.sorted_tables:
                with self._writing("use the database") as connection:
                    connection.exec_driver_sql(f"LOCK TABLE {table.name} IN ROW EXCLUSIVE MODE")
        with self._writing("use the database") as connection:
            connection.execute(TOUCH)

    def lookup(
        self,
        endpoint: str,
        transaction_id: bytes,
        signer_key: bytes,
        fingerprint: bytes,
        *,
        now: datetime | None = None,
    ) -> Outcome | OtherOwner | None:
        """Return the answer that this very request got before (P-43).

        Args:
            endpoint: the name of the SCEP endpoint.
            transaction_id: the transactionID as received.
            signer_key: SHA-256 of the signer's SubjectPublicKeyInfo.
            fingerprint: as in `Issuance`.
            now: aware; what waits but is over by then has expired. None: as written.

        Returns:
            The outcome; OtherOwner when the transactionID is another key's (P-46); None when the
            request is new.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return queries.standing(
                connection, endpoint, transaction_id, signer_key, fingerprint, now
            ).answer

    def poll(
        self,
        endpoint: str,
        transaction_id: bytes,
        signer_key: bytes,
        *,
        now: datetime | None = None,
    ) -> Outcome | OtherOwner | None:
        """Return the state of the newest request of a transaction (CertPoll, P-47).

        Args:
            endpoint: as in `lookup`, like the others.
            transaction_id: as in `lookup`.
            signer_key: as in `lookup`.
            now: as in `lookup`.

        Returns:
            The outcome; OtherOwner when the transactionID is another key's; None when unknown.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return queries.standing(
                connection, endpoint, transaction_id, signer_key, None, now
            ).answer

    def record(self, issuance: Issuance) -> Future[Answer]:
        """Store a certificate, its request and its spent challenge in one atomic step.

        Returns:
            A future, resolved after the commit: Recorded, or the conflict that left nothing
            behind (AlreadyAnswered, OtherOwner, ChallengeSpent, SignerRevoked), or StoreError.
            Cancelling it before its turn means that nothing is stored.

        Raises:
            StoreError: too much is queued, or the store is closed; answer HTTP 503 (P-78).
        """
        return self._writer.submit(issuance)

    def queue(self, queued: Queued) -> Future[Answer]:
        """Store a request that has to wait for a person; its challenge is looked at, not spent.

        Returns:
            A future as that of `record`: Recorded with a pending outcome, or AlreadyAnswered,
            OtherOwner, ChallengeSpent, SignerRevoked, QueueFull.

        Raises:
            StoreError: too much is queued, or the store is closed; answer HTTP 503 (P-78).
        """
        return self._writer.submit(queued)

    def expect(self) -> None:
        """Count a request that will be decided soon, so that commits wait a moment for it.

        Whoever calls this calls `arrive` once for it.
        """
        self._writer.expect()

    def arrive(self) -> None:
        """Stop counting a request: it is decided, and its entry is submitted."""
        self._writer.arrive()

    def certificates(
        self,
        *,
        endpoint: str | None = None,
        status: CertificateStatus | None = None,
        subject: str | None = None,
        now: datetime | None = None,
        after: CertificateRow | None = None,
        limit: int | None = None,
    ) -> Iterator[CertificateRow]:
        """Return the certificates, newest first, read a page at a time.

        Args:
            endpoint: only this endpoint's; all when None.
            status: only those that stand so; all when None.
            subject: only those whose subject has this somewhere, in any case of ASCII letters.
            now: aware; needed for valid and expired ones.
            after: go on after this one, as a page of a listing does.
            limit: at most so many; all when None.

        Raises:
            UsageError: `now` is needed.
            StoreError: the database cannot be read.
        """
        wanted = listing.certificate_filters(endpoint, status, subject, now)

        def read(last: CertificateRow | None, size: int) -> list[CertificateRow]:
            with self._reading() as connection:
                return listing.certificates_page(connection, wanted, last, size)

        yield from listing.pages(read, after, limit)

    def certificate(self, serial: int) -> CertificateRow | None:
        """Return the certificate with that serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return queries.certificate(connection, serial)

    def find_certificate(self, issuer: bytes, serial: int) -> CertificateRow | None:
        """Return the certificate with that serial number, if that CA issued it.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serial: the serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self.certificate(serial)
        return row if row is not None and row.issuer == issuer else None
