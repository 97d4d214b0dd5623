"""One certificate for each subject: refused to another key, or in the place of the others later.

The others are looked up in the transaction that writes the certificate. On PostgreSQL those for one
subject come one after the other, by a lock on it; on SQLite whoever writes is alone anyway. What is
replaced stays good until the new key signs, or until a time: a lost reply leaves no device without
a certificate.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select

from scepkit.protocol.certificate import show_serial
from scepkit.store.audit.events import SERVER
from scepkit.store.certificates.records import HOLD
from scepkit.store.database import PAGE, Database
from scepkit.store.prepared import Prepared
from scepkit.store.revocations.changes import outdate_all, revocation
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.revocations import replacements
from scepkit.store.values import CertificateKey, SameSubject, check_times

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from scepkit.store.revocations.changes import Change
    from scepkit.store.values import Issuance

SUPERSEDED = 4  # the reason of RFC 5280 section 5.3.1

OTHERS = Prepared(
    select(certificates.c.serial, certificates.c.issuer)
    .where(
        certificates.c.subject_digest == bindparam("of_subject"),
        certificates.c.endpoint == bindparam("of_endpoint"),
        certificates.c.public_key != bindparam("of_key"),
        certificates.c.not_after > bindparam("now"),
        # What is on hold may come back.
        or_(certificates.c.revoked_at.is_(None), certificates.c.revocation_reason == HOLD),
    )
    .order_by(certificates.c.serial, certificates.c.issuer)
)
ALONE = select(func.pg_advisory_xact_lock(bindparam("of_subject")))
REPLACE_LATER = insert(replacements)
_BY = and_(
    replacements.c.by_serial == bindparam("of_serial"),
    replacements.c.by_issuer == bindparam("of_issuer"),
)
REPLACED = Prepared(select(replacements.c.serial, replacements.c.issuer).where(_BY))
DONE = delete(replacements).where(_BY)
# The lock is PostgreSQL's: whoever revokes it waits, or was first.
STANDING = (
    select(certificates.c.revoked_at)
    .where(
        certificates.c.serial == bindparam("of_serial"),
        certificates.c.issuer == bindparam("of_issuer"),
    )
    .with_for_update()
)
DUE = (
    select(replacements.c.by_serial, replacements.c.by_issuer)
    .join(
        certificates,
        and_(
            certificates.c.serial == replacements.c.by_serial,
            certificates.c.issuer == replacements.c.by_issuer,
        ),
    )
    .where(replacements.c.due_at <= bindparam("now"), certificates.c.revoked_at.is_(None))
    .distinct()
    .limit(PAGE)
)


class SubjectTakenError(Exception):
    """The subject has a valid certificate for another key, and may have one only."""


class Replacements(Database):
    """The part of the store that lets certificates take the place of others."""

    def has_other(self, endpoint: str, subject: bytes, key: bytes, now: datetime) -> bool:
        """Say whether a subject has a valid certificate of an endpoint for another key.

        Args:
            endpoint: the endpoint's name.
            subject: what equal subjects have in common.
            key: SHA-256 of the key's SubjectPublicKeyInfo.
            now: aware.

        Raises:
            StoreError: the database cannot be read.
        """
        return self._look_up(OTHERS, _others_of(endpoint, subject, key, now)) is not None

    def replaces(self, key: CertificateKey) -> bool:
        """Say whether a certificate is to take the place of others.

        Raises:
            StoreError: the database cannot be read.
        """
        return self._look_up(REPLACED, _of(key)) is not None

    def replace(self, key: CertificateKey, *, now: datetime) -> list[Change]:
        """Revoke what a certificate takes the place of, unless it is revoked itself.

        Args:
            key: its name.
            now: aware.

        Returns:
            What was revoked just now.

        Raises:
            UsageError: the time has no zone.
            StoreError: the database cannot be written.
        """
        check_times(now)
        step = revocation(SUPERSEDED, SERVER, f"replaced by {show_serial(key.serial)}", now, None)
        with self._writing("revoke what was replaced") as connection:
            replaced = [CertificateKey(*row) for row in REPLACED.all(connection, _of(key))]
            # In one order: one that replaces may be replaced itself at this moment.
            standing = {
                one: connection.execute(STANDING, _of(one)).first()
                for one in sorted({key, *replaced})
            }
            own = standing[key]
            if own is None or own.revoked_at is not None:
                return []
            changes = step.take(connection, replaced).values()
            outdate_all(connection, changes)
            connection.execute(DONE, _of(key))
            self._audit.append(connection, step.events(changes))
        return [one for one in changes if one is not None and one.is_new]

    def replace_due(self, now: datetime) -> int:
        """Revoke what was to be replaced by now; return how many certificates that were.

        Raises:
            StoreError: the database cannot be used.
        """
        count = 0
        while True:
            with self._reading() as connection:
                due = [CertificateKey(*row) for row in connection.execute(DUE, {"now": now})]
            count += sum(len(self.replace(key, now=now)) for key in due)
            if len(due) < PAGE:
                return count


def other_certificates(connection: Connection, issuance: Issuance) -> list[CertificateKey]:
    """Return the certificates that a new one would stand beside; none where it may.

    Raises:
        SubjectTakenError: there is one, and it may not.
    """
    subject = issuance.subject_digest
    if subject is None or issuance.same_subject is SameSubject.ALLOWED:
        return []
    if connection.dialect.name == "postgresql":
        held = hashlib.sha256(issuance.endpoint.encode() + b"\0" + subject).digest()[:8]
        connection.execute(ALONE, {"of_subject": int.from_bytes(held, signed=True)})
    values = _others_of(issuance.endpoint, subject, issuance.public_key, issuance.now)
    others = [CertificateKey(*row) for row in OTHERS.all(connection, values)]
    if others and issuance.same_subject is SameSubject.REFUSED:
        raise SubjectTakenError
    return others


def replace_later(
    connection: Connection, issuance: Issuance, others: Iterable[CertificateKey]
) -> None:
    """Write down what a certificate takes the place of when its key signs, or at a time."""
    rows = [
        {
            **other._asdict(),
            "by_serial": issuance.serial,
            "by_issuer": issuance.issuer,
            "due_at": issuance.replace_at,
        }
        for other in others
    ]
    if rows:
        connection.execute(REPLACE_LATER, rows)


def _others_of(endpoint: str, subject: bytes, key: bytes, now: datetime) -> dict[str, Any]:
    return {"of_subject": subject, "of_endpoint": endpoint, "of_key": key, "now": now}


def _of(key: CertificateKey) -> dict[str, Any]:
    return {"of_serial": key.serial, "of_issuer": key.issuer}
