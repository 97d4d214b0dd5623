"""The CA behind a SCEP server: its own claims, and the trust in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from scepkit.client import clock
from scepkit.client.transport import Pause, T, Transport, run_flow, sleep
from scepkit.errors import LegacyRefused, Malformed, TransportError, UsageError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates, capabilities, next_ca, transaction
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.capabilities import Capabilities, Choice
from scepkit.protocol.scep.transaction import CAInformation, Limits

# RFC 8894 section 4.1: the path unless told otherwise.
DEFAULT_PATH = "/cgi-bin/pkiclient.exe"


def normalize_url(url: str) -> str:
    """Return the URL that requests go to, without fragment, with a path.

    Args:
        url: such as `http://ca.example/scep`; without a path, the RFC's default one is taken.

    Raises:
        UsageError: it is not an HTTP URL, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"the URL cannot be read: {error}") from error
    if "@" in parts.netloc:
        # Not repeated: it holds a password.
        raise UsageError("a URL with a user name or a password is not supported")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{url!r} is not the URL of a SCEP server",
            hint="it starts with http:// or https://, such as http://ca.example/scep",
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path or DEFAULT_PATH, parts.query, ""))


_CHECK_URL = "check the URL; a browser shows what is there"
_CHECK_PATH = "check the path of the URL: the part after /scep/ is the name of an endpoint"
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class CA:
    """A CA that is trusted.

    Attributes:
        certificates: its certificates, by what they are for.
        choice: the algorithms to use with it.
        capabilities: the most that it has ever said it can do: give them to the next `trust`.
        withdrawn: those of them that it does not say any more. Either it can do less by now, or
            somebody is in between; they are used all the same.
    """

    certificates: TrustedCA
    choice: Choice
    capabilities: Capabilities = frozenset()
    withdrawn: Capabilities = frozenset()


ChooseAnchor: TypeAlias = Callable[[CAInformation], Certificate]
"""Returns the CA certificate to trust, or raises UntrustedCA: what the server says is no proof."""


def by_fingerprint(fingerprint: str) -> ChooseAnchor:
    """Return the choice of the CA certificate with a fingerprint (RFC 8894 section 2.2).

    Args:
        fingerprint: SHA-256 over the CA certificate, as its operator gives it: 64 hex digits,
            with or without `sha256:` and colons.

    Raises:
        UntrustedCA: it is no SHA-256 fingerprint.
    """
    ca_certificates.read_fingerprint(fingerprint)
    return lambda said: ca_certificates.find(said.certificates, fingerprint)


class CAClient:
    """Asks a SCEP server about its CA; nothing of this needs a key.

    Its arguments are `scepkit.client.client.Client`'s.
    """

    def __init__(
        self,
        url: str,
        *,
        identifier: str = "",
        transport: Transport | None = None,
        allowed: frozenset[Legacy] = NO_LEGACY,
        limits: Limits | None = None,
        pause: Pause = sleep,
    ) -> None:
        self.url = normalize_url(url)
        self.identifier = identifier
        self._transport = transport or _http_transport()
        self.allowed = allowed
        self._limits = limits or Limits()
        self._pause = pause

    def get_capabilities(self) -> Capabilities:
        """Ask for the server's capabilities (RFC 8894 section 3.5.1).

        Returns:
            Keywords in lower case; none when the server has no usable answer.

        Raises:
            TransportError: the server cannot be reached, or is too busy to say.
        """
        return self._run(transaction.ca_capabilities(self.identifier, self._limits))

    def ask(self) -> CAInformation:
        """Ask for capabilities and certificates; nothing of the answer is authenticated.

        Raises:
            TransportError: no answer.
            Malformed: the answer holds no certificates.
        """
        try:
            return self._run(transaction.ca_information(self.identifier, self._limits))
        except Malformed as error:
            raise Malformed(
                f"{self.url} does not answer like a SCEP server: {error.message}",
                hint=_CHECK_URL,
            ) from error
        except TransportError as error:
            if error.status is None:
                raise
            hint = _CHECK_PATH if error.status == _NOT_FOUND else _CHECK_URL
            raise TransportError(error.message, status=error.status, hint=hint) from error

    def trust(
        self,
        information: CAInformation,
        anchor: Certificate,
        seen: Capabilities = frozenset(),
    ) -> CA:
        """Trust a CA by one of its certificates (RFC 8894 section 2.2).

        Args:
            information: what `ask` returned.
            anchor: the CA certificate, among them or above them, that was compared out of band.
            seen: the `capabilities` that an earlier `trust` returned, so that whoever is in
                between cannot make the CA look weaker than it is (checklist P-61).

        Raises:
            UntrustedCA: none of the certificates chains to it.
            LegacyRefused: the CA can only do algorithms that are not allowed.
        """
        # A busy server says nothing of itself, so what it said earlier stands.
        found = seen if information.unanswered else information.capabilities
        missing = capabilities.withdrawn(found, seen)
        return CA(
            ca_certificates.trust(information.certificates, anchor, clock.now()),
            self._choose(found | missing, information.unanswered),
            found | missing,
            missing,
        )

    def _choose(self, found: Capabilities, unanswered: str) -> Choice:
        try:
            return capabilities.choose(found, self.allowed)
        except LegacyRefused as error:
            if not unanswered:
                raise
            # To allow legacy algorithms would be the wrong advice: nobody knows what it can do.
            raise LegacyRefused(
                f"{unanswered}, so the CA's capabilities are not known",
                hint="the server is busy, or a proxy before it cannot reach it; ask again later",
            ) from error

    def get_ca(self, fingerprint: str) -> CA:
        """Ask for the CA's certificates and trust the one with a fingerprint.

        Args:
            fingerprint: as for `by_fingerprint`.

        Raises:
            UntrustedCA: the server has no such CA certificate.
            LegacyRefused: the CA can only do algorithms that are not allowed.
            TransportError: no answer.
            Malformed: the answer holds no certificates.
        """
        choose = by_fingerprint(fingerprint)
        information = self.ask()
        return self.trust(information, choose(information))

    def get_next_certificates(self, ca: CA) -> tuple[Certificate, ...]:
        """Ask for the next CA's certificates, as the current CA vouches for them.

        Raises:
            NoSuccessor: there is none, which is the usual state of a CA.
            TransportError: no answer.
            BadReply: the answer must not be believed.
            LegacyRefused: the CA signed it with algorithms that are not allowed.
        """
        return self._run(
            transaction.next_ca_certificates(
                ca.certificates,
                clock.now,
                identifier=self.identifier,
                allowed=self.allowed,
                limits=self._limits,
            )
        )

    def trust_next(self, ca: CA, certificates: Sequence[Certificate]) -> CA:
        """Trust the next CA as the current one vouched for it.

        Args:
            ca: the current CA.
            certificates: what `get_next_certificates` returned.

        Raises:
            BadReply: there is no CA certificate among them, or it is over already.
        """
        return replace(ca, certificates=next_ca.trust(certificates, clock.now()))

    def get_next_ca(self, ca: CA) -> CA:
        """Ask for the CA that will follow a trusted one (RFC 8894 section 4.7).

        Raises:
            NoSuccessor, TransportError, LegacyRefused: see `get_next_certificates`.
            BadReply: the answer must not be believed, or the next CA is over already.
        """
        return self.trust_next(ca, self.get_next_certificates(ca))

    def _run(self, flow: transaction.Flow[T]) -> T:
        return run_flow(flow, self._transport, self.url, self._pause)


def _http_transport() -> Transport:
    # Here, since urllib3 takes as long to import as everything else together.
    from scepkit.client.http import HTTPTransport

    return HTTPTransport()
