"""The issuer: whoever certifies an order. The CA here (`authority`) is one, other people's are too.

An issuer that has to wait for a network returns an awaitable: it is awaited on the event loop, so
that no thread which does private-key work waits with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from scepkit.ca.identity import Identity
from scepkit.protocol.certificate import Certificate, listed_names
from scepkit.protocol.value import value

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime, timedelta

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepkit.ca.profiles.profile import Profile
    from scepkit.protocol.algorithms import PSSPublicKey
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.extensions import Extensions


@value()
class Order:
    """A certificate that somebody is entitled to.

    Attributes:
        subject: taken over as it reads, or refused; see `subject_rules.certified_subject`.
        public_key: RSA, EC or Ed25519; its proof of possession was checked.
        spki: that key's canonical SubjectPublicKeyInfo, DER, where it is known; else it is written
            by whoever needs it.
        requested: the extensions that the request asks for; wishes, no more.
        profile: what may be granted.
        now: the time, aware.
        serial: above 0 and below 2**159; the issuer draws one where there is none.
        csr: the PKCS#10, for an issuer that passes one on.
        endpoint: the name of the endpoint that orders.
        transaction_id: the transactionID of the request.
        fingerprint: the octets that make a request the same request.
        identity: the treatment of names and purposes by which somebody logs in.
        validity: the most that it may be valid for, where somebody has said that.
    """

    subject: Name
    public_key: PublicKeyTypes | PSSPublicKey
    requested: Extensions
    profile: Profile
    now: datetime
    spki: bytes = b""
    serial: int | None = None
    csr: CertificationRequest | None = None
    endpoint: str = ""
    transaction_id: bytes = b""
    fingerprint: bytes = b""
    identity: Identity = Identity.LEFT_OUT
    validity: timedelta | None = None

    @property
    def id(self) -> str:
        """Return the name of the order; it is the same in every attempt, also after a crash."""
        return order_id(self.endpoint, self.transaction_id, self.fingerprint)


def order_id(endpoint: str, transaction_id: bytes, fingerprint: bytes) -> str:
    """Return the name of the order for a request; arguments as in `Order`."""
    parts = endpoint.encode(), transaction_id, fingerprint
    digests = (hashlib.sha256(one).digest() for one in parts)
    return hashlib.sha256(b"".join(digests)).hexdigest()


@value()
class IssuedCertificate:
    """A certificate as its issuer hands it over: its octets, and what has to be stored beside them.

    Whoever makes a certificate knows all of it, and need not read it back.

    Attributes:
        der: the certificate.
        serial: its serial number.
        not_before: from when it is valid, aware, in whole seconds.
        not_after: the end of its validity, aware, in whole seconds.
        key_hash: SHA-256 of its canonical SubjectPublicKeyInfo, 32 octets.
        names: its alternative names, to search in (`listed_names`).
        granted: those of its extensions that answer what was asked for, each DER, where that is
            known without reading it.
    """

    der: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    key_hash: bytes
    names: str = ""
    granted: tuple[bytes, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, der: bytes) -> IssuedCertificate:
        """Read what another CA issued.

        Raises:
            Malformed: it is no certificate, or its validity cannot be read.
        """
        certificate = Certificate.read(der)
        start, end = certificate.validity
        names = listed_names(der)
        return cls(der, certificate.serial, start, end, certificate.key_hash, names)


@dataclass(frozen=True, slots=True)
class Later:
    """The issuer has taken the order and not decided: the device is told PENDING, and asks again.

    Whenever it does, the issuer gets the same order again.
    """


class Issuer(Protocol):
    """Certifies orders. Threads may share it.

    The same order, by its id, gets the same certificate however often it is asked for: an answer
    may be lost between the issuer and the database, and is then asked for again.
    """

    @property
    def name(self) -> str:
        """Return the name by which log and metrics call it."""

    @property
    def key_hash(self) -> bytes:
        """Return SHA-256 of its CA's DER SubjectPublicKeyInfo, 32 octets."""

    def certify(
        self, order: Order
    ) -> IssuedCertificate | Later | Awaitable[IssuedCertificate | Later]:
        """Certify an order; `IssuedCertificate.read` takes the octets of another CA's certificate.

        Raises:
            FailInfoError: it is refused, for good.
            Local: it cannot be certified now, which is no fault of the peer's.
        """

    def withdraw(self, certificate: IssuedCertificate) -> Awaitable[None] | None:
        """Revoke a certificate that will never be sent: something came between it and the commit.

        Raises:
            Exception: it could not be; that is reported to the operator.
        """
