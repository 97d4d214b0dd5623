"""The protection of an outgoing message, by signature or MAC (RFC 9810 section 5.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scepkit.protocol.algorithms import SHA256, Digest
from scepkit.protocol.cmp import header as headers
from scepkit.protocol.cmp import mac, message, signature
from scepkit.protocol.cmp.header import Header
from scepkit.protocol.cmp.mac import Mac
from scepkit.protocol.cms.enveloped import Credential


class Protector(Protocol):
    """A key or a secret that can protect a message."""

    @property
    def name(self) -> bytes:
        """The Name that goes into `sender`, DER."""

    @property
    def key_identifier(self) -> bytes | None:
        """The senderKID."""

    def protect(self, header: Header, body: bytes) -> bytes:
        """Return the whole PKIMessage for a header and a PKIBody."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Protects by a signature.

    OpenSSL wants digitalSignature in the certificate's keyUsage, where there is one, that it is
    valid now, and everything between it and the root that it trusts in `chain`.

    Attributes:
        credential: the private key and its certificate.
        digest: the digest, unless the key has no choice.
        chain: DER of further certificates that go along.
    """

    credential: Credential
    digest: Digest = SHA256
    chain: Sequence[bytes] = ()

    @property
    def name(self) -> bytes:
        """The subject of the certificate, byte for byte: peers compare it."""
        return self.credential.certificate.subject

    @property
    def key_identifier(self) -> bytes | None:
        """The subjectKeyIdentifier of the certificate; peers find it in extraCerts by that."""
        return self.credential.certificate.subject_key_identifier

    def protect(self, header: Header, body: bytes) -> bytes:
        """Sign; the certificate is the first of extraCerts (RFC 9810 section 5.1)."""
        key, certificate = self.credential.key, self.credential.certificate
        header_der = headers.write(header, signature.algorithm(key, self.digest))
        covered = message.protected_part(header_der, body)
        value = signature.sign(key, self.digest, covered)
        return message.write(header_der, body, value, (certificate.der, *self.chain))


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """Protects by a MAC.

    Attributes:
        secret: the secret. Secret.
        reference: which secret it is: the senderKID of both ends.
        parameters: the MAC, with a salt that was never used before.
        name: the Name that goes into `sender`, DER.
        chain: DER of certificates that go along.
    """

    secret: str = field(repr=False)
    reference: bytes | None
    parameters: Mac
    name: bytes
    chain: Sequence[bytes] = ()

    @classmethod
    def new(
        cls, secret: str, reference: bytes, name: bytes, random: Callable[[int], bytes]
    ) -> SharedSecret:
        """Return the protection that our client uses: PBMAC1 with SHA-256."""
        return cls(secret, reference, mac.new(random), name)

    @property
    def key_identifier(self) -> bytes | None:
        """The reference (RFC 9483 section 3.1)."""
        return self.reference

    def protect(self, header: Header, body: bytes) -> bytes:
        """Make the MAC."""
        header_der = headers.write(header, self.parameters.der())
        value = self.parameters.compute(self.secret, message.protected_part(header_der, body))
        return message.write(header_der, body, value, self.chain)
