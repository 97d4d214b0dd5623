"""The API behind the server's HTTP: an ASGI application, with the bounds that devices have.

Nothing is answered that came in clear over a network: a token in it is anybody's by then.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import structlog

from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.api.problems import MEDIA_TYPE, Kind, ProblemError
from scepkit.server.http.exchange import NO_STORE, ClientGone, Exchange
from scepkit.server.web import metrics

_Message: TypeAlias = MutableMapping[str, Any]
ASGIApplication: TypeAlias = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[_Message]],
        Callable[[_Message], Awaitable[None]],
    ],
    Awaitable[None],
]

log = structlog.get_logger()


class Front:
    """Answers requests with an ASGI application; for one event loop.

    Args:
        app: the application.
        has_tls: whether connections have TLS.
    """

    def __init__(self, app: ASGIApplication, *, has_tls: bool) -> None:
        self._app = app
        self._has_tls = has_tls

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one HTTP request, and write its line into the log."""
        started = time.perf_counter()
        try:
            self._check_private(exchange)
            response = await self._answer(exchange)
        except ProblemError as error:
            response = _of_problem(error)
            exchange.facts["reason"] = error.detail
        await exchange.send(response)
        metrics.labelled(metrics.API, str(response.status)).inc()
        log.info(
            "api",
            peer=exchange.peer,
            method=exchange.head.method,
            path=exchange.head.path,
            **exchange.facts,
            status=response.status,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )

    def _check_private(self, exchange: Exchange) -> None:
        """Refuse what somebody on the network could have read.

        Raises:
            ProblemError: somebody could.
        """
        if not (self._has_tls or exchange.is_private):
            raise ProblemError(
                Kind.IN_CLEAR,
                "the request came over the network in clear",
                hint="ask by https; a proxy has to be listed in proxies, and to send "
                "X-Forwarded-For and X-Forwarded-Proto; take the token for lost: "
                "scep admin token void",
            )

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        """Have the application answer.

        Raises:
            ClientGone: the request never became whole.
        """
        answer = _Answer()
        is_read = False

        async def receive() -> _Message:
            # Piece by piece: each route takes as many octets as it says, and holds no more.
            nonlocal is_read
            if is_read:
                await exchange.gone()
                return {"type": "http.disconnect"}
            piece = await exchange.piece()
            is_read = not piece
            return {"type": "http.request", "body": piece, "more_body": not is_read}

        try:
            await self._app(self._scope(exchange), receive, answer.take)
        except ClientGone:
            raise
        except Exception:
            log.exception("bug in scepkit; please report it")
            problem = ProblemError(Kind.BUG, "this is a fault of the server; its log has more")
            return _of_problem(problem)
        return answer.response()

    def _scope(self, exchange: Exchange) -> dict[str, Any]:
        head = exchange.head
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            # Without the body it is sent as one for GET (RFC 9110 section 9.3.2).
            "method": "GET" if head.method == "HEAD" else head.method,
            "scheme": "https" if self._has_tls else "http",
            "path": head.path,
            "raw_path": head.url.partition(b"?")[0],
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": (exchange.peer, 0),
            "server": None,
            "state": {"facts": exchange.facts},
        }


class _Answer:
    """An answer of the application, put together."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def take(self, message: _Message) -> None:
        """Take a piece of it."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in message.get("headers", ())
            }
        else:
            self._body += message.get("body", b"")

    def response(self) -> HTTPResponse:
        """Return the whole of it."""
        headers = {k: v for k, v in self._headers.items() if k != "content-length"}
        media_type = headers.pop("content-type", "application/json")
        return HTTPResponse(self._status, bytes(self._body), media_type, {**headers, **NO_STORE})


def _of_problem(error: ProblemError) -> HTTPResponse:
    headers = {**error.headers, **NO_STORE}
    return HTTPResponse(error.status, error.document(), MEDIA_TYPE, headers)
