"""The questions of a client outside of transactions.

Unsigned: GetCACaps, GetCACert and GetNextCACert.
In one exchange: GetCert and GetCRL (RFC 8894 sections 2.6, 2.7, 4.5 and 4.6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from scepkit.errors import BadReply, Malformed, NoSuccessor, RequestRefused, TransportError
from scepkit.protocol import chain, crl
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import ca_certificates, capabilities, exchange, flow, http, next_ca
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.capabilities import Capabilities
from scepkit.protocol.scep.exchange import Exchange
from scepkit.protocol.scep.flow import Flow, Limits
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Failure, GetCert, GetCRL, Pending, Success

_ONCE = Limits(retries=0)

# How servers say that there is no next CA, unless they are only busy: jscep's says Not Implemented.
_NO_CONTENT = 204
_NONE = frozenset({_NO_CONTENT, *range(400, 500), 501})


@dataclass(frozen=True, slots=True)
class CAInformation:
    """A server's capabilities and certificates, not authenticated (RFC 8894 section 2.2).

    Attributes:
        capabilities: GetCACaps, in lower case.
        certificates: GetCACert.
        unanswered: why nothing is known of the capabilities; "" when the server was asked.
        retry_after: seconds that the server asked to wait then, if it did.
    """

    capabilities: Capabilities
    certificates: tuple[Certificate, ...]
    unanswered: str = ""
    retry_after: float | None = None


def ca_information(identifier: str = "", limits: Limits | None = None) -> Flow[CAInformation]:
    """Ask for GetCACaps and GetCACert (RFC 8894 sections 3.5 and 4.2).

    A server that does not answer GetCACaps has no capabilities (S-3.5.2-12); some close the
    connection instead (L-03), and then GetCACert tells whether anybody is there at all. If so, the
    connection may have broken off by chance: that is asked once more. One that is busy has them
    perhaps, so it is asked again.

    Args:
        identifier: selects among several CAs, for servers that need it.
        limits: for repetitions.

    Raises:
        TransportError: no answer to GetCACert.
        Malformed: the answer holds no certificates.
    """
    limits = limits or Limits()
    try:
        found = yield from ca_capabilities(identifier, limits)
    except TransportError as nobody:
        try:
            certificates = yield from _certificates(identifier, _ONCE)
        except TransportError:
            # Saying so now is clearer than a later riddle.
            raise nobody from None
        if flow.is_busy(nobody):
            return _busy(certificates, nobody)
        return (yield from _once_more(identifier, certificates))
    return CAInformation(found, (yield from _certificates(identifier, limits)))


def _once_more(identifier: str, certificates: tuple[Certificate, ...]) -> Flow[CAInformation]:
    """Ask a server that is there once more for its capabilities."""
    try:
        found = yield from ca_capabilities(identifier, _ONCE)
    except TransportError as error:
        if flow.is_busy(error):
            return _busy(certificates, error)
        found = frozenset()
    return CAInformation(found, certificates)


def _busy(certificates: tuple[Certificate, ...], error: TransportError) -> CAInformation:
    """Return what is known of a server that is too busy to name its capabilities."""
    return CAInformation(frozenset(), certificates, error.message, error.retry_after)


def ca_capabilities(
    identifier: str = "",
    limits: Limits | None = None,
    tell: Callable[[TransportError], None] | None = None,
) -> Flow[Capabilities]:
    """Ask for GetCACaps (RFC 8894 section 3.5.1); no usable answer is no capability.

    Args:
        identifier: selects among several CAs, for servers that need it.
        limits: for repetitions, which only a busy server gets.
        tell: takes the HTTP error, or the web page, that is no capability, for whoever looks at a
            server.

    Raises:
        TransportError: no HTTP answer came at all, or the server stays busy.
    """

    def read(response: HTTPResponse) -> Capabilities:
        kind = http.mistaken(response.body)
        # An empty body is how a server says that it has none (S-3.5.2-11).
        if kind and response.body and tell is not None:
            tell(TransportError(f"the server answered with {kind}", status=response.status))
        return capabilities.parse(response.body)

    request = http.get(Operation.GET_CA_CAPS, identifier)
    try:
        return (yield from flow.ask(request, limits or Limits(), read, flow.is_busy))
    except TransportError as error:
        if flow.is_busy(error):
            raise TransportError(
                f"GetCACaps was not answered (HTTP {error.status})",
                status=error.status,
                hint=error.hint,
                retry_after=error.retry_after,
            ) from error
        if error.status is None:
            raise
        if tell is not None:
            tell(error)
        return frozenset()


def next_ca_certificates(
    ca: TrustedCA,
    now: Callable[[], datetime],
    *,
    identifier: str = "",
    allowed: frozenset[Legacy] = NO_LEGACY,
    limits: Limits | None = None,
) -> Flow[tuple[Certificate, ...]]:
    """Ask for the next CA's certificates, and believe only the current CA (RFC 8894 section 4.7).

    Args:
        ca: the CA that is trusted now.
        now: returns the time as an aware datetime.
        identifier: selects among several CAs, for servers that need it.
        allowed: the legacy algorithms that the user allowed.
        limits: for repetitions.

    Raises:
        NoSuccessor: there is none.
        TransportError: no answer.
        BadReply: the answer must not be believed.
        LegacyRefused: the CA signed it with algorithms that the user did not allow.
    """

    def read(response: HTTPResponse) -> tuple[Certificate, ...]:
        if not response.body:
            raise TransportError("the server answered with nothing", status=_NO_CONTENT)
        return next_ca.read(response.body, ca, allowed, now())

    request = http.get(Operation.GET_NEXT_CA_CERT, identifier)
    try:
        return (yield from flow.ask(request, limits or Limits(), read, _may_still_come))
    except TransportError as error:
        if error.status is None or error.status not in _NONE or flow.is_busy(error):
            raise
        raise NoSuccessor(
            f"this CA announces no successor: {error.message}", status=error.status
        ) from error


def _may_still_come(error: TransportError | BadReply) -> bool:
    """Say whether to ask for the next CA again; 500 is what many answer that know no such thing."""
    if isinstance(error, BadReply):
        return flow.worth_repeating(error)
    return error.status is None or flow.is_busy(error)


def _certificates(identifier: str, limits: Limits) -> Flow[tuple[Certificate, ...]]:
    request = http.get(Operation.GET_CA_CERT, identifier)
    return (yield from flow.ask(request, limits, _read_certificates))


def _read_certificates(response: HTTPResponse) -> tuple[Certificate, ...]:
    mistaken = http.mistaken(response.body)
    if mistaken:
        what = f"{mistaken} ({response.content_type})" if response.content_type else mistaken
        raise Malformed(f"it answered with {what} instead of certificates")
    return ca_certificates.parse(response.body)


# --- GetCert and GetCRL ---------------------------------------------------------------------------


def get_cert(used: Exchange, issuer: Name, serial_number: int) -> Flow[Certificate]:
    """Ask the CA for a certificate that it issued.

    Args:
        used: with whom and how; the signer is a certificate of the CA's.
        issuer: the CA's name.
        serial_number: the certificate's.

    Raises:
        RequestRefused: there is none, or the CA does not give it.
        BadReply: the answer must not be believed, or is another certificate.
        LegacyRefused: the answer uses algorithms that the user did not allow.
        TransportError: no answer.
    """
    answer = yield from _retrieve(used, GetCert(issuer.der, serial_number))
    for found in dated(answer.certificates):
        if found.issuer_name.matches(issuer) and found.serial == serial_number:
            # It may be over by now, so its chain is not asked for; that the CA made it is.
            if any(chain.issued(authority, found) for authority in used.ca.authorities):
                return found
            raise BadReply("the CA that is trusted did not issue the certificate of the reply")
    raise BadReply("the reply does not hold the certificate that was asked for")


def get_crl(
    used: Exchange, issuer: Name, serial_number: int
) -> Flow[x509.CertificateRevocationList]:
    """Ask the CA for the CRL that covers a certificate.

    Only for a CA whose certificates name no place to fetch it from (RFC 8894 section 2.7).

    Args:
        used: with whom and how; the signer is a certificate of the CA's.
        issuer: the CA's name.
        serial_number: the certificate's.

    Raises:
        RequestRefused: there is none, or the CA does not give it.
        BadReply: the answer must not be believed, or is no CRL of the CA that is trusted.
        LegacyRefused: the answer uses algorithms that the user did not allow.
        TransportError: no answer.
    """
    answer = yield from _retrieve(used, GetCRL(issuer.der, serial_number))
    if len(answer.crls) != 1:
        raise BadReply(f"the reply holds {len(answer.crls)} CRLs where there should be one")
    try:
        found = _x509.crl(answer.crls[0])
    except Malformed as error:
        raise BadReply(f"the reply holds something that cannot be used: {error}") from error
    if not Name.of(found.issuer).matches(issuer):
        raise BadReply("the CRL is not of the CA that was asked for")
    if not any(crl.is_signed(authority, found) for authority in used.ca.authorities):
        raise BadReply("the CA that is trusted did not sign the CRL")
    return found


def _retrieve(used: Exchange, request: GetCert | GetCRL) -> Flow[Success]:
    transaction_id = TransactionID.new(used.random)
    with exchange.about(transaction_id):
        answer = yield from exchange.ask(used, request, transaction_id)
        reply = exchange.open_(used, answer.message)
        match reply:
            case Failure():
                raise RequestRefused(reply, hint=_retrieval_hint(reply))
            case Pending():
                # RFC 8894 section 4.5.1: SUCCESS or FAILURE, at once.
                raise BadReply("the CA answered PENDING, which cannot be an answer to this")
    return reply


def _retrieval_hint(reply: Failure) -> str:
    if reply.fail_info is None:
        return "the CA's own log says more"
    return {
        "badAlg": "the CA does not accept these algorithms",
        "badMessageCheck": "the CA wants a certificate of its own as the signer's",
        "badRequest": "the CA may not offer this, or not to the holder of this certificate",
        "badTime": "check this machine's clock",
        "badCertId": "check the serial number; the CA may be another one by now",
    }[reply.fail_info.name]
