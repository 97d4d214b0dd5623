"""OCSP over HTTP: `/ocsp/NAME` by GET and POST (RFC 6960 appendix A, RFC 5019 section 5).

Whatever goes wrong with a request is answered in OCSP's own words with HTTP status 200, as its
clients look at nothing else; only who comes with another method or to another endpoint hears HTTP.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from scepkit.ca.extensions import OCSP_PATH
from scepkit.errors import HTTPRefused
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.ocsp import MAX_REQUEST, RESPONSE_TYPE, ErrorStatus
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.directory.data_directory import utc_now
from scepkit.server.http.exchange import NO_STORE, Exchange, not_allowed, refusal
from scepkit.server.web import metrics
from scepkit.server.web.front import Front
from scepkit.services import ocsp
from scepkit.services.ocsp import OCSPAnswer

PATH = OCSP_PATH.format("")
METHODS = ("GET", "HEAD", "POST")

_NO_BREAKS = {ord("\r"): None, ord("\n"): None}

_STATUSES = {
    400: ErrorStatus.MALFORMED_REQUEST,
    413: ErrorStatus.MALFORMED_REQUEST,
    503: ErrorStatus.TRY_LATER,
}
"""The words of OCSP for a refusal, by its HTTP status; a bug is an internalError."""


class OCSPFront(Front):
    """Answers OCSP for all endpoints."""

    protocol = "OCSP"

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        name, _, encoded = exchange.head.path.removeprefix(PATH).partition("/")
        if exchange.head.method not in METHODS:
            return refusal(not_allowed(METHODS))
        served = self._endpoints.served.get(name)
        if served is None:
            self._check_awaited(exchange, name)
            return refusal(HTTPRefused(404, "no such OCSP responder"))
        exchange.facts["endpoint"] = name
        message = (
            await exchange.body(MAX_REQUEST)
            if exchange.head.method == "POST"
            else _decoded(encoded)
        )
        with self._limit:
            answer = await self._workers.answer(served.ocsp.answer, message)
        return _response(exchange, answer)

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        status = _STATUSES.get(error.status, ErrorStatus.INTERNAL_ERROR)
        return _response(exchange, ocsp.refusal(status, reason))


def _decoded(text: str) -> bytes:
    """Decode what stands in a path, percent-encoding undone.

    Some clients break it into lines, or leave the padding out.

    Raises:
        HTTPRefused: it is not base64.
    """
    kept = text.translate(_NO_BREAKS).rstrip("=")
    try:
        return base64.b64decode(kept + "=" * (-len(kept) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPRefused(400, "not base64") from error


def _response(exchange: Exchange, answer: OCSPAnswer) -> HTTPResponse:
    """Return the response with an answer; count it, and say its facts."""
    facts = exchange.facts
    kept = "yes" if answer.was_kept else "no"
    metrics.labelled(metrics.OCSP, facts["endpoint"], answer.outcome, kept).inc()
    facts["outcome"] = answer.outcome
    if len(answer.serials) == 1 and answer.outcome != "unknown":
        # Of an unknown one a client may say whatever it likes, at any length.
        facts["serial"] = show_serial(answer.serials[0])
    if answer.reason:
        facts["reason"] = answer.reason
    is_post = exchange.head.method == "POST"
    if is_post or answer.lasting_until is None or answer.produced_at is None:
        return HTTPResponse(200, answer.der, RESPONSE_TYPE, NO_STORE)
    # RFC 5019 section 6.2: a proxy may serve it, but not after nextUpdate.
    seconds = int((answer.lasting_until - utc_now()).total_seconds())
    tag = f'"{hashlib.sha256(answer.der).hexdigest()}"'
    headers = {
        "Cache-Control": f"max-age={max(0, seconds)},public,no-transform,must-revalidate",
        "Last-Modified": _http_date(answer.produced_at),
        "Expires": _http_date(answer.lasting_until),
        "ETag": tag,
    }
    if exchange.head.header(b"if-none-match").decode("latin-1") == tag:
        return HTTPResponse(304, b"", headers=headers)
    return HTTPResponse(200, answer.der, RESPONSE_TYPE, headers)


@lru_cache(maxsize=1024)
def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)
