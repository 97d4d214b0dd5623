"""OCSP over HTTP: `/ocsp/NAME` by GET and POST (RFC 6960 appendix A, RFC 5019 section 5).

Whatever goes wrong with a request is answered in OCSP's own words with HTTP status 200, as its
clients look at nothing else; only who comes with another method or to another endpoint hears HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import format_datetime

import structlog
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from scepkit.ca.extensions import OCSP_PATH
from scepkit.errors import HTTPRefused, Local
from scepkit.protocol import serial_number
from scepkit.protocol.ocsp import MAX_REQUEST, RESPONSE_TYPE, ErrorStatus
from scepkit.server.data_directory import utc_now
from scepkit.server.endpoints import Endpoints
from scepkit.server.web import metrics
from scepkit.server.web.worker_pool import UnderWay
from scepkit.services.ocsp import OCSPAnswer, OCSPService, refusal
from scepkit.store import Store

_NO_BREAKS = {ord("\r"): None, ord("\n"): None}
_NO_STORE = {"Cache-Control": "no-store"}

log = structlog.get_logger()


class _AnyConvertor(PathConvertor):
    """The rest of a path whatever it holds; Starlette's `path` ends at a line break."""

    regex = r"[\s\S]*"


register_url_convertor("anything", _AnyConvertor())


class OCSPApp:
    """Answers OCSP for all endpoints.

    Args:
        endpoints: the endpoints.
        pool: threads for private-key work.
        store: the database.
    """

    def __init__(self, endpoints: Endpoints, pool: ThreadPoolExecutor, store: Store) -> None:
        self._endpoints = endpoints
        self._pool = pool
        self._store = store
        self._under_way = UnderWay()

    @property
    def routes(self) -> list[Route]:
        """The paths of the responder."""
        path = OCSP_PATH.format("{name}")
        return [
            Route(one, self._respond, methods=["GET", "POST"])
            for one in (path, path + "/{request:anything}")
        ]

    async def _respond(self, request: Request) -> Response:
        """Answer one HTTP request and write its line into the log."""
        started = time.perf_counter()
        name = request.path_params["name"]
        served = self._endpoints.served.get(name)
        if served is None:
            return PlainTextResponse("no such OCSP responder\n", 404, _NO_STORE)
        try:
            answer = await self._answer(request, served.ocsp)
        except ClientDisconnect:
            return Response()
        response = _response(request, answer)
        _report(request, name, answer, response.status_code, time.perf_counter() - started)
        return response

    async def _answer(self, request: Request, service: OCSPService) -> OCSPAnswer:
        try:
            # First: who sends it slowly, or never to its end, keeps nobody else out.
            message = await _message(request)
            if message is None:
                return refusal(ErrorStatus.MALFORMED_REQUEST, "not base64, or too large")
            with self._under_way:
                loop = asyncio.get_running_loop()
                asked = time.monotonic()
                return await loop.run_in_executor(self._pool, self._signed, service, message, asked)
        except HTTPRefused as error:
            return refusal(ErrorStatus.TRY_LATER, error.message)
        except Local as error:
            # The operator's fault or the disk's: the client shall come back.
            log.error("server fault", error=error.message, hint=error.hint)  # noqa: TRY400
            return refusal(ErrorStatus.TRY_LATER, error.message)
        except ClientDisconnect:
            raise
        except Exception as error:
            log.exception("bug in scepkit; please report it")
            return refusal(ErrorStatus.INTERNAL_ERROR, type(error).__name__)

    def _signed(self, service: OCSPService, message: bytes, asked: float) -> OCSPAnswer:
        self._store.check_patience(asked)
        return service.answer(message)


async def _message(request: Request) -> bytes | None:
    """Return the OCSPRequest in an HTTP request; None where there cannot be one.

    Raises:
        ClientDisconnect: it never became whole.
    """
    if request.method != "POST":
        return _decoded(request.path_params.get("request", ""))
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_REQUEST:
            return None
    return bytes(body)


def _decoded(text: str) -> bytes | None:
    """Decode what stands in a path, percent-encoding undone.

    Some clients break it into lines, or leave the padding out.
    """
    kept = text.translate(_NO_BREAKS).rstrip("=")
    try:
        return base64.b64decode(kept + "=" * (-len(kept) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _response(request: Request, answer: OCSPAnswer) -> Response:
    if request.method == "POST" or answer.lasting_until is None or answer.produced_at is None:
        return Response(answer.der, media_type=RESPONSE_TYPE, headers=_NO_STORE)
    # RFC 5019 section 6.2: a proxy may serve it, but not after nextUpdate.
    seconds = int((answer.lasting_until - utc_now()).total_seconds())
    headers = {
        "Cache-Control": f"max-age={max(0, seconds)},public,no-transform,must-revalidate",
        "Last-Modified": _http_date(answer.produced_at),
        "Expires": _http_date(answer.lasting_until),
        "ETag": f'"{hashlib.sha256(answer.der).hexdigest()}"',
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(answer.der, media_type=RESPONSE_TYPE, headers=headers)


def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _report(request: Request, name: str, answer: OCSPAnswer, status: int, seconds: float) -> None:
    metrics.OCSP.labels(name, answer.outcome, "yes" if answer.was_kept else "no").inc()
    metrics.SECONDS.labels("OCSP").observe(seconds)
    facts = {}
    if len(answer.serials) == 1 and answer.outcome != "unknown":
        # Of an unknown one a client may say whatever it likes, at any length.
        facts["serial"] = serial_number.show(answer.serials[0])
    if answer.reason:
        facts["reason"] = answer.reason
    log.info(
        "ocsp",
        peer=request.client.host if request.client else "",
        endpoint=name,
        outcome=answer.outcome,
        **facts,
        status=status,
        ms=round(seconds * 1000, 1),
    )
