"""CMP over HTTP: `/cmp/NAME` by POST (RFC 9811 section 3).

Whatever is wrong with a request that could be read is answered by a CMP error message with HTTP
status 200: `openssl cmp` looks at nothing else. Only what has no header to answer to hears HTTP.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from scepkit.errors import HTTPRefused, Malformed, StoreError
from scepkit.protocol import cmp, serial_number
from scepkit.server.endpoints import Endpoints
from scepkit.server.http import peers
from scepkit.server.web import metrics
from scepkit.server.web.worker_pool import UnderWay
from scepkit.services.cmp import CMPAnswer
from scepkit.store import Store

PATH = "/cmp/{name}"

_NO_STORE = {"Cache-Control": "no-store"}
_BUSY = 503
# Octets of a transactionID in the log: OpenSSL sends 16, but whoever wants to may send more.
_MAX_LOGGED = 64
_RETRY_AFTER = {"Retry-After": "5"}

log = structlog.get_logger()


class CMPApp:
    """Answers CMP for all endpoints.

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
        """The paths of the CMP endpoints."""
        return [Route(PATH, self._respond, methods=["POST"])]

    async def _respond(self, request: Request) -> Response:
        """Answer one HTTP request and write its line into the log."""
        started = time.perf_counter()
        name = request.path_params["name"]
        served = self._endpoints.served.get(name)
        if served is None or served.cmp is None:
            return _refusal(HTTPRefused(404, "no such CMP endpoint"))
        try:
            service = functools.partial(served.cmp.answer, peer=peers.network(_peer(request)))
            answer = await self._answer(request, service)
        except ClientDisconnect:
            return Response()
        except HTTPRefused as error:
            _report(request, name, error, time.perf_counter() - started)
            return _refusal(error)
        _report(request, name, answer, time.perf_counter() - started)
        return Response(answer.der, media_type=cmp.MEDIA_TYPE, headers=_NO_STORE)

    async def _answer(self, request: Request, answer: Callable[[bytes], CMPAnswer]) -> CMPAnswer:
        """Answer a message.

        Raises:
            HTTPRefused: there is nothing to answer to.
            ClientDisconnect: it never became whole.
        """
        try:
            # First: who sends it slowly, or never to its end, keeps nobody else out.
            message = await _body(request)
            return await self._decided(message, answer)
        except Malformed as error:
            raise HTTPRefused(400, f"not a CMP message: {error.message}") from error
        except (HTTPRefused, ClientDisconnect):
            raise
        except Exception as error:
            log.exception("bug in scepkit; please report it")
            raise HTTPRefused(500, "internal error") from error

    async def _decided(self, message: bytes, answer: Callable[[bytes], CMPAnswer]) -> CMPAnswer:
        with self._under_way:
            loop = asyncio.get_running_loop()
            asked = time.monotonic()
            return await loop.run_in_executor(self._pool, self._revoked, answer, message, asked)

    def _revoked(
        self, answer: Callable[[bytes], CMPAnswer], message: bytes, asked: float
    ) -> CMPAnswer:
        try:
            self._store.check_patience(asked)
        except StoreError as error:
            log.error("server fault", error=error.message, hint=error.hint)  # noqa: TRY400
            raise HTTPRefused(_BUSY, "try again later") from error
        return answer(message)


async def _body(request: Request) -> bytes:
    """Read the body, as much as a PKIMessage may have.

    Raises:
        HTTPRefused: it is larger.
        ClientDisconnect: it never became whole.
    """
    too_large = HTTPRefused(413, f"the body is larger than {cmp.MAX_MESSAGE} octets")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > cmp.MAX_MESSAGE:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > cmp.MAX_MESSAGE:
            raise too_large
    return bytes(body)


def _refusal(error: HTTPRefused) -> Response:
    headers = _NO_STORE | (_RETRY_AFTER if error.status == _BUSY else {})
    return PlainTextResponse(f"{error.message}\n", error.status, headers)


def _report(request: Request, name: str, answer: CMPAnswer | HTTPRefused, seconds: float) -> None:
    facts: dict[str, object]
    if isinstance(answer, HTTPRefused):
        outcome, status = f"HTTP {answer.status}", answer.status
        facts = {"reason": answer.message}
    else:
        outcome, status, facts = answer.outcome, 200, _facts(answer)
        if answer.is_fault:
            log.error("server fault", error=answer.reason, hint=answer.hint)
    metrics.CMP.labels(name, outcome).inc()
    metrics.SECONDS.labels("CMP").observe(seconds)
    log.info(
        "cmp",
        peer=_peer(request),
        endpoint=name,
        outcome=outcome,
        **facts,
        status=status,
        ms=round(seconds * 1000, 1),
    )


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _facts(answer: CMPAnswer) -> dict[str, object]:
    serial = "" if answer.serial is None else serial_number.show(answer.serial)
    known = {
        "transaction_id": (answer.transaction_id or b"")[:_MAX_LOGGED].hex(),
        "serial": serial,
        "subject": answer.subject,
        "by": answer.by,
        "reason": answer.reason,
        # That of a fault is in a line of its own.
        "hint": "" if answer.is_fault else answer.hint,
    }
    return {name: value for name, value in known.items() if value}
