"""`[intune.NAME]` of scep.toml: an app registration of Entra, by which the server asks Intune."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from scepkit.server.settings.service_urls import ProxyURL, base_url

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable by which systemd says where credentials are."""

_URL = Annotated[str, AfterValidator(base_url)]


class IntuneSettings(BaseModel):
    """`[intune.NAME]`.

    Attributes:
        tenant: the tenant, by its domain or its id.
        client_id: the application (client) id of the app registration.
        secret_file: the file with the client secret, mode 0600; relative to the directory. None
            for the credential `scep-intune-NAME` of systemd.
        secret_expires: the day on which the secret expires.
        authority_url: the base URL of Entra.
        graph_url: the base URL of Microsoft Graph.
        resource_url: the name of Intune as a resource of Entra, with the slash at its end.
        ca_file: the certificates to trust, PEM; None for the system's.
        proxy: the URL of an HTTP proxy; "" for none.
        seconds: for one exchange.
        failures: after so many in a row Intune is left alone.
        pause_seconds: for so long.
        revocation_minutes: the time between two looks into the revocation queue; 0 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,254}$")]
    client_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z-]{0,63}$")]
    secret_file: Path | None = None
    secret_expires: date | None = None
    authority_url: _URL = "https://login.microsoftonline.com"
    graph_url: _URL = "https://graph.microsoft.com"
    resource_url: _URL = "https://api.manage.microsoft.com/"
    ca_file: Path | None = None
    proxy: ProxyURL = ""
    seconds: Annotated[float, Field(gt=0, le=60)] = 10
    failures: Annotated[int, Field(ge=1, le=1000)] = 5
    pause_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    revocation_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 15


def credential(name: str) -> Path | None:
    """Return the file of systemd's with the secret of a registration; None where there is none.

    Args:
        name: the registration's.
    """
    directory = os.environ.get(CREDENTIALS)
    return Path(directory) / f"scep-intune-{name}" if directory else None
