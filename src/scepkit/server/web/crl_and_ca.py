"""GET /crl/ID.crl and /ca/ID.cer, for relying parties: the URLs in every certificate.

Answered from memory, so also when the database is away, and with HTTP's conditional requests
(RFC 9110). The paths are those of `scepkit.ca.extensions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from scepkit.ca import extensions
from scepkit.operations import revocation
from scepkit.server.web import metrics
from scepkit.store import CRLRow, CRLState

# RFC 2585 section 4.
CRL = "application/pkix-crl"
CERTIFICATE = "application/pkix-cert"

# A certificate under its URL never changes; a day is for those who typed a wrong one.
_CERTIFICATE_SECONDS = 24 * 3600

# Longer ones are no dates.
_MAX_DATE = 64

# Octets that are sent at a time: a peer that reads slowly holds no more than that.
_PIECE = 64 * 1024

# Seconds after which to ask again for a CRL that is being made for the first time.
_SOON = 2


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

    @property
    def routes(self) -> list[Route]:
        """Return the paths of CRLs and CA certificates."""
        return [
            Route(extensions.CRL_PATH.format("{name}"), self.crl),
            Route(extensions.ISSUER_PATH.format("{name}"), self.certificate),
        ]

    async def crl(self, request: Request) -> Response:
        """Answer with the newest CRL of a CA (RFC 5280 section 4.2.1.13), DER."""
        try:
            found = self._crls.crl(request.path_params["name"])
        except KeyError:
            return _counted("crl", _missing())
        if found is None:
            return _counted("crl", _not_yet())
        return _counted("crl", self._answer(request, found))

    async def certificate(self, request: Request) -> Response:
        """Answer with the certificate of a CA (caIssuers, RFC 5280 section 4.2.2.1), DER."""
        try:
            found = self._crls.certificate(request.path_params["name"])
        except KeyError:
            return _counted("ca", _missing())
        return _counted("ca", self._answer(request, found))

    def _answer(self, request: Request, resource: Resource) -> Response:
        headers = resource.headers(self._now())
        if resource.is_held(request.headers):
            return Response(status_code=304, headers=headers)
        headers["content-length"] = str(len(resource.body))
        pieces = _pieces(b"" if request.method == "HEAD" else resource.body)
        return StreamingResponse(pieces, headers=headers, media_type=resource.media_type)


def _missing() -> Response:
    text = "there is no such CA here; its id is in the URLs of the certificates that it issues\n"
    return PlainTextResponse(text, 404, {"cache-control": "no-store"})


def _not_yet() -> Response:
    headers = {"cache-control": "no-store", "retry-after": str(_SOON)}
    return PlainTextResponse("the first CRL is being made\n", 503, headers)


def _counted(what: str, response: Response) -> Response:
    metrics.FETCHES.labels(what, str(response.status_code)).inc()
    return response


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
