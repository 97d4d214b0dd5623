"""The certificates that an operator means: all of a subject, and all along a renewal chain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.store import CertificateRow, Store

_WORD = re.compile(r"[A-Za-z0-9]+")
_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class Moment:
    """The present time, and the time after its end in which a certificate can be renewed.

    Attributes:
        now: the time, aware.
        graces: by endpoint, how long after its end a certificate still renews; not at all where
            nothing is said.
    """

    now: datetime
    graces: Mapping[str, timedelta] = field(default_factory=dict)

    def is_over(self, row: CertificateRow) -> bool:
        """Say whether a certificate has ended and renews nothing any more.

        One that has ended but still renews is as dangerous in a thief's hands as a valid one.
        """
        return row.not_after + self.graces.get(row.endpoint, _NONE) < self.now


def by_subject(store: Store, subject: x509.Name, moment: Moment) -> list[CertificateRow]:
    """Return the certificates with exactly this subject that are not over, newest first.

    Names are compared as everywhere (`Name.matches`); those that are revoked are among them.

    Args:
        store: where issued certificates are.
        subject: the whole subject.
        moment: when it is.

    Raises:
        StoreError: the database cannot be read.
    """
    wanted = Name.of(subject)
    return [
        row
        for row in store.certificates(subject=_longest_word(subject))
        if not moment.is_over(row) and Certificate.read(row.der).subject_name.matches(wanted)
    ]


def along_renewals(store: Store, rows: Iterable[CertificateRow]) -> list[CertificateRow]:
    """Return the whole renewal chains that certificates are in, newest first.

    That is, what each of them was renewed from, what was renewed from it, and so on in both
    directions; what is over or revoked is among them.

    Raises:
        StoreError: the database cannot be read.
    """
    return store.renewal_chains([row.serial for row in rows])[::-1]


def current(chain: Sequence[CertificateRow], moment: Moment) -> frozenset[int]:
    """Return the serial numbers of a chain's certificates that devices use by now.

    Those are the valid ones that no other valid one was renewed from; a chain with branches may
    have several, and a chain of what is over or revoked has none.
    """
    valid = {row.serial for row in chain if _is_valid(row, moment.now)}
    parents = {row.serial: row.renews for row in chain}
    replaced: set[int] = set()
    for serial in valid:
        parent = parents[serial]
        while parent is not None and parent not in replaced:
            replaced.add(parent)
            parent = parents.get(parent)
    return frozenset(valid - replaced)


def _is_valid(row: CertificateRow, now: datetime) -> bool:
    return row.revoked_at is None and now <= row.not_after


def _longest_word(subject: x509.Name) -> str | None:
    """Return a piece of a subject to look for; what is found is compared with all of it."""
    words = [word for attribute in subject for word in _WORD.findall(str(attribute.value))]
    return max(words, key=len, default=None)
