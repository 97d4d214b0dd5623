"""A renewal chain in the order in which it is drawn, and what of it devices use by now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from scepkit.operations.selection import certificate_status
from scepkit.store import CertificateKey, CertificateRow


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain.

    Attributes:
        row: the certificate.
        status: as `certificate_status` says it.
        is_current: whether it is valid, and nothing valid was renewed from it.
        depth: branches above it: 0 for the first certificate, one more for each certificate above
            that several were renewed from.
        is_branch: whether it is one of several that were renewed from the same certificate.
    """

    row: CertificateRow
    status: str
    is_current: bool
    depth: int = 0
    is_branch: bool = False


def links(chain: Sequence[CertificateRow], now: datetime) -> Iterator[Link]:
    """Put a chain in order: what was renewed from a certificate, below it.

    Args:
        chain: the oldest first, as the store reads it.
        now: the time, aware.
    """
    keys = {row.key for row in chain}
    used = current(chain, now)
    below: dict[CertificateKey | None, list[CertificateRow]] = {}
    for row in chain:
        below.setdefault(row.renewed if row.renewed in keys else None, []).append(row)
    # With a list and not by recursion: a chain may be longer than Python's stack.
    left = [(row, 0, False) for row in reversed(below.get(None, []))]
    while left:
        row, depth, is_branch = left.pop()
        yield Link(row, certificate_status(row, now), row.key in used, depth, is_branch)
        renewals = below.get(row.key, [])
        several = len(renewals) > 1
        left += [(one, depth + several, several) for one in reversed(renewals)]


def current(chain: Sequence[CertificateRow], now: datetime) -> frozenset[CertificateKey]:
    """Return the names of a chain's certificates that devices use by now.

    Those are the valid ones that no other valid one was renewed from; a chain with branches may
    have several, and a chain of what is over or revoked has none.
    """
    valid = {row.key for row in chain if row.revoked_at is None and now <= row.not_after}
    parents = {row.key: row.renewed for row in chain}
    replaced: set[CertificateKey] = set()
    for key in valid:
        parent = parents[key]
        while parent is not None and parent not in replaced:
            replaced.add(parent)
            parent = parents.get(parent)
    return frozenset(valid - replaced)
