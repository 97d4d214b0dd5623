"""An app registration of Entra, as the server uses it to speak with Intune."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import date

INTUNE_APP = "0000000a-0000-0000-c000-000000000000"
"""The application id of Intune itself, the same in every tenant."""

GRAPH_VERSION = "v1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An app registration. Threads may share it.

    Attributes:
        name: what settings, log and metrics call it.
        tenant: the tenant, by its domain or its id.
        client_id: the application (client) id.
        secret: the client secret. Secret.
        authority_url: the base URL of Entra, without a slash at its end.
        graph_url: the base URL of Microsoft Graph, likewise.
        resource_url: the name of Intune as a resource, for tokens, with the slash at its end.
        seconds: for one exchange.
        proxy: the URL of an HTTP proxy; "" for none.
        context: the TLS settings; None for the system's.
        secret_expires: the day on which the secret expires; None where nobody said.
    """

    name: str
    tenant: str
    client_id: str
    secret: str = field(repr=False)
    authority_url: str = "https://login.microsoftonline.com"
    graph_url: str = "https://graph.microsoft.com"
    resource_url: str = "https://api.manage.microsoft.com/"
    seconds: float = 10
    proxy: str = ""
    context: ssl.SSLContext | None = None
    secret_expires: date | None = None

    @property
    def token_url(self) -> str:
        """Return the URL at which Entra gives tokens."""
        return f"{self.authority_url}/{self.tenant}/oauth2/v2.0/token"

    @property
    def endpoints_url(self) -> str:
        """Return the URL at which Graph says where Intune's services are."""
        path = f"servicePrincipals/appId={INTUNE_APP}/endpoints"
        return f"{self.graph_url}/{GRAPH_VERSION}/{path}"

    @property
    def graph_scope(self) -> str:
        """Return the scope of tokens for Graph."""
        return f"{self.graph_url}/.default"

    @property
    def intune_scope(self) -> str:
        """Return the scope of tokens for Intune: two slashes, as Microsoft's own clients send."""
        return f"{self.resource_url}/.default"
