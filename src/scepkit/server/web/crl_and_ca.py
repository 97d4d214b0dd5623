"""GET /crl/ID.crl and /ca/ID.cer, for relying parties: the URLs in every certificate.

Answered from memory (`crls`), so also when the database is away. The paths are those of
`scepkit.ca.extensions`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from scepkit.ca import extensions
from scepkit.server.background.crl_signing import CRLs
from scepkit.server.web import metrics
from scepkit.server.web.conditional_get import Resource

# Octets that are sent at a time: a peer that reads slowly holds no more than that.
_PIECE = 64 * 1024

# Seconds after which to ask again for a CRL that is being made for the first time.
_SOON = 2


class Distribution:
    """Answers relying parties.

    Args:
        crls: what is served.
        now: returns the time as an aware datetime.
    """

    def __init__(self, crls: CRLs, now: Callable[[], datetime]) -> None:
        self._crls = crls
        self._now = now

    @property
    def routes(self) -> list[Route]:
        """The paths of CRLs and CA certificates."""
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
