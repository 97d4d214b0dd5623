"""The client's end of SCEP transactions (RFC 8894 sections 2.5.1 and 4), without I/O.

A flow is a generator: it yields `HTTPRequest` and is sent the `HTTPResponse`, or yields `Wait` and
is resumed when the time is over; a driver of a few lines runs it over any transport.
A driver that gets no answer throws `TransportError` into the flow, which decides what to do.

The state machine is data, below; the flow may only take the steps that it allows.
Matching of transactionID and nonces happens here and nowhere else.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias, TypeVar

from cryptography import x509

from scepkit.errors import (
    BadAlg,
    BadReply,
    FailInfoError,
    LegacyRefused,
    Malformed,
    RequestRefused,
    StillPending,
    TransportError,
)
from scepkit.protocol import _x509, cacerts, capabilities, chain, http, pkimessage
from scepkit.protocol.algorithms import NO_LEGACY, Legacy, PublicKey, allowing
from scepkit.protocol.attributes import NONCE_SIZE, TransactionID
from scepkit.protocol.cacerts import TrustedCA
from scepkit.protocol.capabilities import Capabilities, Choice
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.envelope import Credential
from scepkit.protocol.http import HTTPRequest, HTTPResponse, Operation
from scepkit.protocol.messages import (
    CertPoll,
    CertRep,
    Failure,
    Pending,
    PKCSReq,
    RenewalReq,
    Request,
    Success,
)
from scepkit.protocol.pkimessage import Random

_T = TypeVar("_T")


class State(StrEnum):
    """The client's states (RFC 8894 section 2.5.1, Figure 1)."""

    NONEXISTENT = "CERT-NONEXISTENT"
    PENDING = "CERT-REQ-PENDING"
    ISSUED = "CERT-ISSUED"


class Event(StrEnum):
    """What moves the client between its states."""

    REQUEST = "PKCSReq or RenewalReq sent"
    SUCCESS = "CertRep SUCCESS"
    PENDING = "CertRep PENDING"
    FAILURE = "CertRep FAILURE"
    GIVE_UP = "no response, or the limits of time or polls reached"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.NONEXISTENT, Event.REQUEST): State.PENDING,
    (State.PENDING, Event.SUCCESS): State.ISSUED,
    (State.PENDING, Event.PENDING): State.PENDING,
    (State.PENDING, Event.FAILURE): State.NONEXISTENT,
    (State.PENDING, Event.GIVE_UP): State.NONEXISTENT,
}


@dataclass(frozen=True, slots=True)
class Wait:
    """Resume the flow after this time.

    Attributes:
        seconds: how long.
        reason: for a progress display.
        pending: whether the CA is thinking, rather than the network failing.
    """

    seconds: float
    reason: str
    pending: bool = False


Flow: TypeAlias = Generator[HTTPRequest | Wait, HTTPResponse | None, _T]


@dataclass(frozen=True, slots=True)
class Limits:
    """When to ask again, and when to stop.

    Attributes:
        retries: how often a request that got no usable answer is sent again.
        retry_after: seconds before the first repetition; each next one waits twice as long.
        poll_interval: seconds between CertPolls.
        max_polls: CertPolls at most.
        max_wait: seconds spent waiting at most, all together.
    """

    retries: int = 3
    retry_after: float = 1.0
    poll_interval: float = 60.0
    max_polls: int = 1000
    max_wait: float = 86_400.0


@dataclass(frozen=True, slots=True)
class CAInformation:
    """What a server says of itself; nothing of it is authenticated (RFC 8894 section 2.2).

    Attributes:
        capabilities: GetCACaps, in lower case.
        certificates: GetCACert.
    """

    capabilities: Capabilities
    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that passed every check.

    Attributes:
        certificate: the new certificate.
        chain: from its issuer to the trusted CA certificate.
        transaction_id: under which the CA knows the transaction.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    transaction_id: TransactionID


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
    """

    ca: TrustedCA
    choice: Choice
    signer: Credential
    random: Random
    now: Callable[[], datetime]
    allowed: frozenset[Legacy] = NO_LEGACY
    limits: Limits = Limits()


def ca_information(identifier: str = "", limits: Limits | None = None) -> Flow[CAInformation]:
    """Ask for GetCACaps and GetCACert (RFC 8894 sections 3.5 and 4.2).

    A server that does not answer GetCACaps has no capabilities (S-3.5.2-12).

    Args:
        identifier: selects among several CAs, for servers that need it.
        limits: for repetitions.

    Raises:
        TransportError: no answer to GetCACert.
        Malformed: the answer holds no certificates.
    """
    found = yield from ca_capabilities(identifier)
    limits = limits or Limits()
    response = yield from _send(http.get(Operation.GET_CA_CERT, identifier), limits)
    return CAInformation(found, cacerts.parse(response.body))


def ca_capabilities(identifier: str = "") -> Flow[Capabilities]:
    """Ask for GetCACaps (RFC 8894 section 3.5.1); no usable answer is no capability."""
    once = Limits(retries=0)
    try:
        response = yield from _send(http.get(Operation.GET_CA_CAPS, identifier), once)
    except TransportError as error:
        if error.status is None:
            # Nobody is there at all; saying so now is clearer than a later riddle.
            raise
        return frozenset()
    return capabilities.parse(response.body)


def enrol(
    exchange: Exchange, request: PKCSReq | RenewalReq, transaction_id: TransactionID | None = None
) -> Flow[Issued]:
    """Get a certificate (RFC 8894 sections 2.5, 4.3 and 4.4).

    Args:
        exchange: with whom and how.
        request: what is wanted.
        transaction_id: a fresh one when None.

    Raises:
        RequestRefused: the CA answered FAILURE.
        StillPending: the limits of polling were reached.
        BadReply: a reply that must not be believed, or a certificate that must not be installed.
        LegacyRefused: the CA answered with algorithms that the user did not allow.
        TransportError: no answer.
    """
    transaction_id = transaction_id or TransactionID.new(exchange.random)
    state = TRANSITIONS[State.NONEXISTENT, Event.REQUEST]
    reply = yield from _ask(exchange, request, transaction_id)
    waited, polls = 0.0, 0
    poll = CertPoll(
        issuer=exchange.ca.issuer.subject.public_bytes(),
        subject=request.csr.subject.public_bytes(),
    )
    while isinstance(reply, Pending):
        state = TRANSITIONS[state, Event.PENDING]
        interval = exchange.limits.poll_interval
        if polls >= exchange.limits.max_polls or waited + interval > exchange.limits.max_wait:
            raise StillPending(
                f"the request still waits for approval after {polls} polls",
                hint=f"tell the CA's operator the transactionID {transaction_id}",
            )
        yield Wait(interval, "the request waits for approval", pending=True)
        waited, polls = waited + interval, polls + 1
        reply = yield from _ask(exchange, poll, transaction_id)
    if isinstance(reply, Failure):
        state = TRANSITIONS[state, Event.FAILURE]
        raise RequestRefused(reply, hint=_hint(reply))
    TRANSITIONS[state, Event.SUCCESS]
    return accept(exchange, request, reply, transaction_id)


def _ask(exchange: Exchange, request: Request, transaction_id: TransactionID) -> Flow[CertRep]:
    """Send one pkiMessage and believe its answer (RFC 8894 sections 3.2.1.1 and 3.2.1.5).

    A repetition after a lost answer is the same bytes, so that the server can tell (P-43).
    """
    nonce = exchange.random(NONCE_SIZE)
    message = pkimessage.seal_request(
        request,
        transaction_id=transaction_id,
        sender_nonce=nonce,
        signer=exchange.signer,
        recipient=exchange.ca.recipient,
        digest=exchange.choice.digest,
        cipher=exchange.choice.cipher,
        random=exchange.random,
    )
    response = yield from _send(
        http.pki_operation(message, post=exchange.choice.post), exchange.limits
    )
    return read_reply(exchange, response.body, transaction_id, nonce)


def read_reply(
    exchange: Exchange, body: bytes, transaction_id: TransactionID, nonce: bytes
) -> CertRep:
    """Believe a CertRep, or not.

    Checks are, in order: the signature, by the CA or an RA of its; the transactionID; the nonce;
    and only then what it says.

    Args:
        exchange: with whom and how.
        body: the answer to a PKIOperation.
        transaction_id: of the request.
        nonce: the request's senderNonce.

    Raises:
        BadReply: it must not be believed.
        LegacyRefused: it uses algorithms that the user did not allow.
    """
    try:
        verified = pkimessage.verify(
            pkimessage.parse(body), exchange.allowed, signers=exchange.ca.signers
        )
        if verified.attributes.transaction_id.value != transaction_id.value:
            raise BadReply("the reply belongs to another transaction")
        if not hmac.compare_digest(verified.attributes.recipient_nonce or b"", nonce):
            raise BadReply("the reply does not repeat this request's nonce; it may be a replay")
        return pkimessage.open_reply(verified, [exchange.signer], exchange.allowed, exchange.random)
    except BadAlg as error:
        raise _not_allowed(error, exchange.allowed) from error
    except (FailInfoError, Malformed) as error:
        raise BadReply(f"the reply cannot be believed: {error.message}") from error


def _not_allowed(error: BadAlg, allowed: frozenset[Legacy]) -> BadReply | LegacyRefused:
    if not error.legacy:
        return BadReply(f"the reply uses an algorithm that is not supported: {error.message}")
    return LegacyRefused(
        f"the CA answered with an algorithm that was not allowed: {error.message}",
        hint=f"if it can do no better, allow it: {allowing(allowed, Legacy(error.legacy))}",
    )


def accept(
    exchange: Exchange,
    request: PKCSReq | RenewalReq,
    reply: Success,
    transaction_id: TransactionID,
) -> Issued:
    """Check a certificate before it is installed (checklist P-62, S-3.3.2.1-5).

    It is found by its key, never by its place, and has to chain to the trusted CA.

    Raises:
        BadReply: there is no such certificate, or it must not be installed.
    """
    certificates = [_strict(der) for der in reply.certificates]
    for certificate in certificates:
        if _has_key(certificate, request.csr.public_key):
            path = chain.build(
                certificate,
                (*certificates, *exchange.ca.authorities),
                exchange.ca.anchor,
                exchange.now(),
            )
            return Issued(certificate, path[1:], transaction_id)
    raise BadReply("the reply holds no certificate for the key of the request")


def _strict(der: bytes) -> x509.Certificate:
    try:
        return Certificate.read(der).x509()
    except Malformed as error:
        raise BadReply(f"the reply holds something that is no certificate: {error}") from error


def _has_key(certificate: x509.Certificate, key: PublicKey) -> bool:
    try:
        return certificate.public_key() == key
    except _x509.UNUSABLE:
        return False


def _send(request: HTTPRequest, limits: Limits) -> Flow[HTTPResponse]:
    """Send a request until it is answered with 200 or the repetitions are used up (P-52, P-79)."""
    for attempt in range(limits.retries + 1):
        try:
            response = yield request
            return _usable(response)
        except TransportError as error:
            if attempt == limits.retries or not _worth_repeating(error):
                raise
            yield Wait(limits.retry_after * 2**attempt, error.message)
    raise TransportError("no attempt was allowed")


def _usable(response: HTTPResponse | None) -> HTTPResponse:
    if response is None:
        raise TransportError("no answer came")
    if response.status != 200:  # noqa: PLR2004
        said = response.body[:200].decode("utf-8", "replace").strip()
        detail = f": {said}" if said and response.content_type.startswith(http.TEXT) else ""
        raise TransportError(
            f"the server answered HTTP {response.status}{detail}", status=response.status
        )
    return response


def _worth_repeating(error: TransportError) -> bool:
    """Say whether the same request may do better later: not when the server faults the request."""
    return error.status is None or error.status >= 500 or error.status in (408, 429)  # noqa: PLR2004


def _hint(reply: Failure) -> str:
    if reply.fail_info is None or reply.hresult:
        return "the CA's own log says more; NDES wants a fresh one-time password for every attempt"
    return {
        "badAlg": "the CA does not accept these algorithms",
        "badMessageCheck": "the message was damaged on its way, or the CA has another certificate",
        "badRequest": "check the challenge (it may be used up or expired) and the subject",
        "badTime": "check this machine's clock",
        "badCertId": "the CA knows nothing of this transaction; enrol anew",
    }[reply.fail_info.name]
