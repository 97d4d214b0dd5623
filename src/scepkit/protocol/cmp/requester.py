"""The client's half of a revocation: write an rr, believe the answer or not (RFC 9810 5.3.10).

Believing an answer is, in order:

1. it is a PKIMessage of version 2 or 3;
2. transactionID and recipNonce are those of the request;
3. it is protected: by the secret that the request was protected with, or by the signature of the
   CA or of an RA that the CA vouches for;
4. the sender is who protected it;
5. it is an rp about the certificate that was asked for, or an error message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from scepkit.errors import BadReply, Malformed, UntrustedCA
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.cmp import message, revocation
from scepkit.protocol.cmp.message import BodyType, Header, Message
from scepkit.protocol.cmp.protection import (
    MACS,
    Protector,
    SharedSecret,
    is_sender,
    mac_holds,
    signature_holds,
)
from scepkit.protocol.cmp.revocation import RevocationRequest
from scepkit.protocol.cmp.status import BadAlg, CMPError, RevocationRefused, StatusInfo
from scepkit.protocol.refusals import reply_refused
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.ca_certificates import TrustedCA


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request, and the values that its answer has to fit.

    Attributes:
        der: the PKIMessage to send.
        header: its header.
        revocation: what it asks for.
        secret: the secret that protects it, if one does. Secret.
    """

    der: bytes = field(repr=False)
    header: Header
    revocation: RevocationRequest
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class RevocationResponse:
    """The answer that the certificate is revoked, or about to be.

    Attributes:
        status: what the server said.
        signer: whose certificate vouches for it; None for a shared secret.
    """

    status: StatusInfo
    signer: Certificate | None


def make_request(
    wanted: RevocationRequest,
    protector: Protector,
    *,
    recipient: bytes,
    now: datetime,
    random: Callable[[int], bytes],
) -> SentRequest:
    """Write an rr.

    Args:
        wanted: which certificate, and why.
        protector: protects it: a `Signer` with the key of that certificate, or a `SharedSecret`.
        recipient: the Name of the CA, DER.
        now: an aware datetime, for messageTime.
        random: returns that many unpredictable octets.
    """
    header = Header(
        # RFC 9810 section 7: version 3 is for what version 2 cannot say, and old servers refuse it.
        version=message.CMP2000,
        sender=message.general_name(protector.name),
        recipient=message.general_name(recipient),
        message_time=now,
        sender_kid=protector.key_identifier,
        transaction_id=random(message.TRANSACTION_ID_SIZE),
        sender_nonce=random(message.NONCE_SIZE),
    )
    der = protector.protect(header, revocation.write_rr(wanted))
    secret = protector.secret if isinstance(protector, SharedSecret) else None
    return SentRequest(der, header, wanted, secret)


def read_response(
    der: bytes,
    sent: SentRequest,
    ca: TrustedCA | None,
    *,
    now: datetime,
    allowed: frozenset[Legacy] = NO_LEGACY,
) -> RevocationResponse:
    """Read an answer, and check that it is authentic.

    Args:
        der: the body of the HTTP answer.
        sent: what `make_request` returned.
        ca: the CA that is trusted; None when only the shared secret is there to trust.
        now: an aware datetime.
        allowed: the legacy algorithms that the user allowed.

    Raises:
        RevocationRefused: the server says no; its protection held.
        BadReply: the answer must not be believed.
        LegacyRefused: it is the CA's, but signed with algorithms that the user did not allow.
    """
    try:
        # (1)
        reply = message.read(der)
        _check_header(reply.header, sent.header)
        # (3), (4)
        try:
            signer = _protected_by(reply, sent, ca, now, allowed)
        except BadAlg as error:
            needed = _needed(lambda allowed: _protected_by(reply, sent, ca, now, allowed))
            if not needed:
                raise
            raise reply_refused(needed, allowed) from error
        # (5)
        status = _status(reply, sent.revocation)
    except (CMPError, Malformed) as error:
        raise BadReply(f"the CMP answer cannot be used: {error.message}") from error
    if not status.granted or reply.body_type is BodyType.error:
        raise RevocationRefused(status)
    return RevocationResponse(status, signer)


def _check_header(reply: Header, request: Header) -> None:
    # (1)
    if reply.version not in (message.CMP2000, message.CMP2021):
        raise Malformed(f"it is of version {reply.version}, not 2 or 3")
    # (2)
    if reply.transaction_id != request.transaction_id:
        raise Malformed("it belongs to another transaction")
    if reply.recipient_nonce != request.sender_nonce:
        raise Malformed("it does not repeat the nonce of the request, so it may be an old one")


def _protected_by(
    reply: Message,
    sent: SentRequest,
    ca: TrustedCA | None,
    now: datetime,
    allowed: frozenset[Legacy],
) -> Certificate | None:
    protection = reply.protection
    if protection is None:
        raise Malformed(f"it is not protected; {_claim(reply, sent)}")
    if protection.algorithm in MACS:
        if sent.secret is None or not mac_holds(protection, sent.secret):
            raise Malformed("it is protected with a secret that is not known here")
        return None
    if ca is None:
        raise Malformed(f"it is signed, but no CA is trusted here; {_claim(reply, sent)}")
    for certificate in _signers(reply, ca, now):
        if is_sender(reply.header, certificate) and signature_holds(
            protection, certificate, allowed
        ):
            return certificate
    raise Malformed(f"it is not signed by the CA that is trusted or its RA; {_claim(reply, sent)}")


def _needed(check: Callable[[frozenset[Legacy]], object]) -> frozenset[Legacy]:
    """Name what has to be allowed for a protection to hold; nothing if it does not hold then.

    Args:
        check: raises unless it holds with what is allowed.
    """

    def holds(allowed: frozenset[Legacy]) -> bool:
        try:
            check(allowed)
        except (CMPError, Malformed):
            return False
        return True

    every = frozenset(Legacy)
    if not holds(every):
        return NO_LEGACY
    return frozenset(one for one in every if not holds(every - {one}))


def _signers(reply: Message, ca: TrustedCA, now: datetime) -> tuple[Certificate, ...]:
    """Return the certificates that may sign: the CA's, its RAs', one that came with the answer.

    It is taken for an RA by the same rules as one in GetCACert, since an RA that was replaced
    after the client enrolled is not known in another way.
    """
    known = dict.fromkeys([*ca.signers, *ca.authorities, *dated(reply.extra_certificates)])
    try:
        return ca_certificates.trust(tuple(known), ca.anchor, now).signers
    except UntrustedCA as error:
        raise Malformed(error.message) from error


def _status(reply: Message, wanted: RevocationRequest) -> StatusInfo:
    if reply.body_type is BodyType.rp:
        return revocation.read_rp(reply.body, wanted)
    if reply.body_type is BodyType.error:
        return revocation.read_error(reply.body)
    raise Malformed(f"it is of type {reply.body_type.name}, not rp")


def _claim(reply: Message, sent: SentRequest) -> str:
    """Say in words the status of an answer that must not be believed, for a person."""
    try:
        return f"it says {_status(reply, sent.revocation)}"
    except (CMPError, Malformed):
        return "it says nothing that can be read"
