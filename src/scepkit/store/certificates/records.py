"""The certificates: found, as OCSP asks for them, and along their renewals (`listing` lists them).

A certificate is renewed from one other at most, and any number may be renewed from it: a device
whose reply was lost, or a thief with a copied key, makes a second branch. So a chain is a tree, and
it is read by going up to the first certificate and from there down to all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import and_, bindparam, or_, select, tuple_

from scepkit.errors import Hint, UsageError
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.value import value
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.certificates import certificates, passphrases
from scepkit.store.tables.revocations import revoked_serials
from scepkit.store.values import MAX_SERIAL_BITS, CertificateKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, Select


Named: TypeAlias = CertificateKey | int
"""The name of a certificate, or its serial number, which does where only one CA has issued it."""


@value()
class CertificateRow:
    """A stored certificate.

    `public_key` is the SHA-256 of its SubjectPublicKeyInfo and `issuer` that of the CA's, empty
    until `Store.assign_issuer`; `revocation_reason` is a CRLReason code, `invalidity_date` since
    when its key is thought to be in wrong hands, `renews` the serial number of the certificate
    that it replaced, and `renews_issuer` the CA of that one; `names` its subject alternative names
    as `listed_names` writes them; `chain_began` is when the first of its renewal chain was issued,
    None where that is this one; `subject_digest` what equal subjects have in common.
    """

    serial: int
    endpoint: str
    subject: str
    der: bytes
    not_before: datetime
    not_after: datetime
    public_key: bytes
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: int | None
    issuer: bytes
    renews: int | None
    revoked_by: str | None
    invalidity_date: datetime | None
    names: str = ""
    renews_issuer: bytes | None = None
    chain_began: datetime | None = None
    subject_digest: bytes | None = None

    @property
    def key(self) -> CertificateKey:
        """Return its name."""
        return CertificateKey(self.serial, self.issuer)

    @property
    def renewed(self) -> CertificateKey | None:
        """Return the name of the certificate that it replaced."""
        if self.renews is None or self.renews_issuer is None:
            return None
        return CertificateKey(self.renews, self.renews_issuer)


class OCSPStatus(NamedTuple):
    """The status of a certificate: not revoked is None twice; `reason` is a CRLReason code."""

    revoked_at: datetime | None
    reason: int | None


# By the primary key; the certificate itself, which is most of the row, stays where it is.
_STATUS = select(
    certificates.c.serial, certificates.c.revoked_at, certificates.c.revocation_reason
).where(certificates.c.issuer == bindparam("of_issuer"))
STATUS = Prepared(_STATUS.where(certificates.c.serial == bindparam("of_serial")))
# Written out anew for each number of serials, which for one would take longer than asking.
STATUSES = _STATUS.where(certificates.c.serial.in_(bindparam("of_serials", expanding=True)))
REVOKED_ELSEWHERE = select(
    revoked_serials.c.serial, revoked_serials.c.revoked_at, revoked_serials.c.reason
).where(
    revoked_serials.c.issuer == bindparam("of_issuer"),
    revoked_serials.c.serial.in_(bindparam("of_serials", expanding=True)),
)
KEY = tuple_(certificates.c.serial, certificates.c.issuer)
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
_SERIALS: BindParameter[Any] = bindparam("serials", expanding=True)
_ISSUERS: BindParameter[Any] = bindparam("issuers", expanding=True)


def among(serial: ColumnElement[Any], issuer: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that two columns name one of some hundred certificates; see `these`.

    Both stand in it by themselves, too: for pairs alone SQLite looks through the whole table.
    """
    return and_(serial.in_(_SERIALS), issuer.in_(_ISSUERS), tuple_(serial, issuer).in_(_KEYS))


def these(keys: Sequence[CertificateKey]) -> dict[str, Any]:
    """Return the parameters of a statement that has a condition of `among`."""
    return {
        "keys": keys,
        "serials": [serial for serial, _ in keys],
        "issuers": list({issuer for _, issuer in keys}),
    }


CERTIFICATE = Prepared(
    select(certificates).where(
        certificates.c.serial == bindparam("of_serial"),
        certificates.c.issuer == bindparam("of_issuer"),
    )
)
WITH_SERIAL = (
    select(certificates)
    .where(certificates.c.serial == bindparam("of_serial"))
    .order_by(certificates.c.issued_at, certificates.c.issuer)
)
PASSPHRASE = select(passphrases.c.hidden).where(
    passphrases.c.serial == bindparam("of_serial"), passphrases.c.issuer == bindparam("of_issuer")
)
HOLD = 6  # certificateHold: the one reason that another may follow
_CHUNK = 500  # serial numbers in one statement


def _chains() -> Select[Any]:
    """Return one statement, so that what it reads is one state of the database."""
    row, parent, child = certificates.c, certificates.alias("parent"), certificates.alias("child")
    start = select(row.serial, row.issuer, row.renews, row.renews_issuer).where(
        among(row.serial, row.issuer)
    )
    # UNION, and not UNION ALL: branches meet further up.
    up = start.cte("up", recursive=True)
    up = up.union(
        select(parent.c.serial, parent.c.issuer, parent.c.renews, parent.c.renews_issuer).where(
            parent.c.serial == up.c.renews, parent.c.issuer == up.c.renews_issuer
        )
    )
    first = select(up.c.serial, up.c.issuer).where(up.c.renews.is_(None))
    down = first.cte("down", recursive=True)
    down = down.union(
        select(child.c.serial, child.c.issuer).where(
            child.c.renews == down.c.serial, child.c.renews_issuer == down.c.issuer
        )
    )
    return (
        select(certificates)
        .join(down, and_(row.serial == down.c.serial, row.issuer == down.c.issuer))
        .order_by(row.issued_at, row.serial)
    )


CHAINS = _chains()
RENEWED_FROM = select(certificates.c.serial, certificates.c.issuer).where(
    among(certificates.c.renews, certificates.c.renews_issuer),
    or_(certificates.c.revoked_at.is_(None), certificates.c.revocation_reason == HOLD),
)


class CertificateRecords(Database):
    """The part of the store with the certificates."""

    def has_issued(self, issuer: bytes) -> bool:
        """Say whether a CA has issued a certificate that is stored, or known to be revoked.

        Where it has not, all names are read: from the index of the primary key, a third of a second
        for a million. An index of its own would cost each enrolment more than that.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.

        Raises:
            StoreError: the database cannot be read.
        """
        queries = (
            select(table.c.serial).where(table.c.issuer == issuer).limit(1)
            for table in (certificates, revoked_serials)
        )
        with self._reading() as connection:
            return any(connection.execute(query).first() is not None for query in queries)

    def certificate(self, named: Named) -> CertificateRow | None:
        """Return a certificate.

        Args:
            named: its name, or its serial number alone.

        Raises:
            UsageError: several CAs have issued one with that serial number.
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            key = find_key(connection, named)
            return None if key is None else certificate(connection, key)

    def certificates_with(self, serial: int) -> list[CertificateRow]:
        """Return the certificates with that serial number, of whatever CA, the oldest first.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            rows = connection.execute(WITH_SERIAL, {"of_serial": serial}).all()
        return [CertificateRow(*row) for row in rows]

    def passphrase(self, named: Named) -> bytes | None:
        """Return a certificate's revocation passphrase as `Issuance` brought it, or None.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            key = find_key(connection, named)
            hidden: bytes | None = (
                connection.scalar(PASSPHRASE, {"of_serial": key.serial, "of_issuer": key.issuer})
                if key
                else None
            )
        return hidden

    def find_certificate(self, issuer: bytes, serial: int) -> CertificateRow | None:
        """Return the certificate with that serial number, if that CA issued it.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serial: the serial number.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self._look_up(CERTIFICATE, {"of_serial": serial, "of_issuer": issuer})
        return None if row is None else CertificateRow(*row)

    def ocsp_statuses(self, issuer: bytes, serials: Iterable[int]) -> dict[int, OCSPStatus]:
        """Return the status of certificates of a CA at this moment, expired ones included.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serials: some hundred numbers at most; those that no certificate can have cost nothing.

        Returns:
            Those that the CA issued, as far as the store knows them, by their serial numbers.

        Raises:
            StoreError: the database cannot be read.
        """
        possible = [one for one in serials if one > 0 and one.bit_length() <= MAX_SERIAL_BITS]
        if not possible:
            return {}
        if len(possible) == 1:
            row = self._look_up(STATUS, {"of_issuer": issuer, "of_serial": possible[0]})
            if row is not None:
                serial, revoked_at, reason = row
                return {serial: OCSPStatus(revoked_at, reason)}
        with self._reading() as connection:
            rows = connection.execute(STATUSES, {"of_issuer": issuer, "of_serials": possible}).all()
            if len(rows) < len(possible):
                # What was revoked elsewhere, and is no certificate here.
                found = {row[0] for row in rows}
                others = [one for one in possible if one not in found]
                values = {"of_issuer": issuer, "of_serials": others}
                rows = [*connection.execute(REVOKED_ELSEWHERE, values).all(), *rows]
        return {serial: OCSPStatus(revoked_at, reason) for serial, revoked_at, reason in rows}

    def renewal_chains(self, named: Sequence[Named]) -> list[CertificateRow]:
        """Return the whole renewal chains that these certificates are in, the oldest first.

        Args:
            named: as in `certificate`; those that nobody has are in no chain.

        Raises:
            UsageError: as in `certificate`.
            StoreError: the database cannot be read.
        """
        found: dict[CertificateKey, CertificateRow] = {}
        for start in range(0, len(named), _CHUNK):
            with self._reading() as connection:
                keys = find_keys(connection, named[start : start + _CHUNK])
                rows = connection.execute(CHAINS, these([one for one in keys if one]))
                found.update((one.key, one) for one in (CertificateRow(*row) for row in rows))
        return sorted(found.values(), key=lambda row: (row.issued_at, row.key))


def certificate(connection: Connection, key: CertificateKey) -> CertificateRow | None:
    """Return the certificate with that name."""
    row = CERTIFICATE.first(connection, {"of_serial": key.serial, "of_issuer": key.issuer})
    return None if row is None else CertificateRow(*row)


def find_key(connection: Connection, named: Named) -> CertificateKey | None:
    """Return the name of a certificate of which the serial number may be all that is told.

    Raises:
        UsageError: several CAs have issued one with that serial number.
    """
    if isinstance(named, CertificateKey):
        return named
    rows = connection.execute(WITH_SERIAL, {"of_serial": named}).all()
    if len(rows) > 1:
        raise UsageError(
            f"{len(rows)} CAs have issued a certificate with the serial number"
            f" {show_serial(named)}",
            hint=Hint.ISSUER,
        )
    return CertificateRow(*rows[0]).key if rows else None


def find_keys(connection: Connection, named: Iterable[Named]) -> list[CertificateKey | None]:
    """Return the names of several; the rest as in `find_key`."""
    return [find_key(connection, one) for one in named]


def hold_renewals(connection: Connection) -> None:
    """Let nobody renew anything until the end of the transaction, of which this is the first step.

    Otherwise a device that renews without a pause could be followed for ever. The lock is
    PostgreSQL's, and waits for renewals that have begun; reading goes on. On SQLite whoever writes
    is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {certificates.name} IN EXCLUSIVE MODE")


def renewed_from(connection: Connection, keys: Sequence[CertificateKey]) -> list[CertificateKey]:
    """Return the direct renewals of these certificates that are not revoked for good."""
    found: set[CertificateKey] = set()
    for start in range(0, len(keys), _CHUNK):
        rows = connection.execute(RENEWED_FROM, these(keys[start : start + _CHUNK]))
        found.update(CertificateKey(*row) for row in rows)
    return sorted(found)
