"""The front that all doors have in common: privacy, credentials, rates, and one line of the log.

A door is open by TLS or on this machine only, so that nobody on the way reads what it gives out.
"""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from scepkit.enrolment.rate_limit import Limiters, WrongGuesses
from scepkit.errors import BoundReached, HTTPRefused
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server.directory.data_directory import utc_now
from scepkit.server.doors.wrong_passwords import PER_MINUTE, too_many_wrong
from scepkit.server.endpoints.served import Endpoints, ServedEndpoint
from scepkit.server.http.bounds import BoundAlarms
from scepkit.server.http.exchange import Exchange, Head, not_found
from scepkit.server.web import metrics
from scepkit.server.web.executors import Executor
from scepkit.server.web.front import Front
from scepkit.server.web.scep import RefusalDelay
from scepkit.store import Store

OF_ALL = "wrong passwords of all addresses"
"""The name of the bound that only slows and alarms."""

_GUESSED = "passwords are being guessed from many addresses: let fewer of them reach the server"
_NOT_PRIVATE = (
    "challenges are given out by TLS only: ask by https; a proxy in front of this server has to be "
    "listed in proxies, and to send X-Forwarded-For and X-Forwarded-Proto: https"
)
_RETRY_SECONDS = 60

_Door = TypeVar("_Door")


class Unauthorized(HTTPRefused):
    """A request without the right credential.

    Args:
        message: what to do, one line.
        scheme: the value of WWW-Authenticate.
    """

    def __init__(self, message: str, scheme: str) -> None:
        super().__init__(401, message)
        self.scheme = scheme


class Credential(NamedTuple):
    """The credential of a request.

    Attributes:
        scheme: in lower case.
        octets: of Basic `user:password`, else what follows the scheme.
    """

    scheme: str
    octets: bytes


class DoorFront(Front, Generic[_Door]):
    """Answers at one kind of door of all endpoints; for one event loop.

    Args:
        endpoints: those in service.
        executor: threads for what waits for the database.
        store: where challenges are kept.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        executor: Executor,
        store: Store,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(endpoints, executor, store)
        self._store = store
        self._now = now
        self._wrong = WrongGuesses(PER_MINUTE, now, too_many_wrong)
        self._rates = Limiters(now)
        self._alarms = BoundAlarms()
        self._delay = RefusalDelay()

    async def _answer(self, exchange: Exchange) -> HTTPResponse:
        name = self._name(exchange.head.path)
        served = self._endpoints.served.get(name)
        door = None if served is None else self._door(served)
        if door is None:
            if served is None:
                self._check_awaited(exchange, name)
            raise not_found()
        exchange.facts["endpoint"] = name
        self._check_method(exchange.head.method)
        if not exchange.is_private:
            raise HTTPRefused(403, _NOT_PRIVATE)
        return await self._open(exchange, name, door)

    @abstractmethod
    def _name(self, path: str) -> str:
        """Return the name of the endpoint in a path; "" where there is none."""

    @abstractmethod
    def _door(self, served: ServedEndpoint) -> _Door | None:
        """Return the door of an endpoint; None where it has none."""

    @abstractmethod
    def _check_method(self, method: str) -> None:
        """Refuse a method that is not for this door.

        Raises:
            HTTPRefused: so it is; HTTP 405.
        """

    @abstractmethod
    async def _open(self, exchange: Exchange, name: str, door: _Door) -> HTTPResponse:
        """Answer a request that came to a door by a private way; raises as `_answer` does."""

    async def _refuse_credential(
        self, network: str, name: str, error: Unauthorized
    ) -> Unauthorized:
        """Count a wrong credential, and return its refusal; later, where many guess."""
        self._wrong.count(network)
        if self._wrong.is_flood:
            self._alarms.ring(OF_ALL, endpoint=name, hint=_GUESSED)
            await self._delay.wait()
        return error

    def _check_rate(self, name: str, who: str, per_minute: int) -> None:
        """Count one more challenge of a credential.

        Raises:
            BoundReached: it had too many in this minute; HTTP 429.
        """
        if not self._rates.allows((name, who), per_minute):
            raise BoundReached(
                429,
                f"more than {per_minute} challenges in a minute, try again later",
                bound=f"challenges by way of {self.protocol}",
                retry_after=_RETRY_SECONDS,
                hint="raise per_minute of this door, if that is no mistake",
            )

    def _refuse(self, exchange: Exchange, error: HTTPRefused, reason: str) -> HTTPResponse:
        if isinstance(error, BoundReached):
            name = exchange.facts.get("endpoint", "")
            self._alarms.ring(error.bound, peer=exchange.network, endpoint=name, hint=error.hint)
        response = super()._refuse(exchange, error, reason)
        if isinstance(error, Unauthorized):
            asked = {"WWW-Authenticate": error.scheme}
            response = replace(response, headers={**response.headers, **asked})
        return response if exchange.facts.get("endpoint") else self._unseen(exchange, response)

    @staticmethod
    def _unseen(exchange: Exchange, response: HTTPResponse) -> HTTPResponse:
        """Leave what leads nowhere out of the log, as everywhere else."""
        exchange.facts.clear()
        return response

    def _count(self, facts: Mapping[str, Any]) -> None:
        outcome = facts.get("outcome", "")
        metrics.labelled(metrics.DOORS, facts["endpoint"], self.protocol.lower(), outcome).inc()


def credential_of(head: Head) -> Credential | None:
    """Return the credential of a request; None where there is none that can be read."""
    scheme, _, value = head.header(b"authorization").partition(b" ")
    kind = scheme.decode("latin-1").lower()
    value = value.strip()
    if not value:
        return None
    if kind != "basic":
        return Credential(kind, value)
    try:
        return Credential(kind, _in_utf8(base64.b64decode(value, validate=True)))
    except (binascii.Error, ValueError):
        return None


def _in_utf8(octets: bytes) -> bytes:
    """Return text in UTF-8; some clients send Latin-1 (RFC 7617 section 2.1)."""
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1").encode("utf-8")
    return octets
