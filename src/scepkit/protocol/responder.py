"""The server's end of a SCEP transaction, for any server: DER in, DER out.

    responder = Responder(signer=ra, credentials=[ra], random=os.urandom)
    reply = responder.respond(body, decide)

`decide` gets the request and says `Success`, `Failure` or `Pending`.
A server that has to do something between the steps calls them itself:
`receive`, `verify`, `open`, `check_deliverable`, `reply`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.errors import BadAlg, FailInfoError
from scepkit.protocol import envelope, pkimessage
from scepkit.protocol.algorithms import (
    AES128,
    DIGESTS,
    NO_LEGACY,
    SHA256,
    Cipher,
    Digest,
    Legacy,
)
from scepkit.protocol.attributes import NONCE_SIZE
from scepkit.protocol.envelope import Credential
from scepkit.protocol.messages import CertRep, PKCSReq, RenewalReq, Request, Success
from scepkit.protocol.pkimessage import OpenedRequest, PKIMessage, Random, VerifiedMessage


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
        oaep: whether RSA keys get RSAES-OAEP, which old clients do not know (P-23).
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
    ) -> None:
        self._signer = signer
        self._credentials = tuple(credentials)
        self._random = random
        self._allowed = allowed
        self._key_agreement = key_agreement
        self._oaep = oaep

    @property
    def needs_password(self) -> bool:
        """Whether requests can only be encrypted with a password: no key of ours decrypts.

        Where one does, no password is tried: what it costs, anybody could cause (P-26).
        """
        return not any(isinstance(c.key, rsa.RSAPrivateKey) for c in self._credentials)

    def respond(
        self, message: bytes, decide: Callable[[Request, VerifiedMessage], CertRep]
    ) -> bytes:
        """Answer a request.

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
            request = self.open(verified).request
            password = _password(request)
            if isinstance(request, PKCSReq | RenewalReq):
                self.check_deliverable(verified, password)
            return self.reply(received, decide(request, verified), verified, password)
        except FailInfoError as error:
            return self.reply(received, pkimessage.failure(error))

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
        """Decrypt a request and read what it asks for.

        Args:
            verified: the request.
            password: the one that may open it; see `pkimessage.open_request`.

        Raises:
            FailInfoError: what to answer.
        """
        return pkimessage.open_request(
            verified, self._credentials, self._allowed, self._random, password=password
        )

    def check_deliverable(self, verified: VerifiedMessage, password: str | None) -> None:
        """Make sure that a SUCCESS could be encrypted to the sender, before anything is issued.

        Without this check a certificate could come to be that nobody ever gets (P-51).

        Args:
            verified: the request.
            password: the request's challengePassword, if it has one.

        Raises:
            BadAlg: the sender's key cannot encrypt, and there is no password to do it with.
        """
        cipher = envelope.cipher_of(verified.content, self._allowed) or AES128
        try:
            envelope.check_recipient(
                verified.certificate, cipher, password=password, key_agreement=self._key_agreement
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
    ) -> bytes:
        """Write the CertRep to a request.

        Its algorithms are the request's where they are allowed, since the request is all that
        shows what a device can do (P-24), else AES-128-CBC and SHA-256 (RFC 8894 section 3.5.2).

        Args:
            received: the request.
            answer: what to say.
            verified: the verified request; needed for a `Success`.
            password: the request's challengePassword; needed for a `Success` to a sender whose
                key cannot encrypt.

        Returns:
            DER.

        Raises:
            BadAlg: a `Success` cannot be encrypted to the sender; `check_deliverable` tells before.
        """
        return pkimessage.seal_reply(
            answer,
            to=received.attributes,
            sender_nonce=self._random(NONCE_SIZE),
            signer=self._signer_for(received),
            recipient=verified.certificate if verified else None,
            digest=self._digest(received),
            cipher=self._cipher(received) if isinstance(answer, Success) else AES128,
            random=self._random,
            password=password,
            key_agreement=self._key_agreement,
            oaep=self._oaep,
        )

    def legacy_uses(self, received: PKIMessage) -> tuple[Legacy, ...]:
        """Name the legacy algorithms that a request makes use of, for the log."""
        if not self._allowed:
            return ()
        digest = DIGESTS.get(received.signer.digest_algorithm)
        cipher = envelope.cipher_of(received.signed.content or b"", self._allowed)
        return tuple(a.legacy for a in (digest, cipher) if a is not None and a.legacy is not None)

    def _signer_for(self, received: PKIMessage) -> Credential:
        if len(self._credentials) == 1:
            return self._signer
        content = received.signed.content or b""
        return envelope.recipient_of(content, self._credentials) or self._signer

    def _digest(self, received: PKIMessage) -> Digest:
        digest = DIGESTS.get(received.signer.digest_algorithm, SHA256)
        return digest if digest.legacy is None or digest.legacy in self._allowed else SHA256

    def _cipher(self, received: PKIMessage) -> Cipher:
        return envelope.cipher_of(received.signed.content or b"", self._allowed) or AES128


def _password(request: Request) -> str | None:
    return request.csr.challenge_password if isinstance(request, PKCSReq | RenewalReq) else None
