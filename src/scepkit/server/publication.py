"""What an endpoint tells everybody: GetCACaps and GetCACert, rendered once at start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.layout import Material
from scepkit.errors import HTTPRefused
from scepkit.protocol import capabilities, cms, http
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.http import HTTPResponse, Operation


@dataclass(frozen=True, slots=True)
class Publication:
    """The answers that do not depend on who asks.

    Attributes:
        capabilities: to GetCACaps (RFC 8894 section 3.5.2).
        ca_certificates: to GetCACert (section 4.2.1).
    """

    capabilities: HTTPResponse
    ca_certificates: HTTPResponse

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
        # Without a next CA there is nothing to say, and no transaction to say it in (P-42).
        raise HTTPRefused(404, "this CA has no next certificate")


def publish(material: Material, legacy: Collection[Legacy]) -> Publication:
    """Render what an endpoint with this CA and these legacy algorithms tells everybody.

    One certificate goes out bare; an RA's goes out in front of its CA's in a certs-only message.
    """
    chain = [certificate.public_bytes(Encoding.DER) for certificate in material.chain]
    return Publication(
        capabilities=HTTPResponse(200, capabilities.render(capabilities.offered(legacy))),
        ca_certificates=(
            HTTPResponse(200, chain[0], http.CA_CERT)
            if len(chain) == 1
            else HTTPResponse(200, cms.certs_only(chain), http.CA_RA_CERT)
        ),
    )
