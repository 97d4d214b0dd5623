"""SCEP over HTTP: which endpoint a request is for, and its answer (RFC 8894 section 4).

The path of a request names its endpoint, or leaves it open:

    /scep · /cgi-bin/pkiclient.exe      the default one, unless the request says more
    /scep/NAME, /cgi-bin/…/NAME         the endpoint NAME
    /certsrv/mscep/mscep.dll            the one with ndes = true; in any case of letters, as at NDES
    …/pkiclient.exe · …/cgi-bin/…       what IOS and Windows append to either is ignored (P-37)

At a path without a name the old `message=NAME` selects the endpoint, or the CA, of that name
(L-05); anything else in it is ignored (P-38). A PKIOperation does not repeat it, so there the
certificate that it is encrypted to selects.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

from scepkit.enrolment.challenges.static import OF_ALL
from scepkit.enrolment.request import Refused
from scepkit.errors import BoundReached, HTTPRefused, Local
from scepkit.protocol.scep import http, pkimessage
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse, Operation, SCEPRequest
from scepkit.protocol.scep.messages import Failure
from scepkit.protocol.scep.notice import HEADER
from scepkit.server.endpoints.served import Endpoints, ServedEndpoint
from scepkit.server.http.bounds import BoundAlarms
from scepkit.server.http.exchange import NO_STORE, Exchange
from scepkit.server.settings import DEFAULT, Settings
from scepkit.server.web import metrics
from scepkit.server.web.executors import Executor
from scepkit.server.web.front import Front
from scepkit.server.web.refusals import RefusalKeeper
from scepkit.server.web.waiting_room import WaitingRoom
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.services.scep_decision import Decision, Waiting
from scepkit.store import Store

Facts: TypeAlias = Mapping[str, Any]
"""The fields of an operation in the log, besides peer and duration."""

_GUESSED = "challenges are being guessed from many addresses: is the static one long enough?"

_APPENDED = frozenset({"", "cgi-bin", "pkiclient.exe"})
_CERTSRV = "/certsrv/mscep/mscep.dll"
_FRONTS = frozenset({"/scep", "/cgi-bin/pkiclient.exe"})
_NAME = re.compile(r"[a-z0-9-]+")

DELAY_SECONDS = 2
# Each costs a few kilobytes and no thread. More are answered at once: the bound on memory counts
# more than slowing the last ones down.
_MOST_DELAYED = 256


class SCEPFront(Front):
    """Answers SCEP for all endpoints.

    Args:
        endpoints: those in service.
        settings: bound how many requests wait for others, and for how long.
        executor: where requests are decided.
        beside: threads for what waits for the disk or takes long.
        store: where the endpoints store what they decide.
    """

    protocol = "SCEP"

    def __init__(
        self,
        endpoints: Endpoints,
        settings: Settings,
        executor: Executor,
        beside: ThreadPoolExecutor,
        store: Store,
    ) -> None:
        super().__init__(endpoints, executor, store)
        self._beside = WorkerPool(beside, store)
        self._waiting = WaitingRoom(
            self._workers, beside, most=settings.max_waiting, seconds=settings.waiting_seconds
        )
        self._alarms = BoundAlarms()
        self._refusals = RefusalKeeper(store, self._alarms, most=settings.kept_refusals)
        self._delay = RefusalDelay()

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        head, facts = exchange.head, exchange.facts
        facts["endpoint"] = ""
        name = name_by_path(head.path, self._endpoints.at_certsrv)
        # Once: while its body arrives other settings may come into force.
        catalogue = self._endpoints.served
        if name is not None and name not in catalogue:
            self._check_awaited(exchange, name)
            raise _unknown_path()
        facts["endpoint"] = name or DEFAULT
        asked = http.read_request(
            HTTPRequest(head.method, head.query, await exchange.body(http.MAX_BODY))
        )
        served = self._find(catalogue, name, asked, exchange)
        facts["endpoint"], facts["operation"] = served.scep.name, str(asked.operation)
        if asked.operation is Operation.PKI_OPERATION:
            return await self._pki_operation(name, asked, served, exchange)
        facts["outcome"] = "OK"
        return served.publication.answer(asked.operation)

    async def _pki_operation(
        self, name: str | None, asked: SCEPRequest, served: ServedEndpoint, exchange: Exchange
    ) -> HTTPResponse:
        is_known = _is_encrypted_to(asked.message, served.recipients)
        try:
            with self._limit:
                if not is_known:
                    # Another worker process may have shown a certificate that this one has not
                    # looked for yet: a device that encrypts to it must not be refused.
                    await self._beside.run(self._endpoints.refresh)
                    catalogue = self._endpoints.served
                    if (name or DEFAULT) in catalogue:
                        served = self._find(catalogue, name, asked, exchange)
                service = served.scep
                exchange.facts["endpoint"] = service.name
                workers = self._beside if served.takes_long else self._workers
                decision = await workers.decide(asked.message, service, exchange.network)
            if isinstance(decision, Waiting):
                # Not among those under way: else who waits would keep everybody else out.
                decision = await self._waiting.decide(decision, service, exchange.gone)
        except (BoundReached, Local):
            # The request could be read, so the log can say whose it was.
            transaction_id = pkimessage.parse(asked.message).attributes.transaction_id
            exchange.facts["transaction_id"] = str(transaction_id)
            raise
        if isinstance(decision.answer, Failure) and service.is_guessed_at:
            self._alarms.ring(OF_ALL, endpoint=service.name, hint=_GUESSED)
            # Not among those under way: else who guesses would keep everybody else out.
            await self._delay.wait()
        exchange.more_facts = partial(self._told, decision, service.name, exchange.peer)
        headers = NO_STORE
        if notice := decision.notice:
            headers = {**NO_STORE, HEADER: notice}
        return HTTPResponse(200, decision.reply, http.PKI_MESSAGE, headers)

    def close(self) -> None:
        """End, after the last request."""
        self._refusals.close()

    def start(self) -> None:
        """Do nothing: it begins with the first request."""

    def _told(self, decision: Decision, endpoint: str, peer: str) -> Facts:
        """Return the facts of a decision whose reply is out, and keep a refusal."""
        facts = decision.facts()
        if not isinstance(decision.outcome, Refused):
            return facts
        refusal = decision.refusal(facts, endpoint=endpoint, peer=peer, at=datetime.now(UTC))
        if refusal is not None:
            self._refusals.take(refusal)
        return facts

    def _find(
        self,
        catalogue: Mapping[str, ServedEndpoint],
        name: str | None,
        asked: SCEPRequest,
        exchange: Exchange,
    ) -> ServedEndpoint:
        """Return the endpoint that is to answer; its path may leave open which that is.

        Raises:
            HTTPRefused: its CA is yet to come.
        """
        if name is None:
            if asked.operation is not Operation.PKI_OPERATION:
                name = name_by_identifier(asked.identifier, self._endpoints.authorities())
            elif len(catalogue) > 1:
                recipients = {one: catalogue[one].recipients for one in catalogue}
                name = name_by_recipient(asked.message, recipients)
        found = catalogue.get(name or DEFAULT)
        if found is None:
            self._check_awaited(exchange, name or DEFAULT)
            raise _unknown_path()
        return found

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        facts = exchange.facts
        if "operation" not in facts:
            facts["operation"] = http.named_operation(exchange.head.method, exchange.head.query)
        if isinstance(error, BoundReached):
            name = facts["endpoint"]
            self._alarms.ring(error.bound, peer=exchange.network, endpoint=name, hint=error.hint)
        return super()._refuse(exchange, error, reason)

    def _count(self, facts: Facts) -> None:
        endpoint, kind = facts["endpoint"], facts.get("message_type", "")
        metrics.labelled(
            metrics.REQUESTS, endpoint, facts["operation"], kind, facts["outcome"]
        ).inc()
        if "legacy" in facts:
            for name in facts["legacy"]:
                metrics.labelled(metrics.LEGACY, endpoint, name).inc()


class RefusalDelay:
    """Holds refusals back while a static challenge is guessed, so that guessing takes longer.

    A bounded number at once, for one event loop.
    """

    def __init__(self) -> None:
        self._count = 0

    async def wait(self) -> None:
        """Wait, unless too many do already."""
        if self._count >= _MOST_DELAYED:
            return
        self._count += 1
        try:
            await asyncio.sleep(DELAY_SECONDS)
        finally:
            self._count -= 1


def name_by_path(path: str, at_certsrv: Callable[[], str]) -> str | None:
    """Return the name of the endpoint in a path, or None where it leaves that open.

    Args:
        path: percent-decoded, from its first slash on.
        at_certsrv: returns the name of the endpoint below /certsrv; "" where there is none.

    Raises:
        HTTPRefused: it is no path of ours.
    """
    if path in _FRONTS:
        return None
    kept = _without_appended(path)
    if not kept and path != "/":
        return None
    lowered = kept.lower()
    if lowered == _CERTSRV:
        return at_certsrv()
    if not kept.startswith(("/scep", "/cgi-bin")):
        raise _unknown_path()
    if lowered in _FRONTS:
        return None
    front, _, name = lowered.rpartition("/")
    if front not in _FRONTS or not _NAME.fullmatch(name):
        raise _unknown_path()
    return name


def name_by_identifier(identifier: str, authorities: Mapping[str, str]) -> str | None:
    """Return the name of the endpoint that a CA identifier selects, or None if it means nothing.

    Args:
        identifier: the `message` of a GetCACaps, GetCACert or GetNextCACert.
        authorities: the names of the CAs, by endpoint; a CA stands for its first endpoint.
    """
    wanted = identifier.strip().lower()
    if wanted in authorities:
        return wanted
    return next((name for name, ca in authorities.items() if ca == wanted), None)


def name_by_recipient(message: bytes, recipients: Mapping[str, Collection[bytes]]) -> str:
    """Return the name of the endpoint whose certificate a message is encrypted to.

    Nothing is parsed: an IssuerAndSerialNumber stands in a message as it stands in the certificate.
    Whoever puts a wrong one there is answered by another endpoint, which asks the same of all.

    Args:
        message: a pkiMessage, DER or BER.
        recipients: by endpoint, `recipient_id` of each certificate of its own.

    Returns:
        The default endpoint if it is one of them, or if none is.
    """
    found = [name for name, ids in recipients.items() if _is_encrypted_to(message, ids)]
    return DEFAULT if DEFAULT in found or not found else found[0]


def _is_encrypted_to(message: bytes, recipients: Collection[bytes]) -> bool:
    """Say whether a message is encrypted to one of these; without parsing, see `name_by_recipient`.

    A message that names its recipient by a key identifier, or has none, is for nobody.
    """
    for one in recipients:  # noqa: SIM110 - without a generator for each request
        if one in message:
            return True
    return False


def _without_appended(path: str) -> str:
    # Piece by piece: this runs on the event loop, where a pattern that tries every slash as the
    # start of the end would hold everybody up for one long path.
    first, *pieces = path.split("/")
    while pieces and pieces[-1] in _APPENDED:
        pieces.pop()
    return "/".join([first, *pieces])


def _unknown_path() -> HTTPRefused:
    """Return the refusal of a path that leads nowhere (P-71)."""
    return HTTPRefused(404, "no such SCEP endpoint")
