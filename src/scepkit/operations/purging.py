"""Deleting old records: by an operator, or by the server itself from time to time."""

from __future__ import annotations

from datetime import timedelta

from scepkit.operations.selection import Moment
from scepkit.store import Purged, Store


def purge(
    store: Store,
    moment: Moment,
    *,
    keep: timedelta,
    crl_lifetime: timedelta,
    by: str,
    reason: str = "",
    dry_run: bool = False,
) -> Purged:
    """Delete records that were decided or expired some time ago, a little at a time.

    A certificate stays at least as long as it can still be renewed, and until a CRL after its end
    has listed it if it was revoked (RFC 5280 section 3.3).

    Args:
        store: where they are.
        moment: when it is, and how long endpoints renew what has expired.
        keep: how long ago.
        crl_lifetime: how long a CRL is good for: by then there is another one.
        by: who deletes, for the record.
        reason: why, for the same.
        dry_run: only count.

    Returns:
        How many records of each kind.

    Raises:
        StoreError: the database cannot be written; what was deleted stays deleted.
    """
    now = moment.now
    decided = challenges = now - keep
    certificates = now - max(keep, crl_lifetime, *moment.graces.values())
    if dry_run:
        return store.would_purge(
            decided_before=decided,
            challenges_before=challenges,
            certificates_before=certificates,
        )
    return store.purge(
        decided_before=decided,
        challenges_before=challenges,
        certificates_before=certificates,
        now=now,
        by=by,
        reason=reason,
    )
