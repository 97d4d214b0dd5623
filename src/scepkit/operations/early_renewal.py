"""Renewals before their usual time: called for by an operator, or because a CA was replaced.

Devices that ask for renewal information are told (`enrolment.renewal_window`), each at a time of
its own; others go on by their own schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from scepkit.errors import Hint, UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep.renewal_info import is_shown
from scepkit.store import Called, EarlyRenewal, Store

AFTER_ROLLOVER = timedelta(days=30)
"""The time over which the certificates of a CA that was replaced are renewed, unless told."""

LONGEST = timedelta(days=365)

_SHORT = timedelta(hours=6)  # between two questions of most devices

_LEAST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class CallForRenewals:
    """A call that was made.

    Attributes:
        number: of the call.
        called: which certificates.
        until: the end of the time over which they are spread, aware.
    """

    number: int
    called: Called
    until: datetime


def of_subject(subject: x509.Name) -> Called:
    """Return the certificates with exactly this subject.

    Raises:
        UsageError: it is empty.
    """
    name = Name.of(subject)
    if name.digest is None:
        raise UsageError("an empty subject is that of nobody", hint=Hint.CERTIFICATES)
    return Called(subject_digest=name.digest, subject=str(name))


def of_issuer(digits: str, authorities: Iterable[x509.Certificate]) -> Called:
    """Return the certificates of one generation of a CA.

    Args:
        digits: the first digits of the SHA-256 of its public key.
        authorities: the certificates of all CAs of the server.

    Raises:
        UsageError: none of the CAs has such a key, or several have.
    """
    wanted = digits.strip().lower()
    hashes = {Certificate.of(one).key_hash for one in authorities}
    found = [one for one in hashes if one.hex().startswith(wanted)]
    if len(wanted) < _LEAST_DIGITS:
        raise UsageError(f"{digits!r} has less than {_LEAST_DIGITS} digits", hint=Hint.ISSUER)
    if len(found) != 1:
        who = "several CAs here have" if found else "no CA here has"
        raise UsageError(f"{who} a key that begins with {digits!r}", hint=Hint.ISSUER)
    return Called(issuer=found[0])


def call(
    store: Store,
    called: Called,
    *,
    within: timedelta,
    by: str,
    now: datetime,
    reason: str = "",
    explanation: str = "",
) -> CallForRenewals:
    """Call certificates that were issued by now to be renewed early.

    Args:
        store: where they are.
        called: which ones.
        within: the time over which their renewals are spread, from now on.
        by: who calls, for the record.
        now: the time, aware.
        reason: why, for the record.
        explanation: URL of a page about it, which devices may show.

    Raises:
        UsageError: the time or the URL cannot be meant, or there are too many calls.
        StoreError: the database cannot be used.
    """
    if not timedelta() < within <= LONGEST:
        raise UsageError("the time has to be a year at most", hint="such as 7d")
    if explanation and not is_shown(explanation):
        raise UsageError(
            f"{explanation!r} is not the URL of a page",
            hint="it begins with http:// or https://, and is printable ASCII",
        )
    until = now + within
    number = store.call_early(
        called, until=until, by=by, now=now, reason=reason, explanation=explanation
    )
    return CallForRenewals(number, called, until)


def after_rollover(
    store: Store, old: bytes, *, within: timedelta, by: str, now: datetime
) -> CallForRenewals:
    """Call the certificates of a CA that was replaced to be renewed by the one in force.

    Args:
        store: where they are.
        old: SHA-256 of the CA's SubjectPublicKeyInfo.
        within: the time over which that is spread.
        by: who replaced it, for the record.
        now: the time, aware.

    Raises:
        UsageError: there are too many calls.
        StoreError: the database cannot be used.
    """
    called = Called(issuer=old)
    return call(store, called, within=within, by=by, now=now, reason="the CA was replaced")


def is_short(within: timedelta) -> bool:
    """Say whether many devices ask too seldom to be renewed within that time."""
    return within < 4 * _SHORT


def cancel(store: Store, number: int, *, by: str, now: datetime, reason: str = "") -> EarlyRenewal:
    """Cancel a call; what was renewed by then stays renewed.

    Args:
        store: where it is.
        number: the call's.
        by: who cancels, for the record.
        now: the time, aware.
        reason: why, for the record.

    Raises:
        UsageError: there is no such call.
        StoreError: the database cannot be used.
    """
    found = store.cancel_early(number, by=by, now=now, reason=reason)
    if found is None:
        raise UsageError(f"there is no call for early renewals {number}", hint=Hint.EARLY_RENEWALS)
    return found
