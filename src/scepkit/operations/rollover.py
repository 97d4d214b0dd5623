"""A CA's rollover as an operator's action: each step leaves its audit record.

The keys are files, so a step cannot be one with its record: it is written directly after.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from scepkit.ca.directory import rollover
from scepkit.ca.directory.layouts import USUAL, NewCA
from scepkit.ca.directory.material import Material
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import sha256_fingerprint
from scepkit.operations import early_renewal
from scepkit.operations.audit import record_done
from scepkit.operations.early_renewal import AFTER_ROLLOVER
from scepkit.protocol.distinguished_name import Name
from scepkit.store import AuditAction, AuditEvent, Store


def prepare(
    store: Store,
    place: Path,
    *,
    ca: str,
    by: str,
    now: datetime,
    layout: str | None = None,
    common_name: str | None = None,
    new: NewCA = USUAL,
    passphrase: Passphrase | None = None,
) -> Material:
    """Make the next CA; see `scepkit.ca.directory.rollover.prepare`.

    Args:
        store: where the audit record is.
        place: the CA's directory.
        ca: its name.
        by: who does it.
        now: the time, aware.
        layout: the key layout; None for that of the current CA.
        common_name: its name; None for one made from the current name.
        new: its life and its path length.
        passphrase: what the CA's keys are encrypted under, where they are.

    Raises:
        StoreError: the audit record cannot be written; the next CA is made.
    """
    made = rollover.prepare(
        place, now=now, layout=layout, common_name=common_name, new=new, passphrase=passphrase
    )
    if made.next is not None:
        certificate = made.next.ca.certificate
        prepared = event(AuditAction.ROLLOVER_PREPARED, certificate, ca=ca, by=by, now=now)
        record_done(store, prepared, "the next CA is made")
    return made


def activate(
    store: Store,
    place: Path,
    *,
    ca: str,
    by: str,
    now: datetime,
    renew_within: timedelta | None = AFTER_ROLLOVER,
    passphrase: Passphrase | None = None,
) -> Material:
    """Make the next CA the current one.

    Args:
        store: where the audit record and the certificates are.
        place: as in `prepare`, like those that are not told here.
        ca: its name.
        by: who does it.
        now: the time, aware.
        renew_within: the time over which devices renew what the old CA issued, if they ask for
            renewal information; None to call for nothing.
        passphrase: what the CA's keys are encrypted under.

    Raises:
        StoreError: the database cannot be written; the next CA is in force.
    """
    material = rollover.activate(place, now=now, passphrase=passphrase)
    certificate = material.ca.certificate
    activated = event(AuditAction.ROLLOVER_ACTIVATED, certificate, ca=ca, by=by, now=now)
    record_done(store, activated, f"{activated.subject} is the CA now")
    call_old(store, material, within=renew_within, by=by, now=now)
    return material


def call_old(
    store: Store, material: Material, *, within: timedelta | None, by: str, now: datetime
) -> None:
    """Call the certificates of the CA that was replaced to be renewed, if it has any.

    Args:
        store: where they are.
        material: the CA as it is now.
        within: the time over which that is spread; None for none.
        by: who replaced it.
        now: the time, aware.

    Raises:
        StoreError: the database cannot be written; the next CA is in force.
    """
    old = material.previous[0].key_hash if material.previous else b""
    if within is not None and old and store.has_issued(old):
        early_renewal.after_rollover(store, old, within=within, by=by, now=now)


def cancel(store: Store, place: Path, *, ca: str, by: str, now: datetime) -> x509.Certificate:
    """Drop the next CA; return its certificate; the rest as in `prepare`."""
    dropped = rollover.cancel(place)
    cancelled = event(AuditAction.ROLLOVER_CANCELLED, dropped, ca=ca, by=by, now=now)
    record_done(store, cancelled, "the next CA is dropped")
    return dropped


def event(
    action: AuditAction, certificate: x509.Certificate, *, ca: str, by: str, now: datetime
) -> AuditEvent:
    """Return the audit event of what was done with a certificate of the server's own.

    Args:
        action: what was done.
        certificate: the CA's, or that of its RA or OCSP responder.
        ca: the CA's name.
        by: who did it.
        now: when, aware.
    """
    return AuditEvent(
        action,
        by,
        now,
        subject=str(Name.of(certificate.subject)),
        details={"ca": ca, "fingerprint": sha256_fingerprint(certificate)},
    )
