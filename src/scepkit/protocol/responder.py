"""The server's end of a SCEP transaction, for any server: DER in, DER out.

    responder = Responder(signer=ra, credentials=[ra], random=os.urandom)
    reply = responder.respond(body, decide)

`decide` gets the request and says `Success`, `Failure` or `Pending`.
A server that has to do something between the steps calls them itself:
`receive`, `verify`, `open`, `reply`.
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
from scepkit.protocol.messages import CertRep, Request, Success
from scepkit.protocol.pkimessage import PKIMessage, Random, VerifiedMessage


class Responder:
    """Reads requests and writes CertReps with keys that are loaded once.

    Safe to share between threads: nothing changes after construction.

    Args:
        signer: the RA's (or CA's) key and certificate that sign every CertRep.
        credentials: the keys that requests may be encrypted to.
        random: returns that many unpredictable octets, such as `os.urandom`.
        allowed: the legacy algorithms that are allowed.
    """

    def __init__(
        self,
        *,
        signer: Credential,
        credentials: Sequence[Credential],
        random: Random,
        allowed: frozenset[Legacy] = NO_LEGACY,
    ) -> None:
        self._signer = signer
        self._credentials = tuple(credentials)
        self._random = random
        self._allowed = allowed

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
            return self.reply(received, decide(self.open(verified), verified), verified)
        except FailInfoError as error:
            return self.reply(received, pkimessage.failure(error))

    def receive(self, message: bytes) -> PKIMessage:
        """Read a request far enough to be able to answer it.

        Raises:
            Malformed: it is not far enough one.
        """
        return pkimessage.parse(message)

    def verify(self, received: PKIMessage) -> VerifiedMessage:
        """Check a request's signature and attributes, and that its sender can read a reply.

        Raises:
            FailInfoError: what to answer.
        """
        verified = pkimessage.verify(received, self._allowed)
        # Whether the reply can be delivered is settled before anything is issued (P-51).
        if not isinstance(verified.certificate.public_key, rsa.RSAPublicKey):
            raise BadAlg("the reply cannot be encrypted to the key that signed; RSA is needed")
        return verified

    def open(self, verified: VerifiedMessage) -> Request:
        """Decrypt a request and read what it asks for.

        Raises:
            FailInfoError: what to answer.
        """
        return pkimessage.open_request(verified, self._credentials, self._allowed, self._random)

    def reply(
        self, received: PKIMessage, answer: CertRep, verified: VerifiedMessage | None = None
    ) -> bytes:
        """Write the CertRep to a request.

        Its algorithms are the request's where they are allowed, since the request is all that
        shows what a device can do (P-24), else AES-128-CBC and SHA-256 (RFC 8894 section 3.5.2).

        Args:
            received: the request.
            answer: what to say.
            verified: the verified request; needed for a `Success`.

        Returns:
            DER.
        """
        return pkimessage.seal_reply(
            answer,
            to=received.attributes,
            sender_nonce=self._random(NONCE_SIZE),
            signer=self._signer,
            recipient=verified.certificate if verified else None,
            digest=self._digest(received),
            cipher=self._cipher(received) if isinstance(answer, Success) else AES128,
            random=self._random,
        )

    def legacy_uses(self, received: PKIMessage) -> tuple[Legacy, ...]:
        """Name the legacy algorithms that a request makes use of, for the log."""
        if not self._allowed:
            return ()
        digest = DIGESTS.get(received.signer.digest_algorithm)
        cipher = envelope.cipher_of(received.signed.content or b"", self._allowed)
        return tuple(a.legacy for a in (digest, cipher) if a is not None and a.legacy is not None)

    def _digest(self, received: PKIMessage) -> Digest:
        digest = DIGESTS.get(received.signer.digest_algorithm, SHA256)
        return digest if digest.legacy is None or digest.legacy in self._allowed else SHA256

    def _cipher(self, received: PKIMessage) -> Cipher:
        return envelope.cipher_of(received.signed.content or b"", self._allowed) or AES128
