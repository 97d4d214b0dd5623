"""Certificates, requests and refusals as an operator looks for them, a page at a time.

A page is bounded, and so is the work for it. Where no index leads to what is wanted, a page looks
through so many rows and no more: it may be short, or empty, and yet not be the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from scepkit.errors import Malformed, UsageError
from scepkit.operations.selection import certificate_status, request_status
from scepkit.operations.states import State
from scepkit.protocol import csr, general_name
from scepkit.store import (
    CertificateFilter,
    CertificateRow,
    CertificateStatus,
    LastSeen,
    Place,
    RefusalFilter,
    RefusalRow,
    RequestFilter,
    RequestRow,
    Status,
    Store,
)
from scepkit.store.certificates.listing import place

MOST = 1000  # rows of a page
_ISSUER = 4  # octets of an issuer in a cursor
_CURSOR = re.compile(
    r"(?P<time>[-0-9]{10}T[:0-9]{8}\.[0-9]{6}Z)_(?P<serial>[0-9a-f]{1,40})"
    r"_(?P<issuer>[0-9a-f]{8}|)"
)
_CURSOR_REFUSAL = re.compile(r"(?P<time>[-0-9]{10}T[:0-9]{8}\.[0-9]{6}Z)_(?P<id>[0-9]{1,15})")
_CURSOR_REQUEST_STATUS = re.compile(r"[0-9]{1,15}")


_REQUEST_STATUS = {
    State.PENDING: Status.PENDING,
    State.REJECTED: Status.REJECTED,
    State.LAPSED: Status.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The certificates, requests or refusals that are wanted.

    All of it applies to them that is not None.

    Attributes:
        state: how they stand.
        endpoint: the name of their endpoint.
        serial: the certificate's serial number.
        issuer: the first digits of the SHA-256 of its CA's public key, in hex.
        subject: a text in the subject, in any case of ASCII letters.
        name: a text in a subject alternative name such as `dns:host.example`, likewise.
        key: SHA-256 of the canonical SubjectPublicKeyInfo.
        issued_after: aware; issued, requested or last refused then or later.
        issued_before: aware; issued, requested or last refused before then.
        expires_after: aware; valid, or waiting, until then or longer.
        expires_before: aware; valid, or waiting, until some time before then.
    """

    state: State = State.ISSUED
    endpoint: str | None = None
    serial: int | None = None
    issuer: str = ""
    subject: str | None = None
    name: str | None = None
    key: bytes | None = None
    issued_after: datetime | None = None
    issued_before: datetime | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None


class Found(NamedTuple):
    """A certificate, request or refusal that is wanted.

    Attributes:
        row: as it is stored.
        state: how it stands, in a word.
        cursor: the text with which the list goes on behind it.
    """

    row: CertificateRow | RequestRow | RefusalRow
    state: str
    cursor: str


class Page(NamedTuple):
    """Some of what is wanted.

    Attributes:
        found: certificates or refusals, newest first; or requests, oldest first.
        after: the text with which the list goes on; None at its end.
        is_scan: whether rows are looked through for it, since no index leads to them.
    """

    found: list[Found]
    after: str | None
    is_scan: bool


def select(
    store: Store, query: Query, *, now: datetime, after: str | None = None, limit: int = 100
) -> Page:
    """Return a page of the certificates or requests that are wanted.

    What comes and goes between two pages makes nothing else come twice or be left out.

    Args:
        store: where they are.
        query: which ones.
        now: the time, aware.
        after: the text with which the list goes on; None to begin.
        limit: at most so many, 1 to `MOST`.

    Raises:
        UsageError: `after` is no such text, `limit` is out of bounds, or refusals are not kept with
            what they are looked for by.
        StoreError: the database cannot be read.
    """
    if not 1 <= limit <= MOST:
        raise UsageError(f"a page of {limit} rows", hint=f"1 to {MOST} can be had at once")
    if query.state is State.REFUSED:
        return _refusals(store, query, after, limit)
    if query.state.is_of_requests:
        return _requests(store, query, now, after, limit)
    return _certificates(store, query, now, after, limit)


def everything(
    store: Store, query: Query, *, now: datetime, after: str | None = None, limit: int | None = None
) -> Iterator[Found]:
    """Yield what is wanted, page after page; as `select` does, with any limit or none."""
    left = limit
    while left is None or left > 0:
        size = MOST if left is None else min(MOST, left)
        page = select(store, query, now=now, after=after, limit=size)
        yield from page.found
        if page.after is None:
            return
        after, left = page.after, None if left is None else left - len(page.found)


def _certificates(store: Store, query: Query, now: datetime, after: str | None, limit: int) -> Page:
    is_any = query.state is State.ISSUED
    wanted = CertificateFilter(
        now=now,
        endpoint=query.endpoint,
        status=None if is_any else CertificateStatus(query.state.value),
        serial=query.serial,
        key=query.key,
        subject=query.subject,
        name=query.name,
        issued_after=query.issued_after,
        issued_before=query.issued_before,
        expires_after=query.expires_after,
        expires_before=query.expires_before,
    )
    behind = None if after is None else _place(after)
    page = store.certificate_page(wanted, after=behind, limit=limit)
    found = [
        Found(
            row,
            certificate_status(row, now, is_signed=row.key in page.signed),
            _cursor(place(row)),
        )
        for row in page.rows
        if row.issuer.hex().startswith(query.issuer)
    ]
    return Page(found, None if page.after is None else _cursor(page.after), wanted.is_scan)


def _requests(store: Store, query: Query, now: datetime, after: str | None, limit: int) -> Page:
    wanted = RequestFilter(
        now=now,
        endpoint=query.endpoint,
        status=_REQUEST_STATUS[query.state],
        subject=query.subject,
        made_after=query.issued_after,
        made_before=query.issued_before,
        expires_after=query.expires_after,
        expires_before=query.expires_before,
    )
    page = store.request_page(wanted, after=0 if after is None else _number(after), limit=limit)
    found = [
        Found(row, request_status(row), str(row.id)) for row in page.rows if _asks_for(row, query)
    ]
    return Page(found, None if page.after is None else str(page.after), is_scan=True)


def _refusals(store: Store, query: Query, after: str | None, limit: int) -> Page:
    if query.name is not None or query.expires_after or query.expires_before or query.issuer:
        raise UsageError(
            "a refused request is not kept with its names, and has neither CA nor end",
            hint="look for it by subject, key, serial number, endpoint or time",
        )
    wanted = RefusalFilter(
        endpoint=query.endpoint,
        serial=query.serial,
        key=query.key,
        subject=query.subject,
        seen_after=query.issued_after,
        seen_before=query.issued_before,
    )
    rows = store.refusal_page(
        wanted, after=None if after is None else _last_seen(after), limit=limit
    )
    found = [Found(row, State.REFUSED.value, _cursor_of(row)) for row in rows]
    return Page(found, found[-1].cursor if len(found) == limit else None, is_scan=True)


def _cursor_of(row: RefusalRow) -> str:
    return f"{row.last_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}_{row.id}"


def _last_seen(cursor: str) -> LastSeen:
    match = _CURSOR_REFUSAL.fullmatch(cursor)
    if match is None:
        raise _no_cursor(cursor)
    try:
        return LastSeen(datetime.fromisoformat(match["time"]), int(match["id"]))
    except ValueError:
        raise _no_cursor(cursor) from None


def _asks_for(row: RequestRow, query: Query) -> bool:
    """Say whether a request asks for a key and a name; both are in its PKCS#10 alone."""
    if query.serial is not None and row.serial != query.serial:
        return False
    if query.key is None and query.name is None:
        return True
    asked = csr.read_archived(row.csr)
    if query.key is not None and asked.key_hash != query.key:
        return False
    if query.name is None:
        return True
    try:
        names = general_name.listed(asked.extensions.subject_alternative_names)
    except Malformed:
        return False
    return query.name.lower() in names.lower()


def _cursor(at: Place) -> str:
    """Return a place as text; so much of the issuer tells the CAs of a server apart."""
    time = f"{at.issued_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return f"{time}_{at.serial:x}_{at.issuer[:_ISSUER].hex()}"


def _place(cursor: str) -> Place:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise _no_cursor(cursor)
    try:
        issued_at = datetime.fromisoformat(match["time"])
        return Place(issued_at, int(match["serial"], 16), bytes.fromhex(match["issuer"]))
    except ValueError:
        raise _no_cursor(cursor) from None


def _number(cursor: str) -> int:
    if _CURSOR_REQUEST_STATUS.fullmatch(cursor) is None:
        raise _no_cursor(cursor)
    return int(cursor)


def _no_cursor(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no place in this list", hint="take it from a list of the same kind"
    )
