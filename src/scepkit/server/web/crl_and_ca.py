"""GET /crl/ID.crl and /ca/ID.cer, for relying parties: the URLs in every certificate.

Answered from memory, so also when the database is away, and with HTTP's conditional requests
(RFC 9110). The paths are those of `scepkit.ca.extensions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca import extensions
from scepkit.errors import HTTPRefused
from scepkit.operations import revocation
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.http.exchange import NO_STORE, Exchange, Head, not_allowed, not_found, refusal
from scepkit.server.web import metrics
from scepkit.store import CRLRow, CRLState

# RFC 2585 section 4.
CRL = "application/pkix-crl"
CERTIFICATE = "application/pkix-cert"

# A certificate under its URL never changes; a day is for those who typed a wrong one.
_CERTIFICATE_SECONDS = 24 * 3600

# Longer ones are no dates.
_MAX_DATE = 64

_METHODS = ("GET", "HEAD")
# What stands before and after the id of the CA.
_CRL_PATH = extensions.CRL_PATH.split("{}")
_CERTIFICATE_PATH = extensions.ISSUER_PATH.split("{}")

_MISSING = "there is no such CA here; its id is in the URLs of the certificates that it issues"

# To a request for a CRL that is being made for the first time: it is there in some seconds.
_NOT_YET = HTTPResponse(
    503, b"the first CRL is being made\n", headers={**NO_STORE, "Retry-After": "2"}
)


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
            headers: of the request; their names in lower case.
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


class Published(Protocol):
    """The CRLs and the certificates of a server's CAs, by the id of the CA."""

    def crl(self, name: str) -> Resource | None:
        """Return the newest CRL; None when there is none yet.

        Raises:
            KeyError: there is no such CA.
        """

    def certificate(self, name: str) -> Resource:
        """Return the certificate.

        Raises:
            KeyError: there is no such CA.
        """


class Distribution:
    """Answers relying parties.

    Args:
        crls: the resources that are served.
        now: returns the time as an aware datetime.
    """

    def __init__(self, crls: Published, now: Callable[[], datetime]) -> None:
        self._crls = crls
        self._now = now

    async def crl(self, exchange: Exchange) -> None:
        """Answer with the newest CRL of a CA (RFC 5280 section 4.2.1.13), DER."""
        await self._answer(exchange, "crl", _CRL_PATH, self._crls.crl)

    async def certificate(self, exchange: Exchange) -> None:
        """Answer with the certificate of a CA (caIssuers, RFC 5280 section 4.2.2.1), DER."""
        await self._answer(exchange, "ca", _CERTIFICATE_PATH, self._crls.certificate)

    async def _answer(
        self,
        exchange: Exchange,
        what: str,
        path: Sequence[str],
        find: Callable[[str], Resource | None],
    ) -> None:
        before, after = path
        name = exchange.head.path.removeprefix(before).removesuffix(after)
        if exchange.head.method not in _METHODS:
            await exchange.send(refusal(not_allowed(_METHODS)))
            return
        if exchange.head.path != f"{before}{name}{after}" or "/" in name:
            await exchange.send(refusal(not_found()))
            return
        try:
            found = find(name)
        except KeyError:
            response = refusal(HTTPRefused(404, _MISSING))
        else:
            response = _NOT_YET if found is None else self._response(exchange.head, found)
        metrics.labelled(metrics.FETCHES, what, str(response.status)).inc()
        await exchange.send(response)

    def _response(self, head: Head, resource: Resource) -> HTTPResponse:
        headers = resource.headers(self._now())
        if resource.is_held(head.texts()):
            return HTTPResponse(304, b"", headers=headers)
        return HTTPResponse(200, resource.body, resource.media_type, headers)
