"""The places of Intune's services, as Microsoft Graph says them for a tenant."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune.exchange import Rejected, Reply, exchange, line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepkit.server.intune.registration import Registration
    from scepkit.server.intune.tokens import Tokens

VALIDATION = "ScepRequestValidationFEService"
CONNECTOR = "PkiConnectorFEService"

_UNAUTHORIZED, _FORBIDDEN = 401, 403
PERMISSION = (
    "Entra admin centre > App registrations > the application > API permissions > Add a permission "
    "> Microsoft Graph > Application permissions > Application.Read.All, and Grant admin consent"
)
"""The advice where Graph does not answer for want of a permission."""


class NoService(ThirdPartyFailed):
    """Graph does not say where a service is."""


class Services:
    """The URLs of Intune's services for one app registration; for one event loop.

    They differ from tenant to tenant and may change: they are kept until a call to one fails.

    Args:
        registration: the app registration.
        tokens: its tokens.
    """

    def __init__(self, registration: Registration, tokens: Tokens) -> None:
        self._registration = registration
        self._tokens = tokens
        self._found: Mapping[str, str] = {}
        self._asking = asyncio.Lock()

    def held(self, name: str) -> str | None:
        """Return the URL of a service that is known already."""
        return self._found.get(name.lower())

    def drop(self, name: str, url: str) -> None:
        """Believe a URL no more; if there is another one by now, that stays."""
        if self.held(name) == url:
            self._found = {}

    async def url(self, name: str) -> str:
        """Return the URL of a service; many ask once.

        Raises:
            NoService: Graph does not name it.
            ThirdPartyFailed: Entra or Graph gives no answer that can be used.
        """
        async with self._asking:
            if self.held(name) is None:
                self._found = await self._ask()
            found = self.held(name)
            if found is None:
                raise NoService(
                    f"Graph names no {name} for the tenant",
                    hint="has the tenant a licence for Intune?",
                )
            return found

    async def _ask(self) -> Mapping[str, str]:
        reply = await self._reply()
        if reply.status == _UNAUTHORIZED:
            # The token may have been taken back; a new one says what is so.
            reply = await self._reply()
        try:
            rows = reply.members().get("value")
        except Rejected as error:
            raise _refused(reply) from error
        found: dict[str, str] = {}
        for row in rows if isinstance(rows, list) else ():
            name, uri = (row.get("providerName"), row.get("uri")) if isinstance(row, dict) else "  "
            if isinstance(name, str) and isinstance(uri, str) and self._is_usable(uri):
                found.setdefault(name.lower(), uri.rstrip("/"))
        return found

    async def _reply(self) -> Reply:
        scope = self._registration.graph_scope
        token = await self._tokens.of(scope)
        headers = {"Authorization": f"Bearer {token}", "client-request-id": str(uuid.uuid4())}
        reply = await exchange(self._registration, "GET", self._registration.endpoints_url, headers)
        if reply.status == _UNAUTHORIZED:
            self._tokens.drop(scope, token)
        return reply

    def _is_usable(self, uri: str) -> bool:
        """Take no URL without TLS but where Graph itself is spoken to without."""
        try:
            scheme = urlsplit(uri).scheme
        except ValueError:
            return False
        return scheme == "https" or (
            scheme == "http" and self._registration.graph_url.startswith("http://")
        )


def _refused(reply: Reply) -> ThirdPartyFailed:
    error = (reply.json() or {}).get("error")
    members = error if isinstance(error, dict) else {}
    said = ": ".join(filter(None, (line(members.get("code")), line(members.get("message")))))
    what = f"Graph does not say where Intune's services are: HTTP {reply.status}"
    lacks = reply.status in (_UNAUTHORIZED, _FORBIDDEN)
    return NoService(f"{what}, {said}" if said else what, hint=PERMISSION if lacks else "")
