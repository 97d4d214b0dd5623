"""GetCert and GetCRL from the client's end (RFC 8894 sections 2.6, 2.7, 4.5 and 4.6)."""

from __future__ import annotations

from cryptography import x509

from scepkit.errors import BadReply, Malformed, RequestRefused
from scepkit.protocol import chain, crl
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import exchange
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.exchange import Exchange
from scepkit.protocol.scep.flow import Flow
from scepkit.protocol.scep.messages import Failure, GetCert, GetCRL, Pending, Success


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
    answer = yield from _ask(used, GetCert(issuer.der, serial_number))
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
    answer = yield from _ask(used, GetCRL(issuer.der, serial_number))
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


def _ask(used: Exchange, request: GetCert | GetCRL) -> Flow[Success]:
    transaction_id = TransactionID.new(used.random)
    reply = exchange.open_(used, (yield from exchange.ask(used, request, transaction_id)))
    match reply:
        case Failure():
            raise RequestRefused(reply, hint=_hint(reply))
        case Pending():
            # RFC 8894 section 4.5.1: SUCCESS or FAILURE, at once.
            raise BadReply("the CA answered PENDING, which cannot be an answer to this")
    return reply


def _hint(reply: Failure) -> str:
    if reply.fail_info is None:
        return "the CA's own log says more"
    return {
        "badAlg": "the CA does not accept these algorithms",
        "badMessageCheck": "the CA wants a certificate of its own as the signer's",
        "badRequest": "the CA may not offer this, or not to the holder of this certificate",
        "badTime": "check this machine's clock",
        "badCertId": "check the serial number; the CA may be another one by now",
    }[reply.fail_info.name]
