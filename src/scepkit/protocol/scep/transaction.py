"""The client's end of SCEP transactions (RFC 8894 sections 2.5.1, 4.3 and 4.4), without I/O.

The state machine is data, below; a flow may only take the steps that it allows.
What a flow is made of is in `flow`, one message and its answer in `exchange`, and what is asked
outside of transactions in `information`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from scepkit.errors import (
    BadReply,
    FailInfo,
    Malformed,
    RequestRefused,
    StillPending,
    TransportError,
    UnverifiedCertificate,
)
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate, dated, readable
from scepkit.protocol.comparison import Change, compare
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep import exchange, flow
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.capabilities import Choice
from scepkit.protocol.scep.exchange import Exchange, Reply, read_reply
from scepkit.protocol.scep.flow import Flow, Limits, Wait
from scepkit.protocol.scep.information import (
    CAInformation,
    ca_capabilities,
    ca_information,
    get_cert,
    get_crl,
    next_ca_certificates,
)
from scepkit.protocol.scep.messages import (
    CertPoll,
    CertRep,
    Failure,
    Pending,
    PKCSReq,
    RenewalReq,
    Success,
)
from scepkit.protocol.scep.notice import Notice

__all__ = [
    "TRANSITIONS",
    "CAInformation",
    "Event",
    "Exchange",
    "Flow",
    "Issued",
    "Limits",
    "Notice",
    "State",
    "Wait",
    "accept",
    "ca_capabilities",
    "ca_information",
    "enrol",
    "get_cert",
    "get_crl",
    "next_ca_certificates",
    "read_reply",
    "renew",
    "renewal_types",
    "resume",
]


class State(StrEnum):
    """The client's states (RFC 8894 section 2.5.1, Figure 1)."""

    NONEXISTENT = "CERT-NONEXISTENT"
    PENDING = "CERT-REQ-PENDING"
    ISSUED = "CERT-ISSUED"


class Event(StrEnum):
    """The events that move the client between its states."""

    REQUEST = "PKCSReq or RenewalReq sent"
    SUCCESS = "CertRep SUCCESS"
    PENDING = "CertRep PENDING"
    FAILURE = "CertRep FAILURE"
    GIVE_UP = "no response, or the limits of time or polls reached"


_NOT_RENEWED = (
    "the CA may not renew at all, not yet, or not without a challenge; if nothing helps, enrol anew"
)
_REVOKED = "enrol anew, or ask the CA's operator, who can release a certificate that is on hold"
_ABOUT_REVOCATION = re.compile(r"\brevoked\b|\bon hold\b", re.IGNORECASE)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.NONEXISTENT, Event.REQUEST): State.PENDING,
    (State.PENDING, Event.SUCCESS): State.ISSUED,
    (State.PENDING, Event.PENDING): State.PENDING,
    (State.PENDING, Event.FAILURE): State.NONEXISTENT,
    (State.PENDING, Event.GIVE_UP): State.NONEXISTENT,
}


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that passed every check.

    Attributes:
        certificate: the new certificate; a client whose clock is slow may find it not valid yet.
        chain: from its issuer to the trusted CA certificate.
        transaction_id: under which the CA knows the transaction.
        changes: what is in the certificate otherwise than it was asked for; mostly nothing.
        notices: the rules by which the server says that it has cut something, if it does. They
            travel in clear, and nobody signed them: to be shown, and not to be acted on.
    """

    certificate: Certificate
    chain: tuple[Certificate, ...]
    transaction_id: TransactionID
    changes: tuple[Change, ...] = ()
    notices: tuple[Notice, ...] = ()


def enrol(
    used: Exchange, request: PKCSReq | RenewalReq, transaction_id: TransactionID | None = None
) -> Flow[Issued]:
    """Get a certificate (RFC 8894 sections 2.5, 4.3 and 4.4).

    Args:
        used: with whom and how.
        request: what is wanted.
        transaction_id: a fresh one when None.

    Raises:
        RequestRefused: the CA answered FAILURE.
        StillPending: the limits of polling were reached.
        BadReply: a reply that must not be believed, or a certificate that must not be installed.
        LegacyRefused: the CA answered with algorithms that the user did not allow.
        TransportError: no answer.
    """
    transaction_id = transaction_id or TransactionID.new(used.random)
    with exchange.about(transaction_id):
        answer = yield from exchange.ask(used, request, transaction_id)
        return (yield from _conclude(used, request, _opened(used, answer), transaction_id))


def resume(
    used: Exchange, request: PKCSReq | RenewalReq, transaction_id: TransactionID
) -> Flow[Issued]:
    """Continue with a request that was sent earlier (RFC 8894 section 5.2, Figure 13).

    A CertPoll holds no challenge, so this one's need not be what it was then: unless the key cannot
    decrypt, when the answer is encrypted with that of then.

    Args:
        used: with whom and how; the signer as it was then.
        request: what was asked for.
        transaction_id: under which.

    Raises:
        RequestRefused: the CA said no, or knows nothing of it (any more).
        StillPending, BadReply, LegacyRefused, TransportError: see `enrol`.
    """
    poll = _cert_poll(used, request)
    with exchange.about(transaction_id):
        answer = yield from exchange.ask(used, poll, transaction_id)
        return (yield from _conclude(used, request, _opened(used, answer), transaction_id))


class _Opened(NamedTuple):
    """An answer that is read, and what came beside it."""

    reply: CertRep
    notices: tuple[Notice, ...]


def _opened(used: Exchange, answer: Reply) -> _Opened:
    return _Opened(exchange.open_(used, answer.message), answer.notices)


def _conclude(
    used: Exchange, request: PKCSReq | RenewalReq, opened: _Opened, transaction_id: TransactionID
) -> Flow[Issued]:
    """Go on to the end of a transaction of which there is a first answer."""
    reply, notices = opened
    state = TRANSITIONS[State.NONEXISTENT, Event.REQUEST]
    if isinstance(reply, Pending):
        state = TRANSITIONS[state, Event.PENDING]
        reply, notices = yield from _poll(used, request, transaction_id)
    if isinstance(reply, Failure):
        state = TRANSITIONS[state, Event.FAILURE]
        raise RequestRefused(reply, hint=exchange.refusal_hint(used, request, reply))
    TRANSITIONS[state, Event.SUCCESS]
    if not isinstance(reply, Success):
        raise BadReply("the reply is none to a request for a certificate")
    return replace(accept(used, request, reply, transaction_id), notices=notices)


def renew(
    used: Exchange,
    csr: CertificationRequest,
    transaction_id: TransactionID | None = None,
    *,
    types: Sequence[MessageType] = (),
) -> Flow[Issued]:
    """Get a certificate in place of one that is still valid (RFC 8894 sections 2.3 and 2.5).

    Args:
        used: with whom and how; the signer is the certificate that is to be renewed.
        csr: what is wanted.
        transaction_id: a fresh one when None.
        types: RENEWAL_REQ, PKCS_REQ or both, in the order in which to try; see `renewal_types`.

    Raises:
        RequestRefused, StillPending, BadReply, LegacyRefused, TransportError: see `enrol`.
    """
    for kind in types or renewal_types(used.choice):
        request = RenewalReq(csr) if kind is MessageType.RENEWAL_REQ else PKCSReq(csr)
        asked = transaction_id or TransactionID.new(used.random)
        with exchange.about(asked):
            opened = _opened(used, (yield from exchange.ask(used, request, asked)))
            reply = opened.reply
            # A no that comes after PENDING is an operator's, and not about the messageType.
            if not (isinstance(reply, Failure) and reply.fail_info is FailInfo.badRequest):
                return (yield from _conclude(used, request, opened, asked))
        # The CA has answered that transaction for good.
        refused, transaction_id = reply, None
    is_over = _ABOUT_REVOCATION.search(refused.text)
    with exchange.about(asked):
        raise RequestRefused(refused, hint=_REVOKED if is_over else _NOT_RENEWED)


def renewal_types(choice: Choice, wanted: MessageType | None = None) -> tuple[MessageType, ...]:
    """Say which messages to renew with, in the order in which to try them.

    RenewalReq came with RFC 8894, so it goes to CAs that say Renewal and SCEPStandard. To others
    the drafts' way is a PKCSReq that is signed with the current certificate (checklist L-12), and
    some that do not know RenewalReq answer it with badRequest.

    Args:
        choice: what the CA can do.
        wanted: what the user wants; None to go by what the CA can do.
    """
    if wanted is MessageType.PKCS_REQ or not (wanted or choice.renewal):
        return (MessageType.PKCS_REQ,)
    if choice.standard:
        return (MessageType.RENEWAL_REQ,)
    return (MessageType.RENEWAL_REQ, MessageType.PKCS_REQ)


def _poll(
    used: Exchange, request: PKCSReq | RenewalReq, transaction_id: TransactionID
) -> Flow[_Opened]:
    """Ask until the CA has decided (RFC 8894 section 4.4).

    A poll without an answer is one more reason to ask again, within the limits (P-52).
    """
    poll = _cert_poll(used, request)
    limits, waited, lost = used.limits, 0.0, ""
    for polls in range(limits.max_polls + 1):
        interval = min(limits.before_poll(polls), limits.max_wait - waited)
        if polls == limits.max_polls or interval <= 0:
            break
        yield Wait(interval, f"request {transaction_id} waits for approval", pending=True)
        waited += interval
        try:
            answer = yield from exchange.ask(used, poll, transaction_id)
        except (TransportError, BadReply) as error:
            if not flow.worth_repeating(error):
                raise
            lost = f"; the last poll had no answer: {error.message}"
            continue
        lost = ""
        opened = _opened(used, answer)
        if not isinstance(opened.reply, Pending):
            return opened
    asked = f"still waits for approval after {polls} poll{'s' if polls > 1 else ''}"
    raise StillPending(
        f"the request {asked if polls else 'waits for approval'}{lost}",
        hint=f"tell the CA's operator the transactionID {transaction_id} "
        f"and the request's SHA-256 {hashlib.sha256(request.csr.der).hexdigest()}",
    )


def _cert_poll(used: Exchange, request: PKCSReq | RenewalReq) -> CertPoll:
    return CertPoll(
        issuer=used.ca.issuer.subject,
        subject=request.csr.subject.der,
    )


def accept(
    used: Exchange,
    request: PKCSReq | RenewalReq,
    reply: Success,
    transaction_id: TransactionID,
) -> Issued:
    """Check a certificate before it is installed (checklist P-62, S-3.3.2.1-5).

    It is found by its key, never by its place, and has to chain to the trusted CA, or to the one
    before it: the request may have been answered, or begun to wait, before a rollover. It may not
    be valid yet by the client's clock, which is wrong then. What else the reply holds does not
    matter, be it readable or not.

    Raises:
        UnverifiedCertificate: the CA gave certificates, but none that could be installed.
        BadReply: it gave none, or the current one.
    """
    certificates = tuple(readable(reply.certificates))
    mine = [c for c in certificates if c.key_hash == request.csr.key_hash]
    fresh = [c for c in mine if c.der != used.signer.certificate.der]
    if mine and not fresh:
        raise BadReply(
            "the CA gave the current certificate back instead of a new one",
            hint="some CAs do so for a key that they have certified already; use a new key",
        )
    failure = BadReply("the reply holds no certificate for the key of the request")
    if not reply.certificates:
        raise failure
    pool = (*dated(reply.certificates), *used.ca.authorities, *used.ca.former)
    for one, anchor in itertools.product(fresh, used.ca.anchors):
        try:
            path = chain.build(one, pool, anchor, _time_of_check(used, one))
        except BadReply as error:
            failure = error
        else:
            return Issued(one, path[1:], transaction_id, compare(request.csr, one))
    raise UnverifiedCertificate(
        failure.message, hint=failure.hint, certificates=_first(fresh, reply.certificates)
    ) from failure


def _first(fresh: Sequence[Certificate], certificates: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the certificates of a reply, DER, those for our own key before all others."""
    return tuple(dict.fromkeys([*(one.der for one in fresh), *certificates]))


def _time_of_check(used: Exchange, certificate: Certificate) -> datetime:
    """Return the time at which a certificate and its chain have to be valid.

    A certificate that was issued just now is valid; where the client's clock says that it is not
    yet, the clock is wrong, as that of a device without a battery is. So it is judged by the time
    from which on it is valid. What is over by then, or by the clock, stays refused.
    """
    try:
        starts = [certificate.not_before]
        if used.ahead:
            starts += [one.not_before for one in used.ca.authorities]
    except Malformed as error:
        raise BadReply(f"the certificate's validity cannot be read: {error.message}") from error
    return max(used.now(), *starts)
