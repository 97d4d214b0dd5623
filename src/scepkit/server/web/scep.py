"""The SCEP endpoint as an ASGI application (RFC 8894 section 4).

Bytes come in and go out here; what they mean is `protocol.http`'s and `Endpoint`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import structlog
from starlette.types import Receive, Scope, Send

from scepkit.enrolment.challenges.static import OF_ALL
from scepkit.enrolment.decision import Decision
from scepkit.errors import BoundReached, HTTPRefused, Local, Malformed
from scepkit.protocol import serial_number
from scepkit.protocol.scep import http, pkimessage
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse, Operation, SCEPRequest
from scepkit.protocol.scep.messages import Failure
from scepkit.server.endpoints import (
    Endpoints,
    ServedEndpoint,
    addressed,
    identified,
    is_for,
    named,
    unknown,
)
from scepkit.server.http import peers
from scepkit.server.http.bounds import BoundAlarms
from scepkit.server.settings import DEFAULT, Settings
from scepkit.server.slowing import Slowing
from scepkit.server.web import metrics
from scepkit.server.web.worker_pool import Decider, UnderWay
from scepkit.store import Store

Facts: TypeAlias = Mapping[str, Any]
"""The fields of an operation in the log, besides peer and duration."""

_RETRY_SECONDS = 5
_RETRY_AFTER = {"Retry-After": str(_RETRY_SECONDS)}
_COME_BACK = frozenset({429, 503})
_NO_STORE = {"Cache-Control": "no-store"}

_GUESSED = "the static challenge is being guessed from many addresses: is it long enough?"

log = structlog.get_logger()


class ClientGone(Exception):
    """The client hung up before its request was whole."""


class SCEPApp:
    """Answers SCEP over ASGI.

    Args:
        endpoints: the endpoints.
        settings: their names.
        pool: threads for private-key work.
        store: where the endpoints store what they decide.
    """

    def __init__(
        self, endpoints: Endpoints, settings: Settings, pool: ThreadPoolExecutor, store: Store
    ) -> None:
        self._endpoints = endpoints
        self._settings = settings
        self._has_several = len(settings.endpoint) > 1
        self._pool = pool
        self._under_way = UnderWay()
        self._decider = Decider(pool, store)
        self._alarms = BoundAlarms()
        self._slowing = Slowing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request and write its line into the log."""
        started = time.perf_counter()
        try:
            response, facts = await self._answer(scope, receive)
        except ClientGone:
            return
        await _send(response, send)
        self._report(scope, response, facts, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[HTTPResponse, Facts]:
        operation, endpoint = "none", ""
        try:
            operation = http.named_operation(scope["method"], scope["query_string"])
            name = self._named(scope["path"])
            endpoint = name or DEFAULT
            request = http.read_request(
                HTTPRequest(scope["method"], scope["query_string"], await _body(scope, receive))
            )
            served = self._find(name, request)
            endpoint = served.endpoint.name
            if request.operation is Operation.PKI_OPERATION:
                response, facts = await self._pki_operation(name, request, _peer(scope))
            else:
                response = served.publication.answer(request.operation)
                facts = {"operation": request.operation.value, "outcome": "OK"}
        except HTTPRefused as error:
            headers = {"Allow": error.allow} if error.allow else {}
            if error.status in _COME_BACK:
                headers |= _RETRY_AFTER
            response, facts = _refused(
                operation, error.status, error.message, error.message, headers
            )
        except Malformed as error:
            response, facts = _refused(operation, 400, "not a SCEP message", error.message)
        except ClientGone:
            raise
        except Exception as error:
            log.exception("bug in scepkit; please report it")
            response, facts = _refused(operation, 500, "internal error", type(error).__name__)
        return response, {"endpoint": endpoint, **facts}

    def _named(self, path: str) -> str | None:
        """Return the endpoint that a path names, or None where it leaves that open.

        Raises:
            HTTPRefused: there is no such endpoint.
        """
        name = named(path)
        if (name or DEFAULT) not in self._endpoints.served:
            raise unknown()
        return name

    def _find(self, name: str | None, request: SCEPRequest) -> ServedEndpoint:
        """Return the endpoint that is to answer, as it is at this moment."""
        served = self._endpoints.served
        if name is None and self._has_several:
            if request.operation is Operation.PKI_OPERATION:
                recipients = {one: served[one].recipients for one in served}
                name = addressed(request.message, recipients)
            else:
                name = identified(request.identifier, self._settings)
        return served[name or DEFAULT]

    async def _pki_operation(
        self, name: str | None, request: SCEPRequest, peer: str
    ) -> tuple[HTTPResponse, Facts]:
        network = peers.network(peer)
        try:
            with self._under_way:
                endpoint = (await self._up_to_date(name, request)).endpoint
                decision = await self._decider.decide(request.message, endpoint, network)
        except BoundReached as error:
            self._alarms.ring(error.bound, peer=network, endpoint=endpoint.name, hint=error.hint)
            response, facts = _put_off(request.message, error.status, error, error.retry_after)
            return response, {"endpoint": endpoint.name, **facts}
        except Local as error:
            # The operator's fault or the disk's: the device shall come back (P-78).
            log.error("server fault", error=error.message, hint=error.hint)  # noqa: TRY400
            return _put_off(request.message, 503, error)
        if isinstance(decision.answer, Failure) and endpoint.is_guessed_at:
            self._alarms.ring(OF_ALL, endpoint=endpoint.name, hint=_GUESSED)
            # Not among those under way: else who guesses would keep everybody else out.
            await self._slowing.wait()
        facts = {"endpoint": endpoint.name, **_facts(decision)}
        return HTTPResponse(200, decision.reply, http.PKI_MESSAGE, _NO_STORE), facts

    async def _up_to_date(self, name: str | None, request: SCEPRequest) -> ServedEndpoint:
        """Return the endpoint, with keys that were made a moment ago too.

        Another worker process may have shown a certificate that this one has not looked for yet:
        a device that encrypts to it must not be refused.
        """
        served = self._find(name, request)
        if not is_for(request.message, served.recipients):
            await asyncio.get_running_loop().run_in_executor(self._pool, self._endpoints.refresh)
            served = self._find(name, request)
        return served

    def _report(self, scope: Scope, response: HTTPResponse, facts: Facts, seconds: float) -> None:
        operation = facts["operation"]
        metrics.REQUESTS.labels(
            facts["endpoint"], operation, facts.get("message_type", ""), facts["outcome"]
        ).inc()
        metrics.SECONDS.labels(operation).observe(seconds)
        for name in facts.get("legacy", ()):
            metrics.LEGACY.labels(facts["endpoint"], name).inc()
        if "subject" in facts:
            # Not before the reply is out: see `Decision.subject`.
            facts = {**facts, "subject": facts["subject"]()}
        log.info(
            "scep",
            peer=_peer(scope),
            **facts,
            status=response.status,
            ms=round(seconds * 1000, 1),
        )


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Read the body, as much as a pkiMessage may have.

    Raises:
        HTTPRefused: it is larger.
        ClientGone: it never became whole.
    """
    too_large = HTTPRefused(413, f"the body is larger than {http.MAX_BODY} octets")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > http.MAX_BODY):
            raise too_large
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        body += event.get("body", b"")
        if len(body) > http.MAX_BODY:
            raise too_large
        if not event.get("more_body", False):
            return bytes(body)


async def _send(response: HTTPResponse, send: Send) -> None:
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        **response.headers,
    }
    raw = [(name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


def _refused(
    operation: str, status: int, text: str, reason: str, headers: Mapping[str, str] | None = None
) -> tuple[HTTPResponse, Facts]:
    # No proxy may keep a refusal either: the next attempt may fare better (P-39).
    headers = {**_NO_STORE, **(headers or {})}
    response = HTTPResponse(status, f"{text}\n".encode(), http.TEXT, headers)
    return response, {"operation": operation, "outcome": f"HTTP {status}", "reason": reason}


def _put_off(
    message: bytes, status: int, error: Local | BoundReached, seconds: int = _RETRY_SECONDS
) -> tuple[HTTPResponse, Facts]:
    """Refuse for now a request that could be read, so that the log can say whose it was."""
    operation = Operation.PKI_OPERATION.value
    text = error.message if isinstance(error, BoundReached) else "try again later"
    headers = {"Retry-After": str(seconds)}
    response, facts = _refused(operation, status, text, error.message, headers)
    transaction_id = pkimessage.parse(message).attributes.transaction_id
    return response, {**facts, "transaction_id": str(transaction_id)}


def _facts(decision: Decision) -> Facts:
    """Say what the log needs so that an operator can act on it."""
    answer = decision.answer
    facts: dict[str, Any] = {
        "operation": Operation.PKI_OPERATION.value,
        "message_type": decision.verified.message_type.name if decision.verified else "unverified",
        "transaction_id": str(decision.received.attributes.transaction_id),
        "subject": lambda: decision.subject,
        "outcome": answer.pki_status.name,
    }
    if decision.serial is not None:
        facts["serial"] = serial_number.show(decision.serial)
    if decision.renews is not None:
        facts["renews"] = serial_number.show(decision.renews)
    if decision.challenge is not None:
        facts["challenge_id"] = decision.challenge.id
        if decision.challenge.label:
            facts["challenge_label"] = decision.challenge.label
    if isinstance(answer, Failure) and answer.fail_info is not None:
        facts |= {"fail_info": answer.fail_info.name, "reason": decision.reason or answer.text}
    if decision.cut:
        facts["cut"] = list(decision.cut)
    if decision.repeated:
        facts["repeated"] = True
    if decision.legacy:
        facts["legacy"] = [legacy.value for legacy in decision.legacy]
    return facts
