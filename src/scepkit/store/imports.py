"""Certificates and revocations of before a CA came here: taken in some hundred at a time.

A revocation comes before its certificate, or with it, and not after: it waits by its serial number
(`revoked_serials`), and the certificate takes it over in the step that stores it. So nothing that
is revoked is good for a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from scepkit.store.certificates.records import HOLD, among, these
from scepkit.store.column_types import UTCDateTime
from scepkit.store.database import Database
from scepkit.store.revocations.changes import NOTE, Action
from scepkit.store.revocations.crls import outdate
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import revoked_serials
from scepkit.store.values import CertificateKey, check_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_AMONG = among(certificates.c.serial, certificates.c.issuer)
_AMONG_SERIALS = among(revoked_serials.c.serial, revoked_serials.c.issuer)
_NAME = certificates.c.serial, certificates.c.issuer
NAMES = select(*_NAME).where(_AMONG)
STORED = select(*_NAME, certificates.c.der).where(_AMONG)
# No reason: it is not revoked.
REASONS = select(*_NAME, certificates.c.revocation_reason).where(_AMONG)
WAITING = select(
    revoked_serials.c.serial,
    revoked_serials.c.issuer,
    revoked_serials.c.revoked_at,
    revoked_serials.c.reason,
    revoked_serials.c.invalidity_date,
).where(_AMONG_SERIALS)
TAKEN = delete(revoked_serials).where(_AMONG_SERIALS)
ADD_CERTIFICATES = insert(certificates)
ADD_SERIALS = insert(revoked_serials)
_IN_CERTIFICATES = (
    update(certificates)
    .where(
        certificates.c.serial == bindparam("of_serial"),
        certificates.c.issuer == bindparam("of_issuer"),
        or_(certificates.c.revoked_at.is_(None), certificates.c.revocation_reason == HOLD),
    )
    .values(
        # It counts from the hold before it, as in `revocations.changes`.
        revoked_at=func.coalesce(certificates.c.revoked_at, bindparam("since", type_=UTCDateTime)),
        revocation_reason=bindparam("its_reason"),
        invalidity_date=bindparam("its_invalidity_date", type_=UTCDateTime),
        revoked_by=bindparam("who"),
    )
)
_IN_SERIALS = (
    update(revoked_serials)
    .where(
        revoked_serials.c.serial == bindparam("of_serial"),
        revoked_serials.c.issuer == bindparam("of_issuer"),
    )
    .values(
        reason=bindparam("its_reason"),
        invalidity_date=bindparam("its_invalidity_date", type_=UTCDateTime),
    )
)


class Revocation(NamedTuple):
    """A revocation by the CA when it was elsewhere; `reason` is a CRLReason code."""

    revoked_at: datetime
    reason: int
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class ForeignRevocation:
    """The revocation of a certificate that may not be here.

    Attributes:
        key: its name.
        revocation: since when, and why.
        not_after: the end of its validity; None where nobody knows.
    """

    key: CertificateKey
    revocation: Revocation
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCertificate:
    """A certificate that was issued elsewhere; the attributes are those of `CertificateRow`."""

    key: CertificateKey
    endpoint: str
    subject: str
    der: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    public_key: bytes
    names: str = ""
    subject_digest: bytes | None = None


class Import(Enum):
    """The result for one certificate, or one revocation."""

    NEW = "new"
    KNOWN = "known"
    OTHER = "other"
    """Another certificate of this CA with the same serial number is stored."""


class Imports(Database):
    """The part of the store that takes over what was done elsewhere."""

    def import_certificates(
        self, foreign: Sequence[ForeignCertificate], *, by: str, note: str, now: datetime
    ) -> list[Import]:
        """Store some hundred certificates in one transaction, with what waits of their revocations.

        One that is there stays as it is.

        Args:
            foreign: the certificates.
            by: who brings them, for the record of revocations.
            note: why, for the same.
            now: aware.

        Returns:
            The results, in the order of `foreign`.

        Raises:
            UsageError: a time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now, *(time for one in foreign for time in (one.not_before, one.not_after)))
        keys = [one.key for one in foreign]
        results: list[Import] = []
        with self._writing("import the certificates") as connection:
            _alone(connection)
            stored = {_key(row): row.der for row in connection.execute(STORED, these(keys))}
            waiting = _waiting(connection, keys)
            rows, notes = [], []
            for one in foreign:
                if one.key in stored:
                    is_same = stored[one.key] == one.der
                    results.append(Import.KNOWN if is_same else Import.OTHER)
                    continue
                stored[one.key] = one.der
                revocation = waiting.get(one.key)
                rows.append(_row(one, revocation, by))
                if revocation is not None:
                    notes.append(_note(one.key, revocation, by, note, now))
                results.append(Import.NEW)
            if rows:
                connection.execute(ADD_CERTIFICATES, rows)
            if notes:
                connection.execute(NOTE, notes)
                connection.execute(TAKEN, these(keys))
                _outdate(connection, (one["issuer"] for one in notes))
        return results

    def import_revocations(
        self, foreign: Sequence[ForeignRevocation], *, by: str, note: str, now: datetime
    ) -> list[Import]:
        """Take over some hundred revocations in one transaction.

        The first reason stands, unless it was a hold, as in `RevocationRecords.revoke`. What is no
        certificate here is kept by its serial number.

        Args:
            foreign: the revocations.
            by: who brings them, for the record of revocations.
            note: why, for the same.
            now: aware.

        Returns:
            The results, in the order of `foreign`: `NEW` or `KNOWN`.

        Raises:
            UsageError: a time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now, *(one.revocation.revoked_at for one in foreign))
        keys = [one.key for one in foreign]
        with self._writing("import the revocations") as connection:
            _alone(connection)
            stored = {_key(row): row[2] for row in connection.execute(REASONS, these(keys))}
            waiting = {key: one.reason for key, one in _waiting(connection, keys).items()}
            results = [Import.KNOWN] * len(foreign)
            # Sorted, so that on PostgreSQL this and another revocation do not wait for each other.
            for index, one in sorted(enumerate(foreign), key=lambda pair: pair[1].key):
                known = stored if one.key in stored else waiting
                reason, wanted = known.get(one.key), one.revocation.reason
                if reason is not None and (reason != HOLD or wanted == HOLD):
                    continue
                if one.key in stored:
                    _revoke(connection, one, by)
                    connection.execute(NOTE, _note(one.key, one.revocation, by, note, now))
                else:
                    _keep(connection, one, is_new=reason is None)
                known[one.key] = wanted
                results[index] = Import.NEW
            new = zip(keys, results, strict=True)
            _outdate(connection, (key.issuer for key, result in new if result is Import.NEW))
        return results

    def stored_among(self, keys: Sequence[CertificateKey]) -> set[CertificateKey]:
        """Return which of some hundred certificates are here.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return {CertificateKey(*row) for row in connection.execute(NAMES, these(keys))}


def _alone(connection: Connection) -> None:
    """Let no other import in until the end of the transaction; on SQLite there is none anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {revoked_serials.name} IN EXCLUSIVE MODE")


def _key(row: Any) -> CertificateKey:
    return CertificateKey(row.serial, row.issuer)


def _waiting(
    connection: Connection, keys: Sequence[CertificateKey]
) -> dict[CertificateKey, Revocation]:
    rows = connection.execute(WAITING, these(keys)).all()
    return {_key(row): Revocation(*row[2:]) for row in rows}


def _row(one: ForeignCertificate, revocation: Revocation | None, by: str) -> dict[str, Any]:
    at, reason, invalid = revocation or (None, None, None)
    return {
        "serial": one.key.serial,
        "issuer": one.key.issuer,
        "endpoint": one.endpoint,
        "subject": one.subject,
        "der": one.der,
        "not_before": one.not_before,
        "not_after": one.not_after,
        "public_key": one.public_key,
        "names": one.names,
        "subject_digest": one.subject_digest,
        # Nobody knows it better.
        "issued_at": one.not_before,
        "revoked_at": at,
        "revocation_reason": reason,
        "invalidity_date": invalid,
        "revoked_by": None if revocation is None else by,
    }


def _note(
    key: CertificateKey, revocation: Revocation, by: str, note: str, now: datetime
) -> dict[str, Any]:
    """Return a line of the record of revocations; its time is that of the import."""
    action = Action.HOLD if revocation.reason == HOLD else Action.REVOKE
    return {
        **key._asdict(),
        "action": action.value,
        "reason": revocation.reason,
        "by": by,
        "note": note,
        "invalidity_date": revocation.invalidity_date,
        "at": now,
    }


def _revoke(connection: Connection, one: ForeignRevocation, by: str) -> None:
    values = {**_of(one), "since": one.revocation.revoked_at, "who": by}
    connection.execute(_IN_CERTIFICATES, values)


def _keep(connection: Connection, one: ForeignRevocation, *, is_new: bool) -> None:
    """Keep the revocation of what is no certificate here."""
    if not is_new:
        connection.execute(_IN_SERIALS, _of(one))
        return
    since, reason, invalid = one.revocation
    values = {
        **one.key._asdict(),
        "revoked_at": since,
        "reason": reason,
        "invalidity_date": invalid,
        "not_after": one.not_after,
    }
    connection.execute(ADD_SERIALS, values)


def _of(one: ForeignRevocation) -> dict[str, Any]:
    return {
        "of_serial": one.key.serial,
        "of_issuer": one.key.issuer,
        "its_reason": one.revocation.reason,
        "its_invalidity_date": one.revocation.invalidity_date,
    }


def _outdate(connection: Connection, issuers: Iterable[bytes]) -> None:
    for issuer in sorted(set(issuers)):
        outdate(connection, issuer)
