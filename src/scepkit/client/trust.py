"""The CA behind a SCEP server, the trust in it, and the server that both clients know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from scepkit.client import clock
from scepkit.errors import LegacyRefused, UsageError
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates, capabilities, next_ca
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.capabilities import Capabilities, Choice
from scepkit.protocol.scep.flow import BUSY_HINT
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

    @property
    def offers_renewal_info(self) -> bool:
        """Say whether it answers when a certificate is to be renewed (RFC 9773)."""
        return capabilities.offers_renewal_info(self.capabilities)


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


class SCEPServer:
    """Knows a SCEP server, and says which of its CAs to trust; nothing of this asks anybody.

    `Client` and `AsyncClient` are one each, and `flows` are run with one.

    Args:
        url: the server's, such as `http://ca.example/scep`.
        identifier: selects among several CAs, for servers that need it.
        allowed: legacy algorithms to use with a CA that can do no better.
        limits: the pace of polling, and its end.

    Raises:
        UsageError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        identifier: str = "",
        allowed: frozenset[Legacy] = NO_LEGACY,
        limits: Limits | None = None,
    ) -> None:
        self.url = normalize_url(url)
        self.identifier = identifier
        self.allowed = allowed
        self.limits = limits or Limits()

    def trust(
        self,
        information: CAInformation,
        anchor: Certificate,
        seen: Capabilities = frozenset(),
    ) -> CA:
        """Trust a CA by one of its certificates (RFC 8894 section 2.2).

        Args:
            information: what `flows.ask` returned.
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
                hint=BUSY_HINT,
            ) from error

    def trust_next(self, ca: CA, certificates: Sequence[Certificate]) -> CA:
        """Trust the next CA as the current one vouched for it.

        Args:
            ca: the current CA.
            certificates: what `get_next_certificates` returned.

        Raises:
            BadReply: there is no CA certificate among them, or it is over already.
        """
        return replace(ca, certificates=next_ca.trust(certificates, clock.now()))
