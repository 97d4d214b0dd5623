"""The server's half of a revocation: read an rr, verify it, answer (RFC 9810 section 5.3.9).

Believing a request is, in order:

1. it is a PKIMessage with a header that can be read: from here on there is something to answer to;
2. the version is 2 or 3;
3. transactionID and senderNonce are there and of a sensible size, recipNonce is not;
4. the body is an rr: everything else gets an error message;
5. it is protected;
6. it names one certificate, by issuer and serial number;
7. the protection holds: `verify_signature` or `verify_mac`;
8. the sender is who protected it.

`read_request` does 1 to 6, the two others 7 and 8.
Whether the signer may revoke the certificate, whether the message was seen before and whether its
messageTime is near enough is for policy, which says so with the errors of this package.
Every error is answered by `seal_error`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate, readable
from scepkit.protocol.cmp import message, revocation
from scepkit.protocol.cmp.message import BodyType, Header, Protection, answerable
from scepkit.protocol.cmp.protection import (
    MACS,
    Protector,
    SharedSecret,
    is_sender,
    mac_holds,
    read_mac,
    signature_holds,
)
from scepkit.protocol.cmp.revocation import RevocationRequest
from scepkit.protocol.cmp.status import (
    BadDataFormat,
    BadMessageCheck,
    BadRecipientNonce,
    BadRequest,
    BadSenderNonce,
    CMPError,
    SignerNotTrusted,
    StatusInfo,
    UnsupportedVersion,
    WrongIntegrity,
)
from scepkit.protocol.cms.pbkdf2 import MAX_FOR_STRANGERS

_Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """An rr of which only the form is right (steps 1 to 6).

    Attributes:
        header: its header; transactionID and senderNonce are there.
        revocation: what is asked for.
        protection: what protects it, not verified yet.
        extra_certificates: DER, as they came; nothing vouches for them.
    """

    header: Header
    revocation: RevocationRequest
    protection: Protection
    extra_certificates: tuple[bytes, ...] = field(repr=False)

    @property
    def is_signed(self) -> bool:
        """Say whether a signature protects it; otherwise a MAC does."""
        return self.protection.algorithm not in MACS


def read_request(der: bytes) -> Request:
    """Read an rr without believing it.

    Raises:
        CMPError: how to answer; see `scepkit.protocol.cmp.status`.
    """
    # (1)
    found = message.read(der)
    with answerable(found.header):
        _check_header(found.header)
        # (4)
        if found.body_type is not BodyType.rr:
            raise BadRequest(f"{found.body_type.name} is not served here, only rr is")
        # (5)
        if found.protection is None:
            raise BadMessageCheck("the message is not protected")
        # (6)
        return Request(
            header=found.header,
            revocation=revocation.read_rr(found.body),
            protection=found.protection,
            extra_certificates=found.extra_certificates,
        )


def _check_header(header: Header) -> None:
    # (2)
    if header.version not in (message.CMP2000, message.CMP2021):
        raise UnsupportedVersion(f"pvno {header.version} is not supported, 2 and 3 are")
    # (3)
    transaction_id, nonce = header.transaction_id, header.sender_nonce
    if transaction_id is None:
        raise BadDataFormat("the transactionID is missing")
    if not 1 <= len(transaction_id) <= message.MAX_TRANSACTION_ID_SIZE:
        raise BadDataFormat(
            f"a transactionID of {len(transaction_id)} octets; "
            f"1 to {message.MAX_TRANSACTION_ID_SIZE} are accepted"
        )
    if nonce is None:
        raise BadSenderNonce("the senderNonce is missing")
    if not message.NONCE_SIZE <= len(nonce) <= message.MAX_NONCE_SIZE:
        raise BadSenderNonce(
            f"a senderNonce of {len(nonce)} octets; "
            f"{message.NONCE_SIZE} to {message.MAX_NONCE_SIZE} are accepted"
        )
    if header.recipient_nonce is not None:
        raise BadRecipientNonce("the first message of a transaction has no recipNonce")


def find_signer(request: Request) -> Certificate:
    """Return the certificate in extraCerts that says it made the signature.

    By RFC 9810 section 5.1 it is the first; others are looked at for senders that sort.

    Raises:
        WrongIntegrity: the request is not signed.
        SignerNotTrusted: there is none.
    """
    with answerable(request.header):
        if not request.is_signed:
            raise WrongIntegrity("the message is protected by a MAC, not by a signature")
        for certificate in readable(request.extra_certificates):
            if is_sender(request.header, certificate):
                return certificate
        raise SignerNotTrusted("extraCerts hold no certificate of the sender")


def verify_signature(
    request: Request, certificate: Certificate, allowed: frozenset[Legacy] = NO_LEGACY
) -> None:
    """Check that a certificate's key protected a request, and that the sender says so.

    Args:
        request: what `read_request` returned.
        certificate: of the would-be signer; whether it is to be trusted is the caller's business.
        allowed: the legacy algorithms that are allowed.

    Raises:
        WrongIntegrity: the request is not signed.
        BadAlg: the algorithm is unknown, not for this kind of key, or not allowed.
        BadMessageCheck: the signature does not hold, or `sender` or senderKID is somebody else.
    """
    with answerable(request.header):
        if not request.is_signed:
            raise WrongIntegrity("the message is protected by a MAC, not by a signature")
        # (7)
        if not signature_holds(request.protection, certificate, allowed):
            raise BadMessageCheck("the signature does not hold")
        # (8)
        if not is_sender(request.header, certificate):
            raise BadMessageCheck("the sender is not the signer")


def verify_mac(request: Request, secret: str, max_iterations: int = MAX_FOR_STRANGERS) -> None:
    """Check that the sender of a request knows a secret.

    The secret has to be at hand as it is: both kinds of MAC derive their key from it with a salt
    that the sender chose, so that no hash of it would do. Which secret it is, says
    `request.header.sender_kid`.

    Args:
        request: what `read_request` returned.
        secret: the secret.
        max_iterations: how much work the sender may ask for, who is anybody.

    Raises:
        WrongIntegrity: the request is signed.
        BadAlg: the algorithm is unknown, or asks for more work than is sensible.
        BadDataFormat: the algorithm's parameters cannot be read.
        BadMessageCheck: it was another secret.
    """
    with answerable(request.header):
        if request.is_signed:
            raise WrongIntegrity("the message is protected by a signature, not by a MAC")
        if not mac_holds(request.protection, secret, max_iterations):
            raise BadMessageCheck("the MAC does not hold")


def same_secret(
    request: Request, secret: str, name: bytes, random: Callable[[int], bytes]
) -> SharedSecret:
    """Return the protector of the answer to a request whose MAC held: a MAC with a new salt.

    A client that has nothing but the secret can check no signature.

    Args:
        request: the request.
        secret: the secret that `verify_mac` took.
        name: the Name of the CA, DER.
        random: returns that many unpredictable octets.
    """
    parameters = read_mac(request.protection).fresh(random)
    return SharedSecret(secret, request.header.sender_kid, parameters, name)


def seal_response(
    request: Request, status: StatusInfo, protector: Protector, *, now: datetime, random: _Random
) -> bytes:
    """Return the rp that answers a request.

    Args:
        request: the request.
        status: how it went.
        protector: protects the answer.
        now: an aware datetime, for messageTime.
        random: returns that many unpredictable octets.
    """
    body = revocation.write_rp(status, request.revocation)
    return _seal(request.header, body, protector, now, random)


def seal_error(error: CMPError, protector: Protector, *, now: datetime, random: _Random) -> bytes:
    """Return the error message that answers a request that cannot be granted.

    It travels with HTTP status 200 as every CMP message does. Without a header in the error, that
    is, for what is no PKIMessage, it names no transaction, and HTTP 400 says more (RFC 9811 3.3).

    Args:
        error: what is wrong.
        protector: protects the answer: a `Signer`, unless the request's MAC held. OpenSSL takes
            no unprotected error (unless it is told to), and a signed one only with -trusted
            or -srvcert.
        now: an aware datetime, for messageTime.
        random: returns that many unpredictable octets.
    """
    return _seal(error.header, revocation.write_error(StatusInfo.of(error)), protector, now, random)


def _seal(
    request: Header | None, body: bytes, protector: Protector, now: datetime, random: _Random
) -> bytes:
    header = message.reply_header(
        request,
        sender=protector.name,
        sender_kid=protector.key_identifier,
        now=now,
        random=random,
    )
    return protector.protect(header, body)
