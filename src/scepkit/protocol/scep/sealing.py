"""Writing a pkiMessage (RFC 8894 sections 3.1 and 3.2): encrypt its content, then sign that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from scepkit.errors import BadMessageCheck, FailInfo
from scepkit.protocol.algorithms import Cipher, Digest
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import enveloped, signed
from scepkit.protocol.cms.enveloped import Credential, Random
from scepkit.protocol.cms.key_transport import OAEP
from scepkit.protocol.cms.signed import Signer
from scepkit.protocol.scep.attributes import Attributes, MessageType, TransactionID, write
from scepkit.protocol.scep.messages import (
    CertPoll,
    CertRep,
    Failure,
    GetCert,
    GetCRL,
    PKCSReq,
    RenewalReq,
    Request,
    Success,
)


def seal_request(
    request: Request,
    *,
    transaction_id: TransactionID,
    sender_nonce: bytes,
    signer: Credential,
    recipient: Certificate,
    digest: Digest,
    cipher: Cipher,
    random: Random,
    password: str | None = None,
    signing_time: datetime | None = None,
    extra_certificates: Sequence[bytes] = (),
) -> bytes:
    """Write a request (RFC 8894 sections 3.1 and 3.2), DER.

    Args:
        request: what is asked for.
        transaction_id: the transaction's.
        sender_nonce: 16 fresh octets.
        signer: the key and certificate that sign, and that the reply will be encrypted to.
        recipient: the CA or RA certificate that it is encrypted to.
        digest: for the signature.
        cipher: for the content.
        random: returns that many unpredictable octets.
        password: the challengePassword, for a recipient whose key cannot encrypt.
        signing_time: for the signingTime attribute; None leaves it out.
        extra_certificates: DER of those above the signer's, for a CA that does not know them.

    Raises:
        BadAlg: nothing can be encrypted to the recipient's key.
    """
    attributes = write(
        transaction_id, request.message_type, sender_nonce, signing_time=signing_time
    )
    content = enveloped.seal(
        _message_data(request),
        recipient,
        cipher,
        random,
        password=password,
    )
    return signed.Signer(signer, digest, extra_certificates).sign(content, attributes)


def _message_data(request: Request) -> bytes:
    """Return the messageData of RFC 8894 sections 3.3.1, 3.3.3 and 3.3.4."""
    match request:
        case PKCSReq(csr=wanted) | RenewalReq(csr=wanted):
            return wanted.der
        case CertPoll(issuer=issuer, subject=subject):
            return der.encode(
                types.IssuerAndSubject(issuer=ber.anything(issuer), subject=ber.anything(subject))
            )
        case (
            GetCert(issuer=issuer, serial_number=number)
            | GetCRL(issuer=issuer, serial_number=number)
        ):
            return der.encode(
                types.IssuerAndSerialNumber(
                    issuer=ber.anything(issuer),
                    serialNumber=ber.anything(der.encode(number)),
                )
            )


def seal_reply(
    reply: CertRep,
    *,
    to: Attributes,
    sender_nonce: bytes,
    signer: Signer,
    recipient: Certificate | None,
    cipher: Cipher,
    random: Random,
    password: str | None = None,
    key_agreement: bool = False,
    oaep: OAEP | None = None,
    signing_time: datetime | None = None,
) -> bytes:
    """Write a CertRep (RFC 8894 section 3.3.2), DER.

    A FAILURE or PENDING has no envelope; its eContent is empty rather than absent, because
    certmonger refuses an absent one and every known client takes the empty one (P-14).

    Args:
        reply: the answer.
        to: the request's attributes: transactionID and senderNonce are repeated as they came.
        sender_nonce: 16 fresh octets.
        signer: signs with the RA's or CA's key.
        recipient: whom a SUCCESS is encrypted to: the certificate that signed the request.
        cipher: for the content.
        random: returns that many unpredictable octets.
        password: the request's challengePassword, for a recipient whose key cannot encrypt.
        key_agreement: whether an EC key without a password may get key agreement.
        oaep: see `enveloped.seal`.
        signing_time: for the signingTime attribute; None leaves it out.

    Raises:
        BadAlg: a SUCCESS cannot be encrypted to the recipient.
    """
    attributes = _answering(reply, to, sender_nonce, signing_time)
    content = b""
    if isinstance(reply, Success):
        if recipient is None:
            raise BadMessageCheck("nobody to encrypt the reply to")
        inner = signed.certs_only(reply.certificates, reply.crls)
        content = enveloped.seal(
            inner,
            recipient,
            cipher,
            random,
            password=password,
            key_agreement=key_agreement,
            oaep=oaep,
        )
    return signer.sign(content, attributes)


def _answering(
    reply: CertRep, to: Attributes, sender_nonce: bytes, signing_time: datetime | None
) -> list[bytes]:
    """Return a CertRep's attributes (RFC 8894 section 3.2.1), DER."""
    fail_info, text = None, None
    if isinstance(reply, Failure):
        fail_info = FailInfo.badRequest if reply.fail_info is None else reply.fail_info
        text = reply.text or None
    return write(
        to.transaction_id,
        MessageType.CERT_REP,
        sender_nonce,
        to.sender_nonce,
        reply.pki_status,
        fail_info,
        text,
        signing_time,
    )
