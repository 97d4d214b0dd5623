"""A resource with fixed octets, and HTTP's conditional requests for it (RFC 9110)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.operations import revocation
from scepkit.store import CRLRow, CRLState

# RFC 2585 section 4.
CRL = "application/pkix-crl"
CERTIFICATE = "application/pkix-cert"

# A certificate under its URL never changes; a day is for those who typed a wrong one.
_CERTIFICATE_SECONDS = 24 * 3600

# Longer ones are no dates.
_MAX_DATE = 64


@dataclass(frozen=True, slots=True)
class Resource:
    """Octets with a URL of their own.

    Attributes:
        body: the octets.
        media_type: of them.
        last_modified: when they came to be, aware.
        fresh_until: until when caches may keep them without asking, aware; None for a day.
        dates_tell: whether no others came to be in the same second, so that a date of whole
            seconds tells them apart.
        etag: the entity tag, with its quotes.
    """

    body: bytes = field(repr=False)
    media_type: str
    last_modified: datetime
    fresh_until: datetime | None = None
    dates_tell: bool = True
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.body).hexdigest()[:32]}"')

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers that 200 and 304 have in common.

        Args:
            now: the time, aware.
        """
        seconds = _CERTIFICATE_SECONDS
        if self.fresh_until is not None:
            seconds = max(0, int((self.fresh_until - now).total_seconds()))
        return {
            "etag": self.etag,
            "last-modified": format_datetime(_whole(self.last_modified), usegmt=True),
            "cache-control": f"public, max-age={seconds}",
        }

    def is_held(self, headers: Mapping[str, str]) -> bool:
        """Say whether the client has these octets already (RFC 9110 section 13.2.2).

        Args:
            headers: of the request; their names in any case.
        """
        tags = headers.get("if-none-match")
        if tags is not None:
            return tags.strip() == "*" or self.etag in _tags(tags)
        since = _date(headers.get("if-modified-since", ""))
        if since is None:
            return False
        modified = _whole(self.last_modified)
        return since > modified or (since == modified and self.dates_tell)


def of_crl(row: CRLRow, before: CRLState | None) -> Resource:
    """Return a CRL to be served.

    Args:
        row: the CRL.
        before: the one that was served until now, if any.
    """
    # Whoever did not see the CRL before this one cannot know that it is from another second.
    dates_tell = row.number == 1 or (
        before is not None
        and before.number + 1 == row.number
        and _whole(before.this_update) < _whole(row.this_update)
    )
    return Resource(
        row.der,
        CRL,
        row.this_update,
        fresh_until=revocation.due_at(row),
        dates_tell=dates_tell,
    )


def of_certificate(certificate: x509.Certificate) -> Resource:
    """Return a CA's certificate to be served."""
    der = certificate.public_bytes(Encoding.DER)
    return Resource(der, CERTIFICATE, certificate.not_valid_before_utc)


def _whole(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)


def _tags(header: str) -> Iterator[str]:
    """Yield the entity tags of If-None-Match; weak ones do as well as strong ones."""
    for tag in header.split(","):
        yield tag.strip().removeprefix("W/")


def _date(header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(header[:_MAX_DATE])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
