"""The server's end of a SCEP transaction, for any server: DER in, DER out.

    responder = Responder(
        signer=ra, credentials=[ra], random=os.urandom, now=lambda: datetime.now(UTC)
    )
    reply = responder.respond(body, decide)

`decide` gets the request and says `Success`, `Failure` or `Pending`.
A server that has to do something between the steps calls them itself:
`receive`, `verify`, `open`, `check_deliverable`, `reply`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, BadCertId, FailInfoError, Malformed
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import (
    AES128,
    DIGESTS,
    NO_LEGACY,
    RSA_KEY,
    SHA256,
    Cipher,
    Legacy,
)
from scepkit.protocol.asn1 import der
from scepkit.protocol.cms.enveloped import (
    Credential,
    Envelope,
    Undecryptable,
    check_recipient,
    undecryptable,
)
from scepkit.protocol.cms.key_transport import OAEP, OAEP_SHA256
from scepkit.protocol.cms.pbkdf2 import MAX_FOR_STRANGERS
from scepkit.protocol.cms.signed import Signer
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import NONCE_SIZE, MessageType
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
from scepkit.protocol.scep.pkimessage import OpenedRequest, PKIMessage, Random, VerifiedMessage

Decide: TypeAlias = Callable[[Request, VerifiedMessage], CertRep]
"""A server's decision on a request, given the facts about its sender."""

_NOBODY = der.sequence()
_MISSING = {
    MessageType.GET_CERT: "there is no such certificate",
    MessageType.GET_CRL: "there is no CA with this name",
}


class Responder:
    """Reads requests and writes CertReps with keys that are loaded once.

    Safe to share between threads: nothing changes after construction.

    Args:
        signer: the RA's (or CA's) key and certificate that sign CertReps.
        credentials: the keys that requests may be encrypted to; of several, the one that a request
            is addressed to signs its CertRep, since that is the one that the device knows.
        random: returns that many unpredictable octets, such as `os.urandom`.
        allowed: the legacy algorithms that are allowed.
        key_agreement: whether EC keys without a known password get key agreement, which RFC 8894
            does not know, but NDES and its clients do (checklist L-24).
        oaep: whether RSA keys get RSAES-OAEP though the request does not use it (P-23); old
            clients do not know it. Who uses it gets it anyway, with the same digests.
        now: returns the time, aware, for the signingTime of CertReps. XiPKI's client refuses those
            that have none, or one that is 5 minutes off; None, for who has no clock, leaves it out.
        max_iterations: rounds of PBKDF2 that a request may ask for (P-25). The sender is anybody.
    """

    def __init__(
        self,
        *,
        signer: Credential,
        credentials: Sequence[Credential],
        random: Random,
        allowed: frozenset[Legacy] = NO_LEGACY,
        key_agreement: bool = False,
        oaep: bool = False,
        now: Callable[[], datetime] | None = None,
        max_iterations: int = MAX_FOR_STRANGERS,
    ) -> None:
        self._credentials = tuple(credentials)
        self._signers = _signers(signer, allowed)
        self._signers_of = {one.certificate.der: _signers(one, allowed) for one in credentials}
        self._random = random
        self._allowed = allowed
        self._key_agreement = key_agreement
        self._oaep = oaep
        self._now = now
        self._max_iterations = max_iterations

    @property
    def allowed(self) -> frozenset[Legacy]:
        """Return the legacy algorithms that are allowed."""
        return self._allowed

    @property
    def needs_password(self) -> bool:
        """Say whether requests to a key of ours can only be encrypted with a password.

        Where all keys decrypt, no password is tried: what it costs, anybody could cause (P-26).
        """
        return any(c.rsa_key is None for c in self._credentials)

    def respond(self, message: bytes, decide: Decide) -> bytes:
        """Answer a request, and give away nothing about envelopes of others (checklist P-54).

        Anybody can sign pieces of a recorded PKCSReq anew, as if they were the content of another
        request, and nothing inside tells whose they are, but in a PKCS#10. Therefore:

        - A CertPoll is not even opened (RFC 8894 section 3.3.3): `decide` gets one with empty
          names. What it asks about is the sender's transactionID, and whose that is the key that
          signed (`sender.attributes.transaction_id`, `sender.certificate`).
        - A GetCert or GetCRL that cannot be read goes to `decide` as one for the serial number 0
          of a CA with the empty name, which nobody has.
        - What is wrong inside a PKCS#10 is told to a sender whose key it certifies, and to nobody
          else.
        - Whatever `decide` refuses a GetCert or GetCRL for, the device reads one badCertId, always
          with the same text: a reason could repeat what was in the envelope.

        Args:
            message: the body of a PKIOperation.
            decide: given the opened request and what is known of its sender, returns the answer,
                or raises one of the `FailInfoError` classes to refuse.

        Returns:
            The CertRep, DER, for `application/x-pki-message`.

        Raises:
            Malformed: it cannot be answered with a CertRep; HTTP 400 says so.
        """
        received = self.receive(message)
        try:
            verified = self.verify(received)
            request = self._request(verified)
            self._check(request, verified)
            password = _password(request)
            if not isinstance(request, CertPoll):
                self.check_deliverable(verified, password)
            answer = _decided(decide, request, verified)
            return self.reply(received, answer, verified, password)
        except FailInfoError as error:
            return self.reply(received, pkimessage.failure(error))

    def _request(self, verified: VerifiedMessage) -> Request:
        """Read a request as far as `decide` may know whether it can be read; see `respond`."""
        if verified.message_type is MessageType.CERT_POLL:
            return CertPoll(_NOBODY, _NOBODY)
        try:
            return self.open(verified).request
        except Undecryptable:
            if verified.message_type is MessageType.GET_CERT:
                return GetCert(_NOBODY, 0)
            if verified.message_type is MessageType.GET_CRL:
                return GetCRL(_NOBODY, 0)
            raise

    def _check(self, request: Request, verified: VerifiedMessage) -> None:
        """Make sure that all of a PKCS#10 can be read, and tell only its owner; see `respond`."""
        if not isinstance(request, PKCSReq | RenewalReq):
            return
        try:
            request.csr.check(self._allowed)
        except FailInfoError as error:
            if request.csr.key_hash == verified.certificate.key_hash:
                raise
            raise undecryptable(error.message) from error

    def receive(self, message: bytes) -> PKIMessage:
        """Read a request far enough to be able to answer it.

        Raises:
            Malformed: it is not far enough one.
        """
        return pkimessage.parse(message)

    def verify(self, received: PKIMessage) -> VerifiedMessage:
        """Check a request's signature and attributes.

        Raises:
            FailInfoError: what to answer.
        """
        return pkimessage.verify(received, self._allowed)

    def open(self, verified: VerifiedMessage, password: str | None = None) -> OpenedRequest:
        """Decrypt a request and read its content.

        Args:
            verified: the request.
            password: the one that may open it; see `pkimessage.open_request`.

        Raises:
            Undecryptable: what to answer, but a GetCert or GetCRL, whose answer is `missing`.
            FailInfoError: what to answer.
        """
        return pkimessage.open_request(
            verified,
            self._credentials,
            self._allowed,
            self._random,
            password=password,
            max_iterations=self._max_iterations,
        )

    def is_for_password(self, verified: VerifiedMessage) -> bool:
        """Say whether `open` would try a password on a request."""
        return self.needs_password and verified.envelope.needs_password(self._credentials)

    def check_deliverable(
        self, verified: VerifiedMessage, password: str | None, *, key_agreement: bool = False
    ) -> None:
        """Make sure that a SUCCESS could be encrypted to the sender, before anything is issued.

        Without this check a certificate could come to be that nobody ever gets (P-51).

        Args:
            verified: the request.
            password: the request's challengePassword, if it has one.
            key_agreement: whether the sender's EC key is known to do key agreement; it gets that
                then, whatever the responder does for others.

        Raises:
            BadAlg: the sender's key cannot encrypt, and there is no password to do it with.
        """
        if isinstance(verified.certificate.public_key, RSA_KEY):
            return
        cipher = verified.envelope.cipher(self._allowed) or AES128
        try:
            check_recipient(
                verified.certificate,
                cipher,
                password=password,
                key_agreement=key_agreement or self._key_agreement,
            )
        except BadAlg as error:
            raise BadAlg(
                f"the reply cannot be encrypted to the key that signed: {error.message}",
                hint=error.hint,
            ) from error

    def reply(
        self,
        received: PKIMessage,
        answer: CertRep,
        verified: VerifiedMessage | None = None,
        password: str | None = None,
        *,
        key_agreement: bool = False,
    ) -> bytes:
        """Write the CertRep to a request.

        Its algorithms are the request's where they are allowed, since the request is all that
        shows what a device can do (P-24), else AES-128-CBC and SHA-256 (RFC 8894 section 3.5.2).
        The content's key is wrapped as the request's was: a device that uses RSAES-OAEP gets that.

        Args:
            received: the request.
            answer: what to say.
            verified: the verified request; needed for a `Success`.
            password: the request's challengePassword; needed for a `Success` to a sender whose
                key cannot encrypt.
            key_agreement: see `check_deliverable`.

        Returns:
            DER.

        Raises:
            BadAlg: a `Success` cannot be encrypted to the sender; `check_deliverable` tells before.
        """
        signer = self._signer(received)
        cipher, oaep = self._ways(received.envelope, answer)
        return pkimessage.seal_reply(
            answer,
            to=received.attributes,
            sender_nonce=self._random(NONCE_SIZE),
            signer=signer,
            recipient=verified.certificate if verified else None,
            cipher=cipher,
            random=self._random,
            password=password,
            key_agreement=key_agreement or self._key_agreement,
            oaep=oaep,
            signing_time=self._now() if self._now else None,
        )

    def legacy_uses(self, received: PKIMessage) -> tuple[Legacy, ...]:
        """Name the legacy algorithms that a request uses outside its envelope, for the log."""
        if not self._allowed:
            return ()
        digest = DIGESTS.get(received.signer.digest_algorithm)
        cipher = received.envelope.cipher(self._allowed)
        found = [one.legacy for one in (digest, cipher) if one is not None]
        with suppress(BadAlg, Malformed):
            found += signatures.parse(received.signer.signature_algorithm, digest).legacy
        return tuple(dict.fromkeys(legacy for legacy in found if legacy is not None))

    def _signer(self, received: PKIMessage) -> Signer:
        signers = self._signers
        if len(self._credentials) > 1:
            addressed = received.envelope.recipient(self._credentials)
            if addressed is not None:
                signers = self._signers_of[addressed.certificate.der]
        return signers.get(received.signer.digest_algorithm) or signers[SHA256.oid]

    def _ways(self, envelope: Envelope, answer: CertRep) -> tuple[Cipher, OAEP | None]:
        """Return how a reply is encrypted; there is nothing to encrypt in any but a `Success`."""
        if not isinstance(answer, Success):
            return AES128, None
        cipher, oaep = envelope.ways(self._credentials, self._allowed)
        usual = OAEP_SHA256 if self._oaep else None
        return cipher or AES128, oaep or usual


def missing(kind: MessageType, reason: str = "") -> BadCertId:
    """Return the one refusal of a GetCert or GetCRL: not there, not for the requester, unreadable.

    Args:
        kind: GetCert or GetCRL.
        reason: what happened, for the log only.
    """
    return BadCertId(reason or _MISSING[kind], text=_MISSING[kind])


def _signers(credential: Credential, allowed: frozenset[Legacy]) -> dict[ObjectIdentifier, Signer]:
    """Return the signer of CertReps with a key, for each digest that they may have."""
    return {
        oid: Signer(credential, digest)
        for oid, digest in DIGESTS.items()
        if digest.legacy is None or digest.legacy in allowed
    }


def _decided(decide: Decide, request: Request, verified: VerifiedMessage) -> CertRep:
    if not isinstance(request, GetCert | GetCRL):
        return decide(request, verified)
    try:
        answer = decide(request, verified)
    except FailInfoError as error:
        raise missing(request.message_type, error.message) from error
    if isinstance(answer, Failure):
        raise missing(request.message_type, answer.text)
    return answer


def _password(request: Request) -> str | None:
    return request.csr.challenge_password if isinstance(request, PKCSReq | RenewalReq) else None
