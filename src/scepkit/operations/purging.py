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
    by: str,
    reason: str = "",
    dry_run: bool = False,
) -> Purged:
    """Delete records that were decided or expired some time ago, a little at a time.

    A certificate stays at least as long as it can still be renewed.

    Args:
        store: where they are.
        moment: when it is, and how long endpoints renew what has expired.
        keep: how long ago.
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
    certificates = now - max(keep, *moment.graces.values(), timedelta())
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
