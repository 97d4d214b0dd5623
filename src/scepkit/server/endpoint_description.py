"""The description of an endpoint for people: its URL, its CA, what it asks of a device.

It is made of the settings and of certificates; no private key is read for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from scepkit.ca.directory import layouts, paths
from scepkit.keys.pem import kind, read_certificate
from scepkit.operations import ca_listing
from scepkit.server.data_directory import endpoint_settings
from scepkit.server.settings import public_urls
from scepkit.server.web import ca_publication

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from scepkit.operations.ca_listing import CAGeneration
    from scepkit.server.settings import EndpointSettings, Settings
    from scepkit.server.settings.profiles.format import ProfileSettings


@dataclass(frozen=True)
class EndpointDescription:
    """An endpoint as its settings and the files of its CA have it.

    Attributes:
        name: its name.
        server: the settings of the server.
    """

    name: str
    server: Settings

    @property
    def settings(self) -> EndpointSettings:
        """Return its own settings."""
        return self.server.endpoint[self.name]

    @property
    def profile(self) -> ProfileSettings:
        """Return the profile by which it issues, with what the endpoint says otherwise."""
        return self.server.profile_of(self.name)

    @property
    def url(self) -> str:
        """Return its URL; "" where the server takes any free port."""
        base = public_urls.base(self.server)
        return public_urls.of_endpoint(base, self.name) if base else ""

    @property
    def is_local(self) -> bool:
        """Say whether no other machine can use its URL, by all that is known."""
        return public_urls.is_local(self.server)

    @cached_property
    def ca(self) -> CAGeneration | None:
        """Return its CA; None while that waits for its certificate.

        Raises:
            SettingsError: a certificate cannot be read.
        """
        if paths.is_awaited(self._directory):
            return None
        return ca_listing.generation(
            {self.settings.ca: self._directory}, self.settings.ca, "current"
        )

    @cached_property
    def ra(self) -> x509.Certificate | None:
        """Return the RA's certificate; None where the CA opens requests itself.

        Raises:
            SettingsError: it cannot be read.
        """
        place = paths.in_force(self._directory)
        return read_certificate(place / paths.RA_CERTIFICATE) if paths.has_ra(place) else None

    @property
    def layout(self) -> str:
        """Return the name of the layout that the keys of its CA have; "" where it is none."""
        if self.ca is None:
            return self.server.authority_layout(self.settings.ca) or ""
        own = kind(self.ca.certificate.public_key())
        ra = None if self.ra is None else kind(self.ra.public_key())
        there = layouts.Keys(own, ra)
        return next((name for name, keys in layouts.LAYOUTS.items() if keys == there), "")

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Return the keywords of its GetCACaps."""
        return ca_publication.keywords(self.settings, has_next=paths.has_next(self._directory))

    @property
    def top(self) -> x509.Certificate | None:
        """Return the uppermost certificate that its GetCACert shows; None without a CA."""
        if self.ca is None:
            return None
        above = ca_publication.shown_above(self.ca.above, self.settings)
        return above[-1] if above else self.ca.certificate

    @property
    def _directory(self) -> Path:
        return self.server.authority_directory(self.settings.ca)


def description(settings: Settings, name: str) -> EndpointDescription:
    """Return the description of an endpoint.

    Raises:
        UsageError: there is no such endpoint.
    """
    endpoint_settings(settings, name)
    return EndpointDescription(name, settings)
