"""The front that SCEP, CMP and OCSP over HTTP have in common.

A request's body is read first, and no more of it than a message may have: who sends it slowly, or
never to its end, keeps nobody else out. Then the request counts among a bounded number, and is
answered in a thread. Whatever comes of it is one response and one line of the log.

A message's meaning, the caching of its answer and the words of a refusal are each service's own.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from starlette.types import Receive, Scope, Send

from scepkit.errors import BoundReached, HTTPRefused, Local, Malformed
from scepkit.protocol.scep.http import TEXT, HTTPResponse
from scepkit.server.endpoints import Endpoints
from scepkit.server.http.exchange import END
from scepkit.server.web import metrics
from scepkit.server.web.worker_pool import ConcurrencyLimit, WorkerPool
from scepkit.store import Store

NO_STORE = {"Cache-Control": "no-store"}

_RETRY_SECONDS = 5
_COME_BACK = frozenset({429, 503})

log = structlog.get_logger()


class ClientGone(Exception):
    """The client hung up before its request was whole."""


class Request:
    """An HTTP request, and what the log says of it.

    Attributes:
        scope: as ASGI has it.
        facts: the fields of its line in the log, as they become known; without any there is no
            line. A function among them is called when the response is out.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.facts: dict[str, Any] = {}
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        self._receive = receive

    async def body(self, most: int) -> bytes:
        """Return the body.

        Args:
            most: octets that it may have.

        Raises:
            HTTPRefused: it is larger; HTTP 413.
            ClientGone: it never became whole.
        """
        for name, value in self.scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > most):
                raise _too_large(most)
        body = bytearray()
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            body += event.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            if not event.get("more_body", False):
                return bytes(body)

    async def gone(self) -> None:
        """Return when the client hangs up, or sends nothing more; only once the body was read."""
        while (await self._receive())["type"] not in {"http.disconnect", END}:
            pass


def _too_large(most: int) -> HTTPRefused:
    return HTTPRefused(413, f"the body is larger than {most} octets")


class Front(ABC):
    """Answers the requests of one protocol over ASGI; for one event loop.

    Args:
        endpoints: those in service.
        threads: for private-key work, or for what else takes its time.
        store: where the endpoints store what they decide.
    """

    protocol: ClassVar[str]
    """Its name, as it is written."""

    def __init__(self, endpoints: Endpoints, threads: ThreadPoolExecutor, store: Store) -> None:
        self._endpoints = endpoints
        self._workers = WorkerPool(threads, store)
        self._limit = ConcurrencyLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, and write its line into the log."""
        started = time.perf_counter()
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientGone:
            return
        await _send(response, send)
        if not request.facts:
            return
        seconds = time.perf_counter() - started
        metrics.SECONDS.labels(request.facts.get("operation", self.protocol)).observe(seconds)
        log.info(
            self.protocol.lower(),
            peer=request.peer,
            **{name: one() if callable(one) else one for name, one in request.facts.items()},
            status=response.status,
            ms=round(seconds * 1000, 1),
        )

    async def _respond(self, request: Request) -> HTTPResponse:
        try:
            return await self._answer(request)
        except HTTPRefused as error:
            return self._refuse(request, error, error.message)
        except Malformed as error:
            refused = HTTPRefused(400, f"not a {self.protocol} message")
            return self._refuse(request, refused, error.message)
        except Local as error:
            # The operator's fault or the disk's: the client shall come back (P-78).
            log.error("server fault", error=error.message, hint=error.hint)  # noqa: TRY400
            return self._refuse(request, HTTPRefused(503, "try again later"), error.message)
        except ClientGone:
            raise
        except Exception as error:
            log.exception("bug in scepkit; please report it")
            refused = HTTPRefused(500, "internal error")
            return self._refuse(request, refused, type(error).__name__)

    @abstractmethod
    async def _answer(self, request: Request) -> HTTPResponse:
        """Answer a request, count it, and say the facts.

        Raises:
            HTTPRefused: there is nothing to answer to.
            Malformed: it is no message.
            Local: the server is at fault.
            ClientGone: it never became whole.
        """

    def _refuse(self, request: Request, error: HTTPRefused, reason: str) -> HTTPResponse:
        """Refuse a request in HTTP's words, and say that among the facts.

        Args:
            request: the request.
            error: the status, and the text for the peer.
            reason: for the log.
        """
        request.facts |= {"outcome": f"HTTP {error.status}", "reason": reason}
        return refusal(error)


def refusal(error: HTTPRefused) -> HTTPResponse:
    """Return a status and a line of text."""
    # No proxy may keep a refusal either: the next attempt may fare better (P-39).
    headers = dict(NO_STORE)
    if error.allow:
        headers["Allow"] = error.allow
    if error.status in _COME_BACK:
        seconds = error.retry_after if isinstance(error, BoundReached) else _RETRY_SECONDS
        headers["Retry-After"] = str(seconds)
    return HTTPResponse(error.status, f"{error.message}\n".encode(), TEXT, headers)


async def _send(response: HTTPResponse, send: Send) -> None:
    headers = dict(response.headers)
    if response.status != HTTPStatus.NOT_MODIFIED:
        headers["Content-Type"] = response.content_type
        headers["Content-Length"] = str(len(response.body))
    raw = [(name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})
