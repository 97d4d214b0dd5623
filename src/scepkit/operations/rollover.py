"""A CA's rollover as an operator's action: each step leaves its audit record.

The keys are files, so a step cannot be one with its record: it is written directly after. The call
for early renewals, which must not be missing, is written before.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509

from scepkit.ca.directory import paths, rollover
from scepkit.ca.directory.layouts import USUAL, NewCA
from scepkit.ca.directory.material import Material
from scepkit.errors import ScepError, StoreError
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import read_certificate, sha256_fingerprint
from scepkit.operations import early_renewal
from scepkit.operations.audit import record_done
from scepkit.operations.early_renewal import AFTER_ROLLOVER
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.store import AuditAction, AuditEvent, Store

_NOT_REPLACED = "the CA could not be replaced"


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
        UsageError: there are too many calls to renew early; the CA is as it was.
        SettingsError: see `scepkit.ca.directory.rollover.activate`.
        StoreError: the call or the audit record cannot be written; the error says what is done.
    """
    material = put_into_force(
        store, place, renew_within=renew_within, by=by, now=now, passphrase=passphrase
    )
    certificate = material.ca.certificate
    activated = event(AuditAction.ROLLOVER_ACTIVATED, certificate, ca=ca, by=by, now=now)
    record_done(store, activated, f"{activated.subject} is the CA now")
    return material


def put_into_force(
    store: Store,
    place: Path,
    *,
    renew_within: timedelta | None,
    by: str,
    now: datetime,
    passphrase: Passphrase | None = None,
) -> Material:
    """Make the next CA the current one, and have what the old one issued renewed.

    The call for that comes first. So it is there if this is killed at any instant, and a CA is not
    replaced where there can be no call. A change that a killed process has begun has its call.

    Args:
        store: where the certificates are; the rest as in `activate`.
        place: the CA's directory.
        renew_within: the time over which the renewals are spread; None to call for nothing.
        by: who does it.
        now: the time, aware.
        passphrase: what the CA's keys are encrypted under.

    Raises:
        UsageError, SettingsError: as in `activate`.
        StoreError: the call cannot be written; the CA is as it was.
    """
    old = paths.steadily(place, partial(_replaced, place))
    call = None
    if renew_within is not None and old is not None and store.has_issued(old):
        call = early_renewal.after_rollover(store, old, within=renew_within, by=by, now=now)
    try:
        return rollover.activate(place, now=now, passphrase=passphrase)
    except ScepError:
        # Where it is begun, it will be finished.
        if call is not None and paths.has_next(place):
            with suppress(StoreError):
                early_renewal.cancel(store, call.number, by=by, now=now, reason=_NOT_REPLACED)
        raise


def _replaced(place: Path) -> bytes | None:
    """Return the hash of the key of the CA that the next one will replace; None without one."""
    if not paths.has_next(place):
        return None
    current = read_certificate(paths.in_force(place) / paths.CA_CERTIFICATE)
    return Certificate.of(current).key_hash


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
