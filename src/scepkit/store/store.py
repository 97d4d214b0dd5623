"""The store as the rest of scepkit sees it: safe to use from many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sqlalchemy import update

from scepkit.store.audit.records import AuditRecords
from scepkit.store.certificates.early_renewals import EarlyRenewals
from scepkit.store.certificates.listing import CertificateListing
from scepkit.store.certificates.records import CertificateRecords
from scepkit.store.challenges.ndes_accounts import NDESAccounts
from scepkit.store.challenges.records import ChallengeRecords
from scepkit.store.devices import DeviceRecords
from scepkit.store.engine import BUSY_SECONDS, connect
from scepkit.store.imports import Imports
from scepkit.store.leases import Leases
from scepkit.store.notifications.announcements import Announcements
from scepkit.store.notifications.deliveries import Deliveries
from scepkit.store.notifications.expiries import Expiries
from scepkit.store.notifications.refusal_events import RefusalEvents
from scepkit.store.purge import Purging
from scepkit.store.refusals import Refusals
from scepkit.store.requests.decisions import Decisions
from scepkit.store.requests.listing import RequestListing
from scepkit.store.requests.records import RequestRecords
from scepkit.store.revocations.crls import CRLRecords
from scepkit.store.revocations.planned import PlannedRevocations
from scepkit.store.revocations.records import RevocationRecords
from scepkit.store.revocations.replacements import Replacements
from scepkit.store.schema import bring_up_to_date, version
from scepkit.store.tables.metadata import metadata
from scepkit.store.third_parties.assents import Assents
from scepkit.store.third_parties.intune_requests import IntuneRequests
from scepkit.store.third_parties.signed_certificates import SignedCertificates
from scepkit.store.tokens import TokenRecords

if TYPE_CHECKING:
    from sqlalchemy import URL

    from scepkit.store.committing.remote_writer import Connect

TOUCH = update(version).values(version_num=version.c.version_num)


class Store(
    Assents,
    SignedCertificates,
    Refusals,
    IntuneRequests,
    ChallengeRecords,
    DeviceRecords,
    TokenRecords,
    RequestRecords,
    RequestListing,
    Decisions,
    CertificateRecords,
    CertificateListing,
    RevocationRecords,
    Replacements,
    PlannedRevocations,
    EarlyRenewals,
    CRLRecords,
    Imports,
    NDESAccounts,
    Purging,
    AuditRecords,
    Announcements,
    Deliveries,
    RefusalEvents,
    Expiries,
    Leases,
):
    """A database of challenges, transactions, requests, certificates and CRLs.

    Every process opens its own, after any fork. The methods block for as long as the disk takes,
    except those that return a future, which is resolved after the commit; and `keep_refusals`, for
    which nobody waits.

    Args:
        engine: a database whose tables are current; `Store.open` makes one.
        node, committer: as in `Store.open`.
    """

    @classmethod
    def open(
        cls,
        url: str | URL,
        *,
        create: bool = True,
        patience: float = BUSY_SECONDS,
        node: str | None = None,
        committer: Connect | None = None,
    ) -> Self:
        """Open a database, creating or migrating its tables where needed.

        Args:
            url: for instance ``sqlite:////var/lib/scep/scep.db``; the directory must exist.
            create: whether the tables may be made, where there are none.
            patience: seconds to wait for what another process has locked.
            node: the name of the process for the audit record, the same one at every start; None
                to write no audit record.
            committer: connects to the process that commits for this one and others; None where this
                one does so itself.

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
        return cls(engine, node, committer)

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
