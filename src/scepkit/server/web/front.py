"""The front that SCEP, CMP and OCSP over HTTP have in common.

A request's body is read first, and no more of it than a message may have: who sends it slowly, or
never to its end, keeps nobody else out. Then the request counts among a bounded number, and is
answered in a thread. Whatever comes of it is one response and one line of the log.

A message's meaning, the caching of its answer and the words of a refusal are each service's own.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import structlog

from scepkit.errors import HTTPRefused, Local, Malformed
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.endpoints.served import Endpoints
from scepkit.server.http.exchange import ClientGone, Exchange, refusal
from scepkit.server.web import metrics
from scepkit.server.web.executors import Executor
from scepkit.server.web.worker_pool import ConcurrencyLimit, WorkerPool
from scepkit.store import Store

log = structlog.get_logger()


class Front(ABC):
    """Answers the requests of one protocol over HTTP; for one event loop.

    Args:
        endpoints: those in service.
        executor: where requests are worked on.
        store: where the endpoints store what they decide.
    """

    protocol: ClassVar[str]
    """Its name, as it is written."""

    def __init__(self, endpoints: Endpoints, executor: Executor, store: Store) -> None:
        self._endpoints = endpoints
        self._workers = WorkerPool(executor, store)
        self._limit = ConcurrencyLimit()
        self._event = self.protocol.lower()
        # Bound once: a logger that is not makes another one for each line.
        self._log = log.bind()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one HTTP request, and write its line into the log."""
        started = time.perf_counter()
        try:
            response = await self._answer(exchange)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, there is an answer and a line
            response = self._failed(exchange, error)
        await exchange.send(response)
        facts = exchange.facts
        if not facts:
            return
        if exchange.more_facts is not None:
            facts |= exchange.more_facts()
        self._count(facts)
        seconds = time.perf_counter() - started
        metrics.labelled(metrics.SECONDS, facts.get("operation", self.protocol)).observe(seconds)
        self._log.info(
            self._event,
            peer=exchange.peer,
            **facts,
            status=response.status,
            ms=round(seconds * 1000, 1),
        )

    def _failed(self, exchange: Exchange, error: Exception) -> HTTPResponse:
        """Return the response to a request that could not be answered."""
        match error:
            case HTTPRefused():
                return self._refuse(exchange, error, error.message)
            case Malformed():
                refused = HTTPRefused(400, f"not a {self.protocol} message")
                return self._refuse(exchange, refused, error.message)
            case Local():
                # The operator's fault or the disk's: the client shall come back (P-78).
                log.error("server fault", error=error.message, hint=error.hint)
                return self._refuse(exchange, HTTPRefused(503, "try again later"), error.message)
        log.error("bug in scepkit; please report it", exc_info=error)
        refused = HTTPRefused(500, "internal error")
        return self._refuse(exchange, refused, type(error).__name__)

    @abstractmethod
    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        """Answer a request, and note the facts; without any it has no line in the log.

        Raises:
            HTTPRefused: there is nothing to answer to.
            Malformed: it is no message.
            Local: the server is at fault.
            ClientGone: it never became whole.
        """

    def _check_awaited(self, exchange: Exchange, name: str) -> None:
        """Refuse a request to an endpoint that is not served, if its CA is yet to come.

        Raises:
            HTTPRefused: so it is; whoever asks shall come back.
        """
        if name in self._endpoints.authorities():
            exchange.facts["endpoint"] = name
            raise HTTPRefused(503, "the CA of this endpoint waits for its own certificate")

    def _count(self, facts: Mapping[str, Any]) -> None:  # noqa: B027 - not all do it here
        """Count a request whose response is out, by its facts."""

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        """Refuse a request in HTTP's words, and say that among the facts.

        Args:
            exchange: the request.
            error: the status, and the text for the peer.
            reason: for the log.
        """
        exchange.facts |= {"outcome": f"HTTP {error.status}", "reason": reason}
        return refusal(error)
