"""Taking a certificate back, and the CRL that tells everybody (RFC 5280 section 5).

Whoever revokes, an operator or a certificate's owner, does it here; who may is decided before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from scepkit.ca.authority import Authority
from scepkit.ca.crl import CRLEntry, sign_crl
from scepkit.errors import ScepError, SettingsError, StoreError, UsageError
from scepkit.operations.selection import Selection, is_held
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from scepkit.store import Change, CRLRow, CRLState, Named, Store

# Certificates that are revoked in one transaction, which takes some ten milliseconds, and seconds
# until the next one, so that devices that enrol meanwhile get their turn (SQLite has no queue).
_CHUNK = 100
_PAUSE = 0.01

# A CRL is made anew when this share of its life is left, so that relying parties always hold one
# that is good.
_OVERLAP = 0.25

# By how much the clocks of two servers on one database may differ.
_CLOCKS = timedelta(minutes=5)
# Whoever asks for a CRL so soon after the last one gets that.
_COALESCED = timedelta(seconds=5)

# One at a time in a process: who waited finds the CRL that was made meanwhile.
_making = Lock()


def revoke(
    store: Store,
    named: Named,
    *,
    reason: Reason,
    by: str,
    now: datetime,
    note: str = "",
    invalidity_date: datetime | None = None,
) -> Change | None:
    """Revoke a certificate; when this returns it is on the disk, and holds from then on.

    What is revoked already stays as it is: the first reason stands, except that a certificate on
    hold may be revoked for good. The CRL is made by whoever looks after CRLs.

    Args:
        store: where the certificate is.
        named: its name, or its serial number alone.
        reason: why; certificateHold is `hold`.
        by: who revokes, for the record.
        now: the time, aware.
        note: what else is to be known, for the record.
        invalidity_date: since when its key is thought to be in wrong hands, aware; None if nobody
            knows. One that lies ahead, as a device's wrong clock makes it, is taken for now.

    Returns:
        How the certificate stands, and whether that is new; None when no such was issued.

    Raises:
        UsageError: the reason is removeFromCRL, or several CAs have issued that serial number.
        StoreError: the database cannot be used.
    """
    (change,) = revoke_all(
        store, [named], reason=reason, by=by, now=now, note=note, invalidity_date=invalidity_date
    )
    return change


def revoke_all(
    store: Store,
    named: Sequence[Named],
    *,
    reason: Reason,
    by: str,
    now: datetime,
    note: str = "",
    invalidity_date: datetime | None = None,
    and_renewals: bool = False,
) -> list[Change | None]:
    """Revoke some hundred certificates in one step, all or none; the rest as in `revoke`.

    Args:
        store: as in `revoke`, like those that are not told here.
        named: as in `revoke`.
        reason: why.
        by: who revokes.
        now: the time, aware.
        note: for the record.
        invalidity_date: since when their keys are thought to be in wrong hands.
        and_renewals: whether what was renewed from those that are revoked now is revoked with them,
            whoever is faster: a renewal at the same moment is refused, or its certificate is
            revoked in the same step.

    Returns:
        How they stand, in the order of `named`; then those that `and_renewals` found.
    """
    if reason is Reason.removeFromCRL:
        raise UsageError(
            "removeFromCRL revokes nothing",
            hint="release the certificate instead; that ends a hold",
        )
    since = None if invalidity_date is None else min(invalidity_date, now)
    return store.revoke_all(
        named,
        reason=reason,
        by=by,
        now=now,
        note=note,
        invalidity_date=since,
        and_renewals=and_renewals,
    )


def hold(store: Store, named: Named, *, by: str, now: datetime, note: str = "") -> Change | None:
    """Revoke a certificate for the time being (certificateHold); the rest as in `revoke`."""
    return revoke(store, named, reason=Reason.certificateHold, by=by, now=now, note=note)


def release(store: Store, named: Named, *, by: str, now: datetime, note: str = "") -> Change | None:
    """Take a certificate off hold (removeFromCRL): it is good again, as if nothing had been.

    Args:
        store: where the certificate is.
        named: as in `revoke`.
        by: who releases, for the record.
        now: the time, aware.
        note: why, for the record.

    Returns:
        How the certificate stands, and whether that is new; None when no such was issued.

    Raises:
        UsageError: it is revoked for good.
        StoreError: the database cannot be used.
    """
    change = store.release(named, by=by, now=now, note=note)
    if change is not None and change.certificate.revoked_at is not None:
        raise UsageError(
            f"the certificate {show_serial(change.certificate.serial)} is revoked for good",
            hint="only one on hold can be released; issue a new one",
        )
    return change


def revoke_selected(
    store: Store,
    selection: Selection,
    *,
    reason: Reason,
    by: str,
    clock: Callable[[], datetime],
    note: str = "",
    invalidity_date: datetime | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Change]:
    """Revoke many certificates, a chunk after the other; what is done stays done if one fails.

    A chain comes newest first, so that what was renewed from a chunk is revoked by then, but for
    what was renewed at this very moment. What is searched for is therefore followed along its
    renewals.

    Args:
        store: as in `revoke`, like those that are not told here.
        selection: the certificates.
        reason: why.
        by: who revokes.
        clock: returns the time, aware.
        note: for the record.
        invalidity_date: since when their keys are thought to be in wrong hands.
        advance: is told how many were looked at since the last time.

    Yields:
        How each of them stands, and what was renewed from it meanwhile.
    """
    keys = [row.key for row in selection.rows]
    for start in range(0, len(keys), _CHUNK):
        if start:
            time.sleep(_PAUSE)
        chunk = keys[start : start + _CHUNK]
        changes = revoke_all(
            store,
            chunk,
            reason=reason,
            by=by,
            now=clock(),
            note=note,
            invalidity_date=invalidity_date,
            and_renewals=selection.is_search,
        )
        advance(len(chunk))
        yield from (change for change in changes if change is not None)


def release_selected(
    store: Store, selection: Selection, *, by: str, clock: Callable[[], datetime], note: str = ""
) -> Iterator[Change]:
    """Take many certificates off hold, a chunk after the other; the others stay as they are.

    Args:
        store: where the certificates are.
        selection: the certificates. Unless they were searched for, each has to be on hold or good.
        by: who releases, for the record.
        clock: returns the time, aware.
        note: why, for the record.

    Yields:
        How each of them stands.

    Raises:
        UsageError: one that was named is revoked for good; none was released.
        StoreError: the database cannot be used.
    """
    for row in () if selection.is_search else selection.rows:
        if row.revoked_at is not None and not is_held(row):
            raise UsageError(
                f"{show_serial(row.serial)} is revoked for good "
                f"({Reason(row.revocation_reason or 0).name})",
                hint="only a certificate on hold can be released; nothing was changed",
            )
    keys = [row.key for row in selection.rows]
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        changes = store.release_all(chunk, by=by, now=clock(), note=note)
        yield from (change for change in changes if change is not None)


def current_crl(
    store: Store, authority: Authority, *, now: datetime, lifetime: timedelta
) -> CRLRow:
    """Return the CRL of a CA, and make it first if there is none that is good.

    Args:
        store: where revocations and CRLs are.
        authority: the CA.
        now: the time, aware.
        lifetime: how long a CRL is good for.

    Raises:
        StoreError: the database cannot be used.
    """
    with _making:
        return _up_to_date(store, authority, now=now, lifetime=lifetime)


def _up_to_date(
    store: Store, authority: Authority, *, now: datetime, lifetime: timedelta
) -> CRLRow:
    row = store.crl(authority.key_hash)
    if row is None or is_due(row, now, lifetime):
        return make_crl(store, authority, row, now=now, lifetime=lifetime)
    return row


@dataclass(frozen=True, slots=True)
class SignedCRLs:
    """The CRLs that were signed after a change.

    Attributes:
        signed: each with its CA.
        errors: why a CRL that knows of the change could not be signed.
        has_unknown: whether none of the CAs has issued some of what was changed, though all of
            them could be read.
    """

    signed: tuple[tuple[Authority, CRLRow], ...]
    errors: tuple[ScepError, ...]
    has_unknown: bool = False


def sign_all_outdated(
    store: Store,
    cas: Iterable[Callable[[], Iterable[Authority]]],
    issuers: Collection[bytes | None],
    *,
    now: datetime,
    lifetime: timedelta,
) -> SignedCRLs:
    """Sign the CRLs that do not know yet what was revoked or released.

    A CA whose keys cannot be used is no reason not to sign the CRLs of the others.

    Args:
        store: where the certificates are.
        cas: each reads the generations of one CA.
        issuers: whose certificates were revoked or released.
        now: the time, aware.
        lifetime: of a CRL.
    """
    errors: list[ScepError] = []
    signed: list[tuple[Authority, CRLRow]] = []
    seen: set[bytes | None] = set()
    for read in cas:
        try:
            for authority in read():
                if authority.key_hash in issuers:
                    row = sign_outdated(store, authority, now=now, lifetime=lifetime)
                    if row is not None:
                        signed.append((authority, row))
                seen.add(authority.key_hash)
        except ScepError as error:
            errors.append(error)
    if seen.issuperset(issuers):
        return SignedCRLs(tuple(signed), ())
    # Certificates of before there were several CAs have got theirs meanwhile.
    has_unknown = not errors and any(one and one not in seen for one in issuers)
    return SignedCRLs(tuple(signed), tuple(errors), has_unknown)


def sign_outdated(
    store: Store, authority: Authority, *, now: datetime, lifetime: timedelta
) -> CRLRow | None:
    """Sign the CRL of a CA if it does not know what was revoked or released; else return None.

    Args and exceptions are those of `current_crl`.
    """
    with _making:
        before = store.crl_state(authority.key_hash)
        if before is not None and not before.outdated:
            return None
        return make_crl(store, authority, before, now=now, lifetime=lifetime)


def best_crl(store: Store, authority: Authority, *, now: datetime, lifetime: timedelta) -> CRLRow:
    """Return the current CRL, or, while a new one is made or cannot be, the last one still good.

    So nobody waits who asks for a large CRL, and who asks often does not have it made often.

    Args and exceptions are those of `current_crl`; also:

    Raises:
        SettingsError: the CA may not sign CRLs.
    """
    row = store.crl(authority.key_hash)
    if row is None or row.this_update > now + _CLOCKS or row.next_update <= now:
        return current_crl(store, authority, now=now, lifetime=lifetime)
    if not is_due(row, now, lifetime) or now - row.this_update < _COALESCED:
        return row
    if not _making.acquire(blocking=False):
        return row
    try:
        return _up_to_date(store, authority, now=now, lifetime=lifetime)
    except (SettingsError, StoreError):
        return row
    finally:
        _making.release()


def make_crl(
    store: Store,
    authority: Authority,
    before: CRLRow | CRLState | None,
    *,
    now: datetime,
    lifetime: timedelta,
) -> CRLRow:
    """Sign a new CRL and keep it; of several at once, the one with the highest number stays.

    The number is drawn before the revocations are read: what is revoked after that, and may be
    missing, makes this CRL outdated as soon as it is there.

    Args:
        store: where revocations and CRLs are.
        authority: the CA.
        before: its CRL so far.
        now: the time, aware.
        lifetime: how long the CRL is good for.

    Raises:
        StoreError: the database cannot be used.
    """
    issuer = authority.key_hash
    number = store.reserve_crl_number(issuer)
    # RFC 5280 section 3.3: what expired since the last CRL is in this one still.
    ended = now if before is None else min(now, before.this_update)
    entries = (
        CRLEntry(row.serial, row.revoked_at, row.reason, row.invalidity_date)
        for row in store.revoked(issuer, not_after=ended)
    )
    until = now + lifetime
    der = sign_crl(authority, entries, number=number, this_update=now, next_update=until)
    store.put_crl(issuer, number, der, now, until)
    return CRLRow(number, der, now, until, outdated=False)


def is_due(crl: CRLRow | CRLState, now: datetime, lifetime: timedelta) -> bool:
    """Say whether it is time for a new CRL.

    A revocation may be missing in it, it ends soon, it is to live less long by now, or it was made
    while the clock was ahead, so that nobody believes it.
    """
    is_wrong = crl.this_update > now + _CLOCKS or crl.next_update > now + lifetime + _CLOCKS
    return crl.outdated or is_wrong or now > due_at(crl)


def due_at(crl: CRLRow | CRLState) -> datetime:
    """Return when a CRL is made anew, if no revocation makes that sooner."""
    return crl.next_update - (crl.next_update - crl.this_update) * _OVERLAP
