"""The life of a certificate as flows: get one, renew it, ask for it again, have it revoked.

Their first step writes and signs what is sent, and each further one reads an answer: that is where
the private key is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from cryptography import x509

from scepkit.client import clock, prepared_request, revocation
from scepkit.client.prepared_request import AskedExtension, PreparedRequest
from scepkit.client.revocation import Revoked
from scepkit.client.trust import CA, SCEPServer
from scepkit.protocol import chain
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep import next_ca, transaction
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.flow import Flow
from scepkit.protocol.scep.messages import RenewalReq
from scepkit.protocol.scep.transaction import Exchange, Issued


def enrol(
    server: SCEPServer,
    ca: CA,
    key: PrivateKey,
    subject: str | x509.Name,
    *,
    names: Iterable[str | x509.GeneralName] = (),
    purposes: Iterable[str | x509.ObjectIdentifier] = (),
    extensions: Iterable[AskedExtension] = (),
    challenge: str | None = None,
    transaction_id: TransactionID | None = None,
) -> Flow[Issued]:
    """Get a first certificate for a key.

    Called again with the same arguments it asks for the same again, and gets the certificate
    that may have been issued meanwhile; so keep the key until its certificate is there.
    Only a RequestRefused ends the matter: then take a fresh key, or a fresh transaction_id.

    Args:
        server: whom to ask; a client's method has it already.
        ca: what `get_ca` or `trust` returned.
        key: the key to be certified.
        subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
        names: subject alternative names, or text such as `dns:dev1.example`.
        purposes: for extendedKeyUsage, by OID or by name such as `server_auth`; none leaves
            them to the CA.
        extensions: what else to ask for. A keyUsage among them takes the place of ours.
        challenge: the challengePassword, if the CA wants one.
        transaction_id: derived from all of the above unless given.

    Returns:
        The certificate and its chain; everything about them has been checked. Its `changes` say
        what the CA issued otherwise than it was asked for.

    Raises:
        UsageError: an argument cannot be written into a request.
        RequestRefused: the CA said no.
        StillPending: the CA has not decided, and the limits were reached.
        UnverifiedCertificate: the CA gave certificates, none of which must be installed.
        BadReply: the answer must not be believed.
        LegacyRefused: the answer uses algorithms that are not allowed.
        TransportError: no answer.
    """
    prepared = prepared_request.prepare(
        key,
        subject,
        names=names,
        purposes=purposes,
        extensions=extensions,
        challenge=challenge,
        transaction_id=transaction_id,
    )
    return (yield from submit(server, ca, prepared))


def renew(
    server: SCEPServer,
    ca: CA,
    key: PrivateKey,
    certificate: Certificate,
    new_key: PrivateKey,
    *,
    purposes: Iterable[str | x509.ObjectIdentifier] | None = None,
    extensions: Iterable[AskedExtension] = (),
    challenge: str | None = None,
    issuers: Iterable[Certificate] = (),
    message_type: MessageType | None = None,
    following: CA | None = None,
    transaction_id: TransactionID | None = None,
) -> Flow[Issued]:
    """Get a certificate for the same names in place of one (RFC 8894 sections 2.3 and 2.5).

    The current key reads the answer: keep it until the new certificate is there.

    Args:
        server: whom to ask; a client's method has it already.
        ca: what `get_ca` or `trust` returned.
        key: the current key.
        certificate: the current certificate.
        new_key: the key to be certified; the current one again is allowed.
        purposes: for extendedKeyUsage; those of the certificate unless given, none leaves them
            to the CA.
        extensions: what else to ask for. Names among them take the place of the certificate's,
            and a keyUsage that of ours.
        challenge: the challengePassword, for a CA that wants one here too.
        issuers: the chain of the current certificate, from its issuer up, for a CA that renews
            what another one issued.
        message_type: RENEWAL_REQ or PKCS_REQ; by what the CA can do unless given.
        following: what `get_next_ca` returned, to have the certificate from the next CA.
        transaction_id: derived from all of the above unless given.

    Returns:
        The certificate and its chain; everything about them has been checked. One of the next
        CA's may not be valid yet.

    Raises:
        UsageError, RequestRefused, StillPending, BadReply, LegacyRefused, TransportError: see
            `enrol`.
    """
    prepared = prepared_request.prepare_renewal(
        key,
        certificate,
        new_key,
        purposes=purposes,
        extensions=extensions,
        challenge=challenge,
        issuers=issuers,
        transaction_id=transaction_id,
    )
    return (yield from submit(server, ca, prepared, message_type=message_type, following=following))


def submit(
    server: SCEPServer,
    ca: CA,
    prepared: PreparedRequest,
    *,
    message_type: MessageType | None = None,
    following: CA | None = None,
) -> Flow[Issued]:
    """Get the certificate for a request (RFC 8894 sections 4.3 to 4.5), polling while it waits.

    Args:
        server: whom to ask; a client's method has it already.
        ca: the CA.
        prepared: what is asked for, and as whom; see `prepared_request`.
        message_type: for a renewal: RenewalReq or PKCSReq; by what the CA can do unless given.
        following: the CA that follows `ca`, if that one is to issue.

    Raises:
        RequestRefused: the CA refused.
        StillPending: the limits of polling were reached.
        BadReply: an answer must not be believed.
        TransportError: no answer.
    """
    request, exchange = prepared.request, _ordering(server, ca, prepared, following)
    if isinstance(request, RenewalReq):
        types = transaction.renewal_types(ca.choice, message_type)
        return (
            yield from transaction.renew(
                exchange, request.csr, prepared.transaction_id, types=types
            )
        )
    return (yield from transaction.enrol(exchange, request, prepared.transaction_id))


def resume(
    server: SCEPServer, ca: CA, prepared: PreparedRequest, *, following: CA | None = None
) -> Flow[Issued]:
    """Get the certificate for a request that was submitted earlier, without its challenge.

    Raises:
        RequestRefused: the CA said no, or knows nothing of it (any more).
        StillPending, BadReply, LegacyRefused, TransportError: see `enrol`.
    """
    exchange = _ordering(server, ca, prepared, following)
    return (yield from transaction.resume(exchange, prepared.request, prepared.transaction_id))


def get_cert(
    server: SCEPServer,
    ca: CA,
    key: PrivateKey,
    certificate: Certificate,
    serial_number: int | None = None,
) -> Flow[Certificate]:
    """Ask the CA for a certificate that it issued (RFC 8894 section 2.6).

    Args:
        server: whom to ask; a client's method has it already.
        ca: what `get_ca` or `trust` returned.
        key: the key of a certificate of that CA, which signs.
        certificate: that certificate.
        serial_number: of the one that is asked for; that certificate's own unless given.

    Raises:
        RequestRefused: there is none, or the CA does not give it to its holder.
        BadReply, LegacyRefused, TransportError: see `enrol`.
    """
    used = _exchange(server, ca, Credential(key, certificate))
    number = certificate.serial if serial_number is None else serial_number
    return (yield from transaction.get_cert(used, certificate.issuer_name, number))


def get_crl(
    server: SCEPServer, ca: CA, key: PrivateKey, certificate: Certificate
) -> Flow[x509.CertificateRevocationList]:
    """Ask the CA for the CRL that covers a certificate (RFC 8894 section 2.7).

    For a CA whose certificates do not name a place to fetch it from.

    Args:
        server: whom to ask; a client's method has it already.
        ca: what `get_ca` or `trust` returned.
        key: the key of a certificate of that CA, which signs.
        certificate: that certificate.

    Raises:
        RequestRefused: there is none, or the CA does not give it.
        BadReply, LegacyRefused, TransportError: see `enrol`.
    """
    used = _exchange(server, ca, Credential(key, certificate))
    return (yield from transaction.get_crl(used, certificate.issuer_name, certificate.serial))


def revoke(
    server: SCEPServer,
    ca: CA,
    key: PrivateKey,
    certificate: Certificate,
    *,
    reason: Reason | None = None,
    url: str = "",
) -> Flow[Revoked]:
    """Have a certificate revoked with its own key, by CMP: SCEP has no message for that.

    Args:
        server: whom to ask; a client's method has it already.
        ca: what `get_ca` or `trust` returned.
        key: the certificate's.
        certificate: what is to be revoked.
        reason: why; None to say nothing.
        url: where the CA speaks CMP; where a server of this project does unless given.

    Raises:
        RevocationRefused: the CA says no.
        BadReply, LegacyRefused, TransportError: see `enrol`.
        UsageError: the URL has to be given.
    """
    return (
        yield from revocation.revoke(
            url or revocation.cmp_url(server.url, server.identifier),
            certificate,
            lambda: revocation.by_key(key, certificate),
            ca.certificates,
            reason=reason,
            allowed=server.allowed,
            limits=server.limits,
        )
    )


def _ordering(
    server: SCEPServer, ca: CA, prepared: PreparedRequest, following: CA | None
) -> Exchange:
    """Return the parameters that stay the same while a certificate is got."""
    current = ca.certificates
    coming = following.certificates if following else None
    known = (*current.authorities, *(coming.authorities if coming else ()))
    return replace(
        _exchange(server, ca, prepared.signer),
        ca=next_ca.ahead(current, coming) if coming else current,
        password=prepared.request.csr.challenge_password,
        ahead=coming is not None,
        issuers=_unknown(prepared, known),
    )


def _exchange(server: SCEPServer, ca: CA, signer: Credential) -> Exchange:
    return Exchange(
        ca=ca.certificates,
        choice=ca.choice,
        signer=signer,
        random=os.urandom,
        now=clock.now,
        allowed=server.allowed,
        limits=server.limits,
    )


def _unknown(prepared: PreparedRequest, known: Iterable[Certificate]) -> tuple[bytes, ...]:
    """Return the issuers of who signs, DER, unless the CA has issued that certificate itself.

    Only a CA that takes certificates of others (RFC 8894 section 2.3, case 3) has any use for them.
    """
    if not prepared.issuers:
        return ()
    if any(chain.issued(authority, prepared.signer.certificate) for authority in known):
        return ()
    return tuple(issuer.der for issuer in prepared.issuers)
