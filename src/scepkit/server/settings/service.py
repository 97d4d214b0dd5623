"""A service outside that this server calls by HTTP: its place, and how each knows the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from scepkit.server.settings.service_urls import ProxyURL, service_url


class ServiceSettings(BaseModel):
    """The settings of a service that is called by a webhook, whatever it is asked.

    Attributes:
        url: where it is.
        secret_file: the file with the key of the signatures.
        bearer_file: the file with a token that is sent along.
        ca_file: the file with the certificates to trust; None for the system's.
        tls_certificate: the file with the certificate to show; None for none.
        tls_key: the file with its key.
        proxy: the URL of an HTTP proxy; "" for none.
        seconds: the time for a whole exchange.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(service_url)]
    secret_file: Path
    bearer_file: Path | None = None
    ca_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    proxy: ProxyURL = ""
    seconds: Annotated[float, Field(gt=0, le=60)] = 10

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """Return the files with what only this server and the service know."""
        return tuple(one for one in (self.secret_file, self.bearer_file) if one is not None)
