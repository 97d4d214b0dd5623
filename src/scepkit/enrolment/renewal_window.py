"""The time in which a certificate is best renewed: by its profile, and spread over the fleet.

Each certificate has a window of its own, by a hash of its name: the renewals of devices that were
enrolled together do not come together. A renewal in its window is one that the rules allow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scepkit.enrolment.rules import RenewalRules
from scepkit.store import CertificateKey, CertificateRow, Pull, Store

_LONGEST = timedelta(days=30)
_SHARES = 8  # of the time over which windows are spread, each of them has one
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A time with a beginning and an end, aware."""

    start: datetime
    end: datetime

    def share(self, key: CertificateKey) -> Window:
        """Return a certificate's share of this time: each second is as likely as the others.

        It is in whole seconds, and never empty, as answers have it.
        """
        named = key.issuer + key.serial.to_bytes(32, "big")
        fraction = int.from_bytes(hashlib.sha256(named).digest()[:8], "big") / 2**64
        length = (self.end - self.start) / _SHARES
        start = self.start + (self.end - self.start - length) * fraction
        start = start.replace(microsecond=0)
        return Window(start, max(start + length, start + _SECOND).replace(microsecond=0))


def usual(row: CertificateRow, rules: RenewalRules) -> Window | None:
    """Return the window of a certificate by the rules alone; None if it can be renewed at no time.

    Args:
        row: the certificate.
        rules: of its endpoint.
    """
    allowed = _allowed(row, rules)
    if allowed.end <= allowed.start:
        return None
    life = row.not_after - row.not_before
    if rules.suggest is not None:
        begin = row.not_before + life * float(rules.suggest)
    else:
        begin = row.not_after - min(life / 3, _LONGEST)
    # Where renewals end before that, in the last third of the time that there is.
    latest = allowed.end - (allowed.end - allowed.start) / 3
    begin = max(allowed.start, begin if begin < allowed.end else latest)
    left = allowed.end - begin
    return Window(begin, begin + min(rules.spread or left / 3, left)).share(row.key)


def best(row: CertificateRow, rules: RenewalRules, pulls: Sequence[Pull]) -> Window | None:
    """Return the window of a certificate: the usual one, or one that ends before that.

    Args:
        row: the certificate.
        rules: of its endpoint.
        pulls: the times in which it is to be renewed early.

    Returns:
        None if it can be renewed at no time.
    """
    found = [usual(row, rules), *(_early(row, rules, one) for one in pulls)]
    windows = [one for one in found if one is not None]
    return min(windows, key=lambda one: one.end) if found[0] else None


def is_called_early(store: Store, key: CertificateKey | None, now: datetime) -> bool:
    """Say whether a certificate is to be renewed before the usual time, and may be.

    Also one that was renewed: the reply may be lost.

    Args:
        store: where the certificate is.
        key: its name; None for another CA's.
        now: aware.

    Raises:
        StoreError: the database cannot be read.
    """
    row = None if key is None else store.find_certificate(key.issuer, key.serial)
    pulls = [] if row is None else store.pulls(row, even_renewed=True)
    return any(one.start <= now for one in pulls)


def _early(row: CertificateRow, rules: RenewalRules, pull: Pull) -> Window | None:
    """Return the window of a certificate that is to be renewed early; None if it ends before.

    What is revoked at the end has a quarter of the time left, to ask again and to renew.
    """
    end = pull.end - (pull.end - pull.start) / 4 if pull.is_revoked else pull.end
    # The rules' own window does not count: whoever called takes these renewals (see `renewal`).
    latest = _allowed(row, replace(rules, window=None)).end
    whole = Window(max(pull.start, row.not_before), min(end, latest))
    return whole.share(row.key) if whole.start < whole.end else None


def _allowed(row: CertificateRow, rules: RenewalRules) -> Window:
    """Return the time in which a certificate can be renewed; empty where there is none."""
    start, end = row.not_before, row.not_after
    if rules.window is not None:
        start = end - min(rules.window, end - start)
    if rules.longest is not None:
        began = row.chain_began or row.issued_at
        end = began + min(rules.longest, end - began)
    return Window(start, end)
