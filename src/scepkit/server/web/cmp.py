"""CMP over HTTP: `/cmp/NAME` by POST (RFC 9811 section 3).

Whatever is wrong with a request that could be read is answered by a CMP error message with HTTP
status 200: `openssl cmp` looks at nothing else. Only what has no header to answer to hears HTTP.
"""

from __future__ import annotations

import functools

import structlog

from scepkit.errors import HTTPRefused, Malformed
from scepkit.protocol import cmp
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.http.exchange import NO_STORE, Exchange, not_allowed, refusal
from scepkit.server.web import metrics
from scepkit.server.web.front import Front
from scepkit.services.cmp import CMPAnswer

PATH = "/cmp/"

# Octets of a transactionID in the log: OpenSSL sends 16, but whoever wants to may send more.
_MAX_LOGGED = 64

log = structlog.get_logger()


class CMPFront(Front):
    """Answers CMP for all endpoints."""

    protocol = "CMP"

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        name = exchange.head.path.removeprefix(PATH)
        if exchange.head.method != "POST":
            return refusal(not_allowed(("POST",)))
        served = self._endpoints.served.get(name)
        if served is None:
            self._check_awaited(exchange, name)
        if served is None or served.cmp is None:
            return refusal(HTTPRefused(404, "no such CMP endpoint"))
        exchange.facts["endpoint"] = name
        message = await exchange.body(cmp.MAX_MESSAGE)
        service = functools.partial(served.cmp.answer, peer=exchange.network)
        try:
            with self._limit:
                answer = await self._workers.answer(service, message)
        except Malformed as error:
            raise HTTPRefused(400, f"not a CMP message: {error.message}") from error
        if answer.is_fault:
            log.error("server fault", error=answer.reason, hint=answer.hint)
        exchange.facts |= _facts(answer)
        metrics.CMP.labels(name, answer.outcome).inc()
        return HTTPResponse(200, answer.der, cmp.MEDIA_TYPE, NO_STORE)

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        response = super()._refuse(exchange, error, reason)
        metrics.CMP.labels(exchange.facts["endpoint"], exchange.facts["outcome"]).inc()
        return response


def _facts(answer: CMPAnswer) -> dict[str, object]:
    serial = "" if answer.serial is None else show_serial(answer.serial)
    known = {
        "outcome": answer.outcome,
        "transaction_id": (answer.transaction_id or b"")[:_MAX_LOGGED].hex(),
        "serial": serial,
        "subject": answer.subject,
        "by": answer.by,
        "reason": answer.reason,
        # That of a fault is in a line of its own.
        "hint": "" if answer.is_fault else answer.hint,
    }
    return {name: value for name, value in known.items() if value}
