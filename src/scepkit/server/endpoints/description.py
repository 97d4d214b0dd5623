"""The description of an endpoint for people: its URL, its CA, what it asks of a device.

It is made of the settings and of certificates; no private key is read for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from scepkit.ca.directory import layouts, paths
from scepkit.errors import UsageError
from scepkit.keys.pem import kind, read_certificate
from scepkit.operations import ca_listing
from scepkit.operations.configuration.enrolment import DeviceEnrolment, check_text, key_size
from scepkit.server.directory.data_directory import endpoint_settings
from scepkit.server.settings import public_urls
from scepkit.server.web import ca_publication

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from scepkit.operations.ca_listing import CAGeneration
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.general_name import GeneralName
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
    def doors(self) -> dict[str, tuple[str, ...]]:
        """Return the paths at which MDMs ask for challenges, by door; of open ones alone."""
        own, found = self.settings, {}
        if own.has_ndes_page:
            below = ("/certsrv/mscep_admin/",) if own.ndes else ()
            found["ndes"] = (f"/scep/{self.name}/mscep_admin/", *below)
        if own.jamf is not None:
            found["jamf"] = (f"/scep/{self.name}/challenge/jamf",)
        return found

    @property
    def is_local(self) -> bool:
        """Say whether no other machine can use its URL, by all that is known."""
        return public_urls.is_local(self.server)

    @property
    def ca(self) -> CAGeneration | None:
        """Return its CA; None while that waits for its certificate.

        Raises:
            SettingsError: a certificate cannot be read.
        """
        return None if paths.is_awaited(self._directory) else self.present_ca

    @cached_property
    def present_ca(self) -> CAGeneration:
        """Return its CA.

        Raises:
            SettingsError: it waits for its certificate, or a certificate cannot be read.
        """
        name = self.settings.ca
        return ca_listing.generation({name: self._directory}, name, "current")

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
    def shown_top(self) -> x509.Certificate:
        """Return the uppermost certificate that its GetCACert shows.

        Raises:
            SettingsError: as for `present_ca`.
        """
        above = ca_publication.shown_above(self.present_ca.above, self.settings)
        return above[-1] if above else self.present_ca.certificate

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


def device_enrolment(
    endpoint: EndpointDescription,
    subject: Name,
    names: tuple[GeneralName, ...],
    *,
    url: str = "",
    bits: int | None = None,
) -> DeviceEnrolment:
    """Return the enrolment that a phone or a laptop is to be configured for, without a challenge.

    Args:
        endpoint: where it enrols.
        subject: the subject to ask for.
        names: the subject alternative names to ask for.
        url: the URL at which the device reaches the endpoint; "" for the one in the settings.
        bits: the size of the RSA key; None for the smallest that the profile takes.

    Raises:
        UsageError: the URL is not known or of no use to a device, or the profile takes no RSA keys.
        SettingsError: the CA is yet to come, or cannot be read.
    """
    if not url and (endpoint.is_local or not endpoint.url):
        raise UsageError(
            "the URL at which devices reach the server is not known",
            hint="set public_url in scep.toml, or give the URL of the endpoint with --url",
        )
    found = url or endpoint.url
    check_text("the URL", found)
    smallest, largest = endpoint.profile.key.rsa_bits
    if "rsa" not in endpoint.profile.key.kinds:
        largest = 0
    return DeviceEnrolment(
        endpoint=endpoint.name,
        url=found,
        subject=subject,
        names=names,
        chain=endpoint.present_ca.chain,
        shown_top=endpoint.shown_top,
        key_size=key_size(bits, smallest, largest),
        polls=endpoint.settings.approval == "manual",
    )
