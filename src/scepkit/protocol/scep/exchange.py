"""One pkiMessage and its answer, from the client's end: the only place where they are matched.

What may be done about a FAILURE is said here as well.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepkit.errors import (
    BadAlg,
    BadReply,
    FailInfo,
    FailInfoError,
    Hint,
    LegacyRefused,
    Malformed,
    ScepError,
    TransportError,
    UsageError,
)
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.asn1 import textual
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.refusals import reply_refused
from scepkit.protocol.scep import flow, http, notice, pkimessage
from scepkit.protocol.scep.attributes import NONCE_SIZE, PKIStatus, TransactionID
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.capabilities import Choice
from scepkit.protocol.scep.flow import Flow, Limits
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.messages import CertRep, Failure, PKCSReq, RenewalReq, Request
from scepkit.protocol.scep.notice import Notice
from scepkit.protocol.scep.pkimessage import Random, VerifiedMessage

_INTERNAL_ERROR = 500

# Windows SDK, certpol.h: pending, with a challenge to the device's TPM (checklist L-23).
_PENDING_WITH_CHALLENGE = 11

# What servers call it when it is the challenge that they do not like.
_ABOUT_CHALLENGES = re.compile(r"challenge|password|passphrase|secret|\botp\b", re.IGNORECASE)
_ABOUT_PURPOSES = re.compile(r"purpose|ext\w* ?key ?usage|\beku\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Everything that stays the same during one transaction.

    Attributes:
        ca: the trusted CA.
        choice: the algorithms.
        signer: the key and certificate that sign and that replies are encrypted to.
        random: returns that many unpredictable octets.
        now: returns the time as an aware datetime.
        allowed: the legacy algorithms that the user allowed in replies.
        limits: when to ask again, and when to stop.
        password: the challengePassword, for keys that cannot decrypt (RFC 8894 section 3.1).
            Secret.
        ahead: whether the certificate may be one that is not valid yet, of a CA that is not valid
            yet (section 5.1).
        issuers: certificates above the signer's, DER, that the CA may not know.
    """

    ca: TrustedCA
    choice: Choice
    signer: Credential
    random: Random
    now: Callable[[], datetime]
    allowed: frozenset[Legacy] = NO_LEGACY
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    password: str | None = field(default=None, repr=False)
    ahead: bool = False
    issuers: tuple[bytes, ...] = ()


class Reply(NamedTuple):
    """An answer to believe, and what came beside it.

    Attributes:
        message: the CertRep.
        notices: what the server says that it has cut; nobody vouches for that.
    """

    message: VerifiedMessage
    notices: tuple[Notice, ...] = ()


@contextmanager
def about(transaction_id: TransactionID) -> Iterator[None]:
    """Note in what goes wrong which transaction it is about."""
    try:
        yield
    except ScepError as error:
        error.transaction_id = error.transaction_id or str(transaction_id)
        raise


def ask(exchange: Exchange, request: Request, transaction_id: TransactionID) -> Flow[Reply]:
    """Send one pkiMessage and wait for an answer to believe.

    Raises:
        UsageError: nothing can be encrypted to the CA.
        TransportError, BadReply: there was none; the reason why the last one was not.
        LegacyRefused: the CA answered with algorithms that the user did not allow.
    """
    nonce = exchange.random(NONCE_SIZE)
    message = _seal(exchange, request, transaction_id, nonce)

    def read(response: HTTPResponse) -> Reply:
        believed = believe(exchange, response.body, transaction_id, nonce)
        return Reply(believed, notice.read_headers(response.headers))

    sent = http.pki_operation(message, post=exchange.choice.post)
    try:
        return (yield from flow.ask(sent, exchange.limits, read))
    except TransportError as error:
        kind = odd_key(exchange, request)
        if error.status == _INTERNAL_ERROR and kind:
            error.hint = (
                "the server may have stumbled over the kind of key: many take RSA keys alone, and "
                f"here is one of kind {kind}; its own log says more"
            )
        raise


def odd_key(exchange: Exchange, request: Request) -> str:
    """Name a key of a request that many servers cannot handle; "" when all are RSA's.

    Args:
        exchange: with whom and how.
        request: what is asked.
    """
    keys = [exchange.signer.certificate.public_key]
    if isinstance(request, PKCSReq | RenewalReq):
        keys.append(request.csr.public_key)
    for key in keys:
        if isinstance(key, ec.EllipticCurvePublicKey):
            return "EC"
        if isinstance(key, ed25519.Ed25519PublicKey):
            return "Ed25519"
    return ""


def _seal(
    exchange: Exchange, request: Request, transaction_id: TransactionID, nonce: bytes
) -> bytes:
    try:
        return pkimessage.seal_request(
            request,
            transaction_id=transaction_id,
            sender_nonce=nonce,
            signer=exchange.signer,
            recipient=exchange.ca.recipient,
            digest=exchange.choice.digest,
            cipher=exchange.choice.cipher,
            random=exchange.random,
            password=exchange.password,
            # For CAs that look at it (failInfo badTime); no other minds.
            signing_time=exchange.now(),
            extra_certificates=exchange.issuers,
        )
    except BadAlg as error:
        if exchange.ca.lapsed:
            raise _lapsed(exchange) from error
        raise UsageError(
            f"nothing can be encrypted to the CA's key: {error.message}",
            hint="give a challenge: it can be encrypted with that",
        ) from error


def believe(
    exchange: Exchange, body: bytes, transaction_id: TransactionID, nonce: bytes
) -> VerifiedMessage:
    """Check that a reply is the CA's answer to this very request.

    Checks are, in order: the signature, by the CA or an RA of its; the transactionID; the nonce
    (RFC 8894 sections 3.2.1.1 and 3.2.1.5).

    Args:
        exchange: with whom and how.
        body: the answer to a PKIOperation.
        transaction_id: of the request.
        nonce: the request's senderNonce.

    Raises:
        BadReply: it must not be believed.
        LegacyRefused: it uses algorithms that the user did not allow.
    """

    def believed(allowed: frozenset[Legacy]) -> VerifiedMessage:
        try:
            received = pkimessage.parse(textual.single(body))
            verified = pkimessage.verify(received, allowed, signers=exchange.ca.signers)
        except BadAlg as error:
            if error.legacy:
                raise
            raise _unsupported(error) from error
        except (FailInfoError, Malformed) as error:
            if exchange.ca.lapsed and not http.mistaken(body):
                raise _lapsed(exchange) from error
            raise _unbelievable(body, error.message) from error
        if verified.attributes.transaction_id.value != transaction_id.value:
            raise BadReply("the reply belongs to another transaction")
        if not hmac.compare_digest(verified.attributes.recipient_nonce or b"", nonce):
            raise BadReply("the reply does not repeat this request's nonce; it may be a replay")
        return verified

    try:
        return believed(exchange.allowed)
    except BadAlg as error:
        # Nobody is told to allow anything for the sake of a reply that is not the CA's.
        raise _not_allowed(exchange, believed(frozenset(Legacy)), error) from error


def open_(exchange: Exchange, verified: VerifiedMessage) -> CertRep:
    """Read the content of a reply that is authentic.

    Raises:
        BadReply: it cannot be read.
        LegacyRefused: it uses algorithms that the user did not allow.
    """
    if verified.attributes.pki_status == _PENDING_WITH_CHALLENGE:
        raise BadReply(
            "pkiStatus 11 is not defined by RFC 8894; Microsoft's servers want the device to "
            "prove its key with it",
            hint="use a certificate template without key attestation",
        )
    try:
        return pkimessage.open_reply(
            verified,
            [exchange.signer],
            exchange.allowed,
            exchange.random,
            password=exchange.password,
        )
    except BadAlg as error:
        raise _not_allowed(exchange, verified, error) from error
    except (FailInfoError, Malformed) as error:
        raise BadReply(f"the reply cannot be believed: {error.message}") from error


def read_reply(
    exchange: Exchange, body: bytes, transaction_id: TransactionID, nonce: bytes
) -> CertRep:
    """Check and read a CertRep; raises as `believe` and `open_` do."""
    return open_(exchange, believe(exchange, body, transaction_id, nonce))


def _lapsed(exchange: Exchange) -> BadReply:
    """Return the error where the RA's certificate is over by the clock of the client."""
    end = max(one.not_after for one in exchange.ca.lapsed)
    return BadReply(
        f"the RA's certificate ended at {end:%Y-%m-%d %H:%M} UTC, by this machine's clock, which "
        f"says {exchange.now():%Y-%m-%d %H:%M} UTC",
        hint="look at the clock (date -u); if it is right, tell the CA's operator",
    )


def _unbelievable(body: bytes, why: str) -> BadReply:
    mistaken = http.mistaken(body)
    if not mistaken:
        return BadReply(f"the reply cannot be believed: {why}")
    return BadReply(
        f"the server answered with {mistaken} instead of a SCEP message",
        hint="check the URL, and whether a proxy or a log-in page is in between",
    )


def _not_allowed(
    exchange: Exchange, verified: VerifiedMessage, error: BadAlg
) -> BadReply | LegacyRefused:
    """Return the error that names all that a reply takes, signature and envelope, at once.

    The challenge behind it may be spent, so nobody shall have to learn the names one by one.
    """
    if not error.legacy:
        return _unsupported(error)
    needed = frozenset(map(Legacy, error.legacy))
    try:
        if verified.attributes.pki_status == PKIStatus.SUCCESS:
            needed |= verified.envelope.legacy_uses([exchange.signer], password=exchange.password)
    except BadAlg as unsupported:
        return _unsupported(unsupported)
    except (FailInfoError, Malformed) as unreadable:
        return BadReply(f"the reply's content cannot be read: {unreadable.message}")
    return reply_refused(needed, exchange.allowed)


def _unsupported(error: BadAlg) -> BadReply:
    return BadReply(f"the reply uses an algorithm that is not supported: {error.message}")


# --- refusals -------------------------------------------------------------------------------------


def refusal_hint(exchange: Exchange, request: PKCSReq | RenewalReq, reply: Failure) -> str:
    """Say what a user may do about a FAILURE.

    Args:
        exchange: with whom and how.
        request: what was asked.
        reply: the FAILURE.
    """
    key = exchange.signer.certificate.public_key
    if (
        reply.fail_info is FailInfo.badAlg
        and exchange.password is None
        and not isinstance(key, rsa.RSAPublicKey)
    ):
        return (
            "the answer is encrypted to the key that signs: one that is not RSA needs a challenge, "
            "or a CA that does key agreement"
        )
    if reply.fail_info is None or reply.hresult:
        return "the CA's own log says more; NDES wants a fresh one-time password for every attempt"
    if reply.fail_info is FailInfo.badAlg:
        return _not_taken(exchange, request)
    if reply.fail_info is FailInfo.badMessageCheck:
        return _not_understood(exchange, request)
    if reply.fail_info is FailInfo.badRequest:
        return _not_permitted(exchange, request, reply)
    if reply.fail_info is FailInfo.badTime:
        return "check this machine's clock"
    return "the CA knows nothing of this transaction; enrol anew"


def _not_taken(exchange: Exchange, request: PKCSReq | RenewalReq) -> str:
    kind = odd_key(exchange, request)
    if kind:
        return f"many CAs take RSA keys alone, and here is one of kind {kind}: try an RSA key"
    return "the CA does not accept these algorithms, or this kind of key"


def _not_understood(exchange: Exchange, request: PKCSReq | RenewalReq) -> str:
    """Say what badMessageCheck may mean: there are servers that say so to a wrong challenge."""
    otherwise = "the message was damaged on its way, or the CA has another certificate"
    if request.csr.challenge_password is not None:
        return (
            "some CAs say so when the challenge is wrong, used up or expired: check it, or get "
            f"another one; else {otherwise}"
        )
    signer = exchange.signer.certificate
    if isinstance(request, RenewalReq) or signer.issuer != signer.subject:
        return (
            "some CAs say so when they do not renew without a challenge: give one, or enrol anew; "
            f"else {otherwise}"
        )
    return f"some CAs say so when there has to be a challenge, and none was given; else {otherwise}"


def _not_permitted(exchange: Exchange, request: PKCSReq | RenewalReq, reply: Failure) -> str:
    if _ABOUT_PURPOSES.search(reply.text) and request.csr.extensions.extended_key_usage:
        return "ask for other purposes, or for none, so that the CA chooses them"
    if reply.text and not _ABOUT_CHALLENGES.search(reply.text):
        # An operator's own words, or a rule of the CA's: the challenge has nothing to do with it.
        return Hint.OPERATOR_KNOWS
    if request.csr.challenge_password is None:
        hint = "no challenge was given"
    else:
        hint = "check the challenge (it may be used up or expired) and the subject"
    kind = odd_key(exchange, request)
    if kind and not reply.text:
        # micromdm's scepserver says no more than that.
        hint += f"; many CAs take RSA keys alone, and here is one of kind {kind}"
    return hint
