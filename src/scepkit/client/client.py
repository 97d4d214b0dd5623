"""A SCEP client for other programs.

client = Client("http://ca.example/scep")
ca = client.get_ca("sha256:5a1f…")
key = generate_key("rsa:2048")
issued = client.enrol(ca, key, "CN=dev1,O=Example", challenge="…")
issued.certificate, issued.chain
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.client import driver, orders
from scepkit.client.driver import Pause
from scepkit.client.orders import Order
from scepkit.client.transport import Transport
from scepkit.client.url import normalize
from scepkit.errors import Malformed, TransportError
from scepkit.protocol import cacerts, capabilities, transaction
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.attributes import TransactionID
from scepkit.protocol.cacerts import TrustedCA
from scepkit.protocol.capabilities import Capabilities, Choice
from scepkit.protocol.transaction import CAInformation, Exchange, Issued, Limits

_CHECK_URL = "check the URL; a browser shows what is there"


@dataclass(frozen=True, slots=True)
class CA:
    """A CA that is trusted.

    Attributes:
        certificates: its certificates, by what they are for.
        choice: the algorithms to use with it.
    """

    certificates: TrustedCA
    choice: Choice


class Client:
    """Gets certificates from one SCEP server.

    Args:
        url: the server's, such as `http://ca.example/scep`.
        identifier: selects among several CAs, for servers that need it.
        transport: how to reach it; HTTP(S) by urllib3 unless given.
        allowed: legacy algorithms to use with a CA that can do no better.
        limits: when to ask again, and when to stop.
        pause: called for every wait; see `scepkit.client.driver.run`.

    Raises:
        UsageError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        identifier: str = "",
        transport: Transport | None = None,
        allowed: frozenset[Legacy] = NO_LEGACY,
        limits: Limits | None = None,
        pause: Pause = driver.sleep,
    ) -> None:
        self.url = normalize(url)
        self._identifier = identifier
        self._transport = transport or _http_transport()
        self._allowed = allowed
        self._limits = limits or Limits()
        self._pause = pause

    def get_capabilities(self) -> Capabilities:
        """Ask what the server can do (RFC 8894 section 3.5.1).

        Returns:
            Keywords in lower case; none when the server has no usable answer.

        Raises:
            TransportError: the server cannot be reached.
        """
        return self._run(transaction.ca_capabilities(self._identifier))

    def ask(self) -> CAInformation:
        """Ask for capabilities and certificates; nothing of the answer is authenticated.

        Raises:
            TransportError: no answer.
            Malformed: the answer holds no certificates.
        """
        try:
            return self._run(transaction.ca_information(self._identifier, self._limits))
        except Malformed as error:
            raise Malformed(
                f"{self.url} does not answer like a SCEP server: {error.message}",
                hint=_CHECK_URL,
            ) from error
        except TransportError as error:
            if error.status is None:
                raise
            raise TransportError(error.message, status=error.status, hint=_CHECK_URL) from error

    def trust(self, information: CAInformation, anchor: x509.Certificate) -> CA:
        """Trust a CA by one of its certificates (RFC 8894 section 2.2).

        Args:
            information: what `ask` returned.
            anchor: the CA certificate among them that was compared out of band.

        Raises:
            UntrustedCA: none of the certificates chains to it.
            LegacyRefused: the CA can only do algorithms that are not allowed.
        """
        return CA(
            cacerts.trust(information.certificates, anchor, _now()),
            capabilities.choose(information.capabilities, self._allowed),
        )

    def get_ca(self, fingerprint: str) -> CA:
        """Ask for the CA's certificates and trust the one with a fingerprint.

        Args:
            fingerprint: SHA-256 over the CA certificate, as its operator gives it: 64 hex digits,
                with or without `sha256:` and colons.

        Raises:
            UntrustedCA: the server has no such CA certificate.
            LegacyRefused: the CA can only do algorithms that are not allowed.
            TransportError: no answer.
            Malformed: the answer holds no certificates.
        """
        cacerts.read_fingerprint(fingerprint)
        information = self.ask()
        return self.trust(information, cacerts.find(information.certificates, fingerprint))

    def enrol(
        self,
        ca: CA,
        key: rsa.RSAPrivateKey,
        subject: str | x509.Name,
        *,
        names: Iterable[str | x509.GeneralName] = (),
        challenge: str | None = None,
        transaction_id: TransactionID | None = None,
    ) -> Issued:
        """Get a first certificate for a key.

        Called again with the same arguments it asks for the same again, and gets the certificate
        that may have been issued meanwhile; so keep the key until its certificate is there.
        Only a RequestRefused ends the matter: then take a fresh key, or a fresh transaction_id.

        Args:
            ca: what `get_ca` or `trust` returned.
            key: the key to be certified.
            subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
            names: subject alternative names, or text such as `dns:dev1.example`.
            challenge: the challengePassword, if the CA wants one.
            transaction_id: derived from all of the above unless given.

        Returns:
            The certificate and its chain; everything about them has been checked.

        Raises:
            UsageError: an argument cannot be written into a request.
            RequestRefused: the CA said no.
            StillPending: the CA has not decided, and the limits were reached.
            BadReply: the answer must not be believed.
            LegacyRefused: the answer uses algorithms that are not allowed.
            TransportError: no answer.
        """
        order = orders.make(
            key,
            subject,
            names=names,
            challenge=challenge,
            transaction_id=transaction_id,
            now=_now(),
        )
        return self.submit(ca, order)

    def submit(self, ca: CA, order: Order) -> Issued:
        """Get the certificate for an order; raises what `enrol` raises."""
        exchange = Exchange(
            ca=ca.certificates,
            choice=ca.choice,
            signer=order.signer,
            random=os.urandom,
            now=_now,
            allowed=self._allowed,
            limits=self._limits,
        )
        return self._run(transaction.enrol(exchange, order.request, order.transaction_id))

    def _run(self, flow: transaction.Flow[driver.T]) -> driver.T:
        return driver.run(flow, self._transport, self.url, self._pause)


def _http_transport() -> Transport:
    # Here, since urllib3 takes as long to import as everything else together.
    from scepkit.client.http import HTTPTransport

    return HTTPTransport()


def _now() -> datetime:
    return datetime.now(UTC)
