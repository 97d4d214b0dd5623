"""Access tokens of Entra for an app registration, kept until shortly before their end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune.exchange import Rejected, Reply, exchange, line

if TYPE_CHECKING:
    from scepkit.server.intune.registration import Registration

SKEW = 300.0
"""Seconds before its end from which a token is not used any more."""

_HALF = 0.5  # of the life of a token that lives shorter than twice the skew
_MOST_SECONDS = 24 * 3600.0

_OVERVIEW = "Entra admin centre > App registrations > the application > Overview"
_SECRETS = "Entra admin centre > App registrations > the application > Certificates & secrets"
_CODES: Mapping[str, str] = MappingProxyType(
    {
        "7000215": f"the client secret is wrong: {_SECRETS}; copy the Value, not the Secret ID",
        "7000222": f"the client secret has expired: {_SECRETS} > New client secret",
        "700016": f"client_id is not known in that tenant: {_OVERVIEW}, Application (client) ID",
        "90002": f"there is no such tenant: {_OVERVIEW}, Directory (tenant) ID",
        "900023": f"tenant is neither a domain nor an id: {_OVERVIEW}, Directory (tenant) ID",
        "7000112": "the application is disabled: Entra admin centre > Enterprise applications > "
        "the application > Properties > Enabled for users to sign-in",
        "500011": "the tenant does not know the resource: has it a licence for Intune, and are "
        "authority_url, graph_url and resource_url those of its cloud?",
        "53003": "a Conditional Access policy blocks the application: allow it for workload "
        "identities, or from this server's address",
    }
)
"""The advice on the errors of Entra, by the numbers behind AADSTS."""


class NoToken(ThirdPartyFailed):
    """Entra gives no token."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    good_until: float  # of the monotonic clock


class Tokens:
    """The tokens of an app registration, one for each scope; for one event loop.

    The wall clock does not count: a token lives for as long as Entra says, from when it was asked
    for.

    Args:
        registration: whose they are.
        monotonic: returns the seconds of a clock that nobody sets.
    """

    def __init__(self, registration: Registration, monotonic: Callable[[], float]) -> None:
        self._registration = registration
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, scope: str) -> str:
        """Return a token for a scope: the one that is held, or a new one; many ask once.

        Raises:
            NoToken: Entra gives none.
            ThirdPartyFailed: Entra gives no answer.
        """
        async with self._asking.setdefault(scope, asyncio.Lock()):
            held = self._held.get(scope)
            if held is None or self._monotonic() >= held.good_until:
                self._held.pop(scope, None)
                held = self._held[scope] = await self._ask(scope)
            return held.token

    def drop(self, scope: str, token: str) -> None:
        """Use a token no more; another one that is there by now stays."""
        held = self._held.get(scope)
        if held is not None and held.token == token:
            del self._held[scope]

    async def _ask(self, scope: str) -> _Held:
        asked, registration = self._monotonic(), self._registration
        form = {
            "grant_type": "client_credentials",
            "client_id": registration.client_id,
            "client_secret": registration.secret,
            "scope": scope,
        }
        reply = await exchange(registration, "POST", registration.token_url, {}, form)
        try:
            found = reply.members()
        except Rejected as error:
            raise _refused(reply) from error
        token, seconds = found.get("access_token"), found.get("expires_in")
        # It becomes a header.
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,16384}", token):
            raise NoToken(f"the answer of {reply.host} has no access_token")
        lives = _seconds(seconds)
        return _Held(token, asked + max(lives - SKEW, lives * _HALF))


def _seconds(value: object) -> float:
    """Return the life of a token, a day at most; some proxies of Entra write numbers as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0.0
    # As it is: there are whole numbers that no float can be.
    return float(min(value, _MOST_SECONDS))


def _refused(reply: Reply) -> NoToken:
    """Return why Entra gives no token, in its words, and what to do about that."""
    found = reply.json() or {}
    said = line(found.get("error_description")) or line(found.get("error"))
    codes = found.get("error_codes")
    number = str(codes[0]) if isinstance(codes, list) and codes else ""
    what = f"{reply.host} gives no token: {said or f'HTTP {reply.status}'}"
    return NoToken(what, hint=_CODES.get(number, ""))
