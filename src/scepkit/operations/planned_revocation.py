"""Revocations at a time to come: the devices renew first, then the certificates are revoked.

Who asks for renewal information is told to renew before that time. It is done whether a device has
renewed or not, by the server's background task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from scepkit.errors import UsageError
from scepkit.operations.selection import Selection
from scepkit.protocol.crl import Reason
from scepkit.store import CertificateRow, Store

LONGEST = timedelta(days=365)

_CHUNK = 100


def plan_selected(
    store: Store,
    selection: Selection,
    *,
    due_at: datetime,
    reason: Reason,
    by: str,
    clock: Callable[[], datetime],
    note: str = "",
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[CertificateRow]:
    """Plan the revocation of many certificates, a chunk after the other.

    What is planned already is planned anew; what is revoked for good stays as it is. What is
    renewed from them is not planned: that is what they are to be replaced by.

    Args:
        store: where the certificates are.
        selection: the certificates.
        due_at: when they are to be revoked, aware.
        reason: why.
        by: who plans it, for the record; the revocation will be that one's, too.
        clock: returns the time, aware.
        note: for the record.
        advance: is told how many were looked at since the last time.

    Yields:
        Those that are planned by this.

    Raises:
        UsageError: the reason is a hold, or the time is not within a year from now.
        StoreError: the database cannot be used; what is planned stays planned.
    """
    now = clock()
    if reason in (Reason.certificateHold, Reason.removeFromCRL):
        raise UsageError(f"{reason.name} cannot be planned", hint="a plan is to revoke for good")
    if not now < due_at <= now + LONGEST:
        raise UsageError("a revocation is planned within a year from now", hint="such as 3d")
    keys = [row.key for row in selection.rows]
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        yield from store.plan_revocations(
            chunk, due_at=due_at, reason=reason, by=by, now=clock(), note=note
        )
        advance(len(chunk))


def cancel_selected(
    store: Store, selection: Selection, *, by: str, clock: Callable[[], datetime], note: str = ""
) -> Iterator[CertificateRow]:
    """Cancel the planned revocations of many certificates, a chunk after the other.

    Args:
        store: where the certificates are.
        selection: the certificates.
        by: who cancels, for the record.
        clock: returns the time, aware.
        note: for the record.

    Yields:
        Those for which there was a plan.

    Raises:
        StoreError: the database cannot be used; what is cancelled stays cancelled.
    """
    keys = [row.key for row in selection.rows]
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        yield from store.cancel_revocations(chunk, by=by, now=clock(), note=note)
