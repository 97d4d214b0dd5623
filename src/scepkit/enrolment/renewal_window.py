"""The time in which a certificate is best renewed: by its profile, and spread over the fleet.

Each certificate has a window of its own, by a hash of its name: the renewals of devices that were
enrolled together do not come together. A renewal in its window is one that the rules allow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepkit.enrolment.rules import RenewalRules
from scepkit.store import CertificateKey, CertificateRow

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


def _allowed(row: CertificateRow, rules: RenewalRules) -> Window:
    """Return the time in which a certificate can be renewed; empty where there is none."""
    start, end = row.not_before, row.not_after
    if rules.window is not None:
        start = max(start, end - rules.window)
    if rules.longest is not None:
        end = min(end, (row.chain_began or row.issued_at) + rules.longest)
    return Window(start, end)
