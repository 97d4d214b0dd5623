"""The public answers of an endpoint: GetCACaps, GetCACert and GetNextCACert.

Rendered when the server starts and when its CAs change, not for each that asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import HTTPRefused, SettingsError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import capabilities, http, next_ca
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.settings.endpoint import EndpointSettings

NEXT_CA_CERT = "application/x-x509-next-ca-cert"


@dataclass(frozen=True, slots=True)
class Publication:
    """The answers that are the same for everybody.

    Attributes:
        capabilities: to GetCACaps (RFC 8894 section 3.5.2).
        ca_certificates: to GetCACert (section 4.2.1).
        next_ca_certificates: to GetNextCACert (section 4.7.1); None without a next CA.
    """

    capabilities: HTTPResponse
    ca_certificates: HTTPResponse
    next_ca_certificates: HTTPResponse | None = None

    def answer(self, operation: Operation) -> HTTPResponse:
        """Return the answer to an operation other than PKIOperation.

        Raises:
            HTTPRefused: there is none.
        """
        match operation:
            case Operation.GET_CA_CAPS:
                return self.capabilities
            case Operation.GET_CA_CERT:
                return self.ca_certificates
        if self.next_ca_certificates is None:
            # There is nothing to say, and no transaction to say it in (P-42).
            raise HTTPRefused(404, "this CA has no next certificate")
        return self.next_ca_certificates


def publish(ca: LoadedCA, settings: EndpointSettings, now: datetime) -> Publication:
    """Render the public answers of an endpoint with this CA and these settings.

    Args:
        ca: the CA.
        settings: the endpoint's.
        now: an aware datetime: when what is signed here is signed. It is signed once, as what
            anybody may ask for must not cost the CA's key anything.

    Raises:
        SettingsError: the CA cannot be shown as ca_certificates says.
    """
    return Publication(
        capabilities=HTTPResponse(
            200, capabilities.render(keywords(settings, has_next=ca.material.next is not None))
        ),
        ca_certificates=_ca_certificates(ca, settings),
        next_ca_certificates=_next_ca_certificates(ca, settings, now),
    )


def keywords(settings: EndpointSettings, *, has_next: bool) -> tuple[str, ...]:
    """Return the keywords of GetCACaps, each of them true (RFC 8894 section 3.5.2).

    Args:
        settings: the endpoint's.
        has_next: whether its CA has a next one.
    """
    enabled = [
        (capabilities.GET_NEXT_CA_CERT, has_next),
        (capabilities.RENEWAL, settings.renews),
        (capabilities.WHEN_TO_RENEW, settings.renews),
    ]
    return (
        *capabilities.offered(settings.legacy),
        *(keyword for keyword, is_enabled in enabled if is_enabled),
    )


def _ca_certificates(ca: LoadedCA, settings: EndpointSettings) -> HTTPResponse:
    """Write GetCACert's answer: one certificate bare, several as certs-only, the RA's first."""
    chain = [one.public_bytes(Encoding.DER) for one in _shown(ca, settings)]
    if len(chain) == 1:
        return HTTPResponse(200, chain[0], http.CA_CERT)
    return HTTPResponse(200, signed.certs_only(chain), http.CA_RA_CERT)


def _shown(ca: LoadedCA, settings: EndpointSettings) -> Sequence[x509.Certificate]:
    """Return the certificates that GetCACert shows.

    `auto` and `ra+chain` are the RA, the CA and what is above it; `ra+ca` leaves the last out;
    `ca` and `chain` leave the RA out, which only a CA without one can afford: devices encrypt to
    what they are shown.
    """
    shape, material = settings.ca_certificates, ca.material
    own = material.ca.certificate
    ra = [one for one in material.chain if one != own]
    if ra and shape in ("ca", "chain"):
        raise SettingsError(
            f'ca_certificates = "{shape}" hides the RA of the CA {ca.name!r}, '
            "which devices have to encrypt to",
            hint='use "ra+ca" or "ra+chain", or a CA with the layout "single"',
        )
    return [*ra, own, *shown_above(ca.above, settings)]


def shown_above(
    above: Sequence[x509.Certificate], settings: EndpointSettings
) -> Sequence[x509.Certificate]:
    """Return those of the certificates above a CA's own that an endpoint shows with it."""
    if settings.ca_certificates in ("ca", "ra+ca"):
        return ()
    return [one for one in above if settings.include_root or one.subject != one.issuer]


def _next_ca_certificates(
    ca: LoadedCA, settings: EndpointSettings, now: datetime
) -> HTTPResponse | None:
    """Say which CA comes next, signed by the current one (RFC 8894 section 4.7.1, A-08)."""
    material = ca.material
    if material.next is None:
        return None
    shown = [*material.next.chain, *shown_above(ca.above_next, settings)]
    body = next_ca.make(
        [one.public_bytes(Encoding.DER) for one in shown],
        key=material.ca.private_key,
        certificate=Certificate.of(material.ca.certificate),
        signing_time=now,
    )
    return HTTPResponse(200, body, NEXT_CA_CERT)
