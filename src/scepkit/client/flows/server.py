"""Questions to a SCEP server that take no key, as flows: its capabilities, its CA and the next one.

And, beside SCEP, when a certificate is to be renewed.
"""

from __future__ import annotations

from scepkit.client import clock
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.client.trust import CA, SCEPServer, by_fingerprint
from scepkit.errors import Malformed, TransportError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import flow, renewal_info, transaction
from scepkit.protocol.scep.capabilities import Capabilities
from scepkit.protocol.scep.flow import Flow, Limits
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.renewal_info import CertID, RenewalInfo
from scepkit.protocol.scep.transaction import CAInformation

_CHECK_URL = "check the URL; a browser shows what is there"
_CHECK_PATH = "check the path of the URL: the part after /scep/ is the name of an endpoint"
_NOT_FOUND = 404
# What a web server says to what it does not know, or does not take; and an empty answer.
_WRONG_PLACE = frozenset({204, 400, _NOT_FOUND, 405, 410, 500, 501})

# A renewal does not need the answer: whoever wants it asks again another time.
_ONCE = Limits(retries=0)


def get_capabilities(server: SCEPServer) -> Flow[Capabilities]:
    """Ask for the server's capabilities (RFC 8894 section 3.5.1).

    Returns:
        Keywords in lower case; none when the server has no usable answer.

    Raises:
        TransportError: the server cannot be reached, or is too busy to say.
    """
    return (yield from transaction.ca_capabilities(server.identifier, server.limits))


def ask(server: SCEPServer) -> Flow[CAInformation]:
    """Ask for capabilities and certificates; nothing of the answer is authenticated.

    Raises:
        TransportError: no answer.
        Malformed: the answer holds no certificates.
    """
    try:
        return (yield from transaction.ca_information(server.identifier, server.limits))
    except Malformed as error:
        raise Malformed(
            f"{server.url} does not answer like a SCEP server: {error.message}",
            hint=_CHECK_URL,
        ) from error
    except TransportError as error:
        if error.status in _WRONG_PLACE:
            error.hint = _CHECK_PATH if error.status == _NOT_FOUND else _CHECK_URL
        raise


def get_ca(server: SCEPServer, fingerprint: str) -> Flow[CA]:
    """Ask for the CA's certificates and trust the one with a fingerprint.

    Args:
        server: whom to ask; a client's method has it already.
        fingerprint: as for `by_fingerprint`.

    Raises:
        UntrustedCA: the server has no such CA certificate.
        LegacyRefused: the CA can only do algorithms that are not allowed.
        TransportError: no answer.
        Malformed: the answer holds no certificates.
    """
    choose = by_fingerprint(fingerprint)
    information = yield from ask(server)
    return server.trust(information, choose(information))


def get_next_certificates(server: SCEPServer, ca: CA) -> Flow[tuple[Certificate, ...]]:
    """Ask for the next CA's certificates, as the current CA vouches for them.

    Raises:
        NoSuccessor: there is none, which is the usual state of a CA.
        TransportError: no answer.
        BadReply: the answer must not be believed.
        LegacyRefused: the CA signed it with algorithms that are not allowed.
    """
    return (
        yield from transaction.next_ca_certificates(
            ca.certificates,
            clock.now,
            identifier=server.identifier,
            allowed=server.allowed,
            limits=server.limits,
        )
    )


def get_next_ca(server: SCEPServer, ca: CA) -> Flow[CA]:
    """Ask for the CA that will follow a trusted one (RFC 8894 section 4.7).

    Raises:
        NoSuccessor, TransportError, LegacyRefused: see `get_next_certificates`.
        BadReply: the answer must not be believed, or the next CA is over already.
    """
    return server.trust_next(ca, (yield from get_next_certificates(server, ca)))


def get_renewal_info(server: SCEPServer, certificate: Certificate) -> Flow[RenewalAdvice]:
    """Ask when the server wants a certificate to be renewed (RFC 9773), once.

    The answer is not authenticated: let it bring a renewal forward, and never put one off, as
    `RenewalAdvice.between` does. Without one go by a schedule of your own, and ask again after six
    hours.

    Args:
        server: whom to ask; a client's method has it already. `CA.offers_renewal_info` says whether
            it has an answer.
        certificate: the certificate.

    Raises:
        TransportError: no answer, or the server knows nothing of the certificate.
        Malformed: the answer is none, or the certificate does not identify its issuer's key.
    """
    place = renewal_info.place(server.url, CertID.of(certificate))

    def read(response: HTTPResponse) -> RenewalAdvice:
        found = RenewalInfo.read(response.body)
        return RenewalAdvice.of(found, certificate, flow.retry_after(response), clock.now())

    return (yield from flow.ask(HTTPRequest("GET", b"", url=place), _ONCE, read))
