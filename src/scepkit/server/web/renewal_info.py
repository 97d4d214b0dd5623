"""GET /renewal-info/NAME: when a certificate is best renewed (RFC 9773 section 4.1).

Whatever goes wrong is a problem document (RFC 7807), with the types of ACME's errors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from scepkit.errors import HTTPRefused
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.renewal_info import MEDIA_TYPE, PATH
from scepkit.server.endpoints.served import Endpoints
from scepkit.server.http.exchange import Exchange, not_allowed, not_found
from scepkit.server.web import metrics
from scepkit.server.web.executors import Executor
from scepkit.server.web.front import Front
from scepkit.services import renewal_info
from scepkit.store import Store

_METHODS = ("GET", "HEAD")
_FRESH_SECONDS = 600  # for which caches may keep an answer

_PROBLEM = "application/problem+json"
_MALFORMED, _SERVER = (
    f"urn:ietf:params:acme:error:{kind}" for kind in ("malformed", "serverInternal")
)


class RenewalInfoFront(Front):
    """Answers for the certificates of all endpoints; arguments as for `Front`."""

    protocol = "renewal-info"

    def __init__(self, endpoints: Endpoints, executor: Executor, store: Store) -> None:
        super().__init__(endpoints, executor, store)
        self._store = store

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        path = exchange.head.path
        if exchange.head.method not in _METHODS:
            raise not_allowed(_METHODS)
        if not path.startswith(PATH):
            raise not_found()
        with self._limit:
            answer = await self._workers.answer(self._look_up, path.removeprefix(PATH).encode())
        exchange.facts |= {
            "endpoint": answer.endpoint,
            "serial": show_serial(answer.serial),
            "outcome": "told",
        }
        body = answer.info.write()
        headers = {
            "Retry-After": str(int(answer.again_after.total_seconds())),
            "Cache-Control": f"public, max-age={_FRESH_SECONDS}",
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        }
        if exchange.head.header(b"if-none-match").decode("latin-1") == headers["ETag"]:
            return self._counted(HTTPResponse(304, b"", headers=headers))
        return self._counted(HTTPResponse(200, body, MEDIA_TYPE, headers))

    def _look_up(self, name: bytes) -> renewal_info.RenewalAnswer:
        endpoints = {name: one.renewals for name, one in self._endpoints.served.items()}
        return renewal_info.answer(endpoints, self._store, name.decode())

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        response = super()._refuse(exchange, error, reason)
        server = 500  # and above
        problem = {
            "type": _MALFORMED if error.status < server else _SERVER,
            "status": error.status,
            "detail": error.message,
        }
        body = json.dumps(problem).encode("ascii")
        return self._counted(replace(response, body=body, content_type=_PROBLEM))

    def _counted(self, response: HTTPResponse) -> HTTPResponse:
        metrics.labelled(metrics.FETCHES, self.protocol, str(response.status)).inc()
        return response
