"""Both ends joined in memory: our client's flows against our Responder, no socket between them.

    pair = Pair(Pending(), Pending(), grant)      # what the server's policy says, in order
    pair.on_reply(2, replay(1))                   # the network does something to the second reply
    with pytest.raises(BadReply):
        pair.enrol()

What goes over the wire is in `pair.trips`, counted from 1 in `on_request` and `on_reply`; only
PKIOperations count. Time passes when the client waits, and randomness comes from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import forge
import keys
from keys import Holder
from scepkit.errors import FailInfoError, HTTPRefused, Malformed, TransportError
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import fingerprint
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import (
    ca_certificates,
    capabilities,
    http,
    next_ca,
    pkimessage,
    transaction,
)
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.capabilities import GET_NEXT_CA_CERT, RENEWAL
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse, Operation
from scepkit.protocol.scep.messages import CertRep, PKCSReq, RenewalReq, Request, Success
from scepkit.protocol.scep.pkimessage import VerifiedMessage
from scepkit.protocol.scep.responder import Responder
from scepkit.protocol.scep.transaction import Exchange, Issued, Limits, Wait

Decision: TypeAlias = (
    CertRep | FailInfoError | Callable[["Server", Request, VerifiedMessage], CertRep]
)
Mishap: TypeAlias = Callable[["Pair", Any], Any]


# --- what a server may decide ---------------------------------------------------------------------


def grant(server: Server, request: Request, sender: VerifiedMessage) -> Success:
    """Issue what was asked for, or what the polled transaction asked for."""
    wanted = server.wanted[sender.attributes.transaction_id]
    return Success((server.issue(wanted),))


# --- what a network may do to a request or a reply ------------------------------------------------


def lose(pair: Pair, carried: object) -> None:
    """Let it never arrive."""


def alter(change: Callable[[bytes], bytes]) -> Mishap:
    """Change the body on its way."""

    def mishap(pair: Pair, carried: HTTPRequest | HTTPResponse) -> HTTPRequest | HTTPResponse:
        return replace(carried, body=change(carried.body))

    return mishap


def substitute(body: bytes) -> Mishap:
    """Put other bytes in its place."""
    return alter(lambda _: body)


def replay(number: int) -> Mishap:
    """Give the reply of an earlier trip, counted from 1."""
    return lambda pair, carried: pair.trips[number - 1].reply


def answer(status: int, body: bytes = b"", content_type: str = http.TEXT) -> Mishap:
    """Give another HTTP answer."""
    return lambda pair, carried: HTTPResponse(status, body, content_type)


def flip(position: int, mask: int = 0x01) -> Mishap:
    """Change one octet."""

    def change(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[position] ^= mask
        return bytes(changed)

    return alter(change)


# --- the ends -------------------------------------------------------------------------------------


@dataclass
class Trip:
    """One PKIOperation: what the client sent, what the server got and said, what came back."""

    sent: HTTPRequest
    arrived: HTTPRequest | None = None
    said: HTTPResponse | None = None
    reply: HTTPResponse | None = None

    @property
    def request(self) -> bytes:
        """The pkiMessage that the client sent."""
        return http.read_request(self.sent).message


class Server:
    """The least that can be called a SCEP server: it answers HTTPRequests with HTTPResponses.

    Args:
        decisions: what policy says to the first request, the second, ...; the last for all others.
        ca: who issues.
        ra: who opens requests and signs replies; the CA itself when None.
        allowed: the legacy algorithms that are allowed.
        caps: the GetCACaps keywords.
        random: for nonces and keys.
        key_agreement: whether EC keys without a password get key agreement.
        following: the CA that will follow, which needs no RA.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        *,
        ca: Holder,
        ra: Holder | None,
        allowed: frozenset[Legacy],
        caps: Sequence[str] | None,
        random: Callable[[int], bytes],
        key_agreement: bool = False,
        following: Holder | None = None,
    ) -> None:
        self.decisions = list(decisions) or [grant]
        self.ca, self.ra, self.following = ca, ra, following
        more = (RENEWAL, GET_NEXT_CA_CERT) if following else (RENEWAL,)
        self.caps = (*capabilities.offered(allowed), *more) if caps is None else tuple(caps)
        self.random, self.allowed, self.key_agreement = random, allowed, key_agreement
        self.responder = self._responder()
        self.opener = ca
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[Request, VerifiedMessage]] = []
        self.wanted: dict[TransactionID, csr.CertificationRequest] = {}

    def _responder(self) -> Responder:
        signer = (self.ra or self.ca).credential
        others = [self.following.credential] if self.following else []
        return Responder(
            signer=signer,
            credentials=[signer, *others],
            random=self.random,
            allowed=self.allowed,
            key_agreement=self.key_agreement,
        )

    def roll_over(self) -> None:
        """Put the CA that will follow in force."""
        assert self.following is not None
        self.ca, self.ra, self.following = self.following, None, None
        self.caps = tuple(caps for caps in self.caps if caps != GET_NEXT_CA_CERT)
        self.responder = self._responder()

    def handle(self, request: HTTPRequest) -> HTTPResponse:
        try:
            asked = http.read_request(request)
            match asked.operation:
                case Operation.GET_CA_CAPS:
                    return HTTPResponse(200, capabilities.render(self.caps))
                case Operation.GET_CA_CERT:
                    return self.certificates()
                case Operation.GET_NEXT_CA_CERT if self.following is not None:
                    return HTTPResponse(200, self.next_ca(), http.NEXT_CA_CERT)
                case Operation.PKI_OPERATION:
                    self.opener = self._opener(asked.message)
                    body = self.responder.respond(asked.message, self.decide)
                    return HTTPResponse(200, body, http.PKI_MESSAGE, self.headers)
            return HTTPResponse(404, b"not here")
        except Malformed as error:
            return HTTPResponse(400, error.message.encode())
        except HTTPRefused as error:
            return HTTPResponse(error.status, error.message.encode())

    def certificates(self) -> HTTPResponse:
        if self.ra is None:
            return HTTPResponse(200, self.ca.der, http.CA_CERT)
        return HTTPResponse(200, signed.certs_only([self.ra.der, self.ca.der]), http.CA_RA_CERT)

    def next_ca(self) -> bytes:
        assert self.following is not None
        return next_ca.make([self.following.der], key=self.ca.key, certificate=self.ca.certificate)

    def _opener(self, message: bytes) -> Holder:
        """Return the CA that a request is enveloped to, which is the one that is to issue."""
        if self.following is None:
            return self.ca
        found = self.responder.receive(message).envelope.recipient([self.following.credential])
        return self.ca if found is None else self.following

    def decide(self, request: Request, sender: VerifiedMessage) -> CertRep:
        self.asked.append((request, sender))
        if isinstance(request, PKCSReq | RenewalReq):
            self.wanted[sender.attributes.transaction_id] = request.csr
        decision = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        if isinstance(decision, FailInfoError):
            raise decision
        return decision(self, request, sender) if callable(decision) else decision

    def issue(self, wanted: csr.CertificationRequest) -> bytes:
        holder = keys.certify(wanted.subject.x509(), _Public(wanted.public_key), self.opener)
        return holder.der


@dataclass(frozen=True)
class _Public:
    """What `keys.certify` needs of a key whose private half is elsewhere."""

    key: Any

    def public_key(self) -> Any:
        return self.key


class Pair:
    """A client and a server.

    Args:
        decisions: see `Server`.
        ca: the CA.
        ra: the RA; None lets the CA do its work.
        allowed: the legacy algorithms that the server allows.
        client_allowed: the legacy algorithms that the client allows.
        caps: the GetCACaps keywords; what the server can do, when None.
        limits: of the client.
        signer: the client's key and certificate.
        password: the client's challengePassword, for keys that cannot encrypt.
        key_agreement: whether the server does it.
        following: the CA that will follow.
        seed: of all randomness but RSA padding.
    """

    def __init__(
        self,
        *decisions: Decision,
        ca: Holder | None = None,
        ra: Holder | str | None = "default",
        allowed: frozenset[Legacy] = NO_LEGACY,
        client_allowed: frozenset[Legacy] = NO_LEGACY,
        caps: Sequence[str] | None = None,
        limits: Limits | None = None,
        signer: Holder | None = None,
        password: str | None = None,
        key_agreement: bool = False,
        following: Holder | None = None,
        seed: int = 0,
    ) -> None:
        self.random = random.Random(seed).randbytes
        self.clock: datetime = keys.NOW
        self.ca = ca or keys.ca()
        self.server = Server(
            decisions,
            ca=self.ca,
            ra=keys.ra() if isinstance(ra, str) else ra,
            allowed=allowed,
            caps=caps,
            random=self.random,
            key_agreement=key_agreement,
            following=following,
        )
        self.signer = signer or keys.device()
        self.password = password
        self.client_allowed = client_allowed
        self.limits = limits or Limits()
        self.trips: list[Trip] = []
        self.waits: list[Wait] = []
        self.http: list[HTTPRequest] = []
        self._on_request: dict[int, Mishap] = {}
        self._on_reply: dict[int, Mishap] = {}
        self._exchange: Exchange | None = None

    # what may go wrong

    def on_request(self, number: int, mishap: Mishap) -> None:
        """Let something happen to the n-th PKIOperation on its way to the server."""
        self._on_request[number] = mishap

    def on_reply(self, number: int, mishap: Mishap) -> None:
        """Let something happen to the n-th PKIOperation's reply on its way back."""
        self._on_reply[number] = mishap

    # the client's side

    def run(self, flow: Generator[HTTPRequest | Wait, HTTPResponse | None, Any]) -> Any:
        """Drive a flow to its end, as a program would."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Wait):
                    self.waits.append(step)
                    self.clock += timedelta(seconds=step.seconds)
                    step = flow.send(None)
                elif (reply := self.carry(step)) is None:
                    step = flow.throw(TransportError("no answer came"))
                else:
                    step = flow.send(reply)
        except StopIteration as stop:
            return stop.value

    @property
    def exchange(self) -> Exchange:
        """What the client learnt from GetCACaps and GetCACert, with the CA's true fingerprint."""
        if self._exchange is None:
            found = self.run(transaction.ca_information())
            anchor = ca_certificates.find(found.certificates, fingerprint(self.ca.der))
            self._exchange = Exchange(
                ca=ca_certificates.trust(found.certificates, anchor, self.clock),
                choice=capabilities.choose(found.capabilities, self.client_allowed),
                signer=self.signer.credential,
                random=self.random,
                now=lambda: self.clock,
                allowed=self.client_allowed,
                limits=self.limits,
                password=self.password,
            )
        return self._exchange

    def csr(self, challenge: str | None = "secret", key: Any = None) -> csr.CertificationRequest:
        """Return a request for the signer's key."""
        der = csr.build(keys.name("device"), key or self.signer.key, challenge_password=challenge)
        return csr.read(der, NO_LEGACY)

    def enrol(
        self,
        request: PKCSReq | RenewalReq | None = None,
        transaction_id: TransactionID | None = None,
    ) -> Issued:
        """Enrol; by default a PKCSReq for the signer's key."""
        request = request or PKCSReq(self.csr())
        issued: Issued = self.run(transaction.enrol(self.exchange, request, transaction_id))
        return issued

    # one message at a time

    def ask(self, message: bytes) -> HTTPResponse:
        """Post any bytes to the server."""
        return self.server.handle(http.pki_operation(message, post=True))

    def answer_to(self, message: bytes, to: Holder | None = None) -> CertRep:
        """Post a message and read the CertRep with the key of whoever sent it.

        Nonces and the transactionID are not compared.
        """
        response = self.ask(message)
        assert response.status == 200, response.body
        return self.read_reply(response.body, to)

    def read_reply(self, reply: bytes, to: Holder | None = None) -> CertRep:
        """Read a CertRep of this pair's server, whatever transaction it is of."""
        signer = (self.server.ra or self.ca).certificate
        verified = pkimessage.verify(pkimessage.parse(reply), frozenset(Legacy), signers=[signer])
        return pkimessage.open_reply(
            verified,
            [(to or self.signer).credential],
            frozenset(Legacy),
            self.random,
            password=self.password,
        )

    def believe(self, reply: bytes) -> CertRep:
        """Let the client judge a reply to the request with `forge.ID` and `forge.NONCE`."""
        transaction_id = TransactionID(forge.ID.encode("ascii"))
        return transaction.read_reply(self.exchange, reply, transaction_id, forge.NONCE)

    # the network

    def carry(self, request: HTTPRequest) -> HTTPResponse | None:
        """Take a request to the server and its reply back, with whatever was arranged."""
        self.http.append(request)
        if Operation.PKI_OPERATION.value.encode() not in request.query:
            return self.server.handle(request)
        trip = Trip(sent=request)
        self.trips.append(trip)
        number = len(self.trips)
        trip.arrived = self._on_request.get(number, _pass)(self, request)
        if trip.arrived is None:
            return None
        trip.said = self.server.handle(trip.arrived)
        trip.reply = self._on_reply.get(number, _pass)(self, trip.said)
        return trip.reply

    # what happened

    @property
    def replies(self) -> list[bytes]:
        """The CertReps as the server sent them."""
        return [trip.said.body for trip in self.trips if trip.said]

    @property
    def kinds(self) -> list[str]:
        """The messages that the server opened, by name."""
        return [type(request).__name__ for request, _ in self.server.asked]


def _pass(pair: Pair, carried: Any) -> Any:
    return carried
