"""The time of a renewal, the CA to trust by then, and the change to the next CA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepkit.client.client import CA, Client
from scepkit.client.folder import Folder
from scepkit.client.trust import now
from scepkit.errors import BadReply, UntrustedCA
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import capabilities, next_ca
from scepkit.protocol.scep.capabilities import Capabilities
from scepkit.protocol.scep.transaction import CAInformation

# Renewing in the last third of a certificate's life leaves time for an approval, and for a CA that
# is away; more than a month of it helps nobody.
_LONGEST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Found:
    """A CA that was found again.

    Attributes:
        ca: the CA.
        rolled_over: whether it is the one that was announced as the next.
    """

    ca: CA
    rolled_over: bool


def due(certificate: Certificate, before: timedelta | None = None) -> datetime:
    """Return from when on a certificate is to be renewed.

    Args:
        certificate: the certificate.
        before: how long before its end; a third of its life unless given, at most 30 days.
    """
    start, end = certificate.validity
    return end - (min((end - start) / 3, _LONGEST) if before is None else before)


def find(
    client: Client,
    information: CAInformation,
    folder: Folder,
    seen: Capabilities = frozenset(),
    anchor: Certificate | None = None,
) -> Found:
    """Trust the CA that a folder trusts, or the one that it announced as its successor.

    Args:
        client: for the CA's server.
        information: what the server says of itself.
        folder: with `ca.pem`, and `next-ca.pem` when there is a successor.
        seen: what the CA has ever said it can do.
        anchor: the CA certificate to trust in place of those.

    Raises:
        UntrustedCA: the server shows neither.
        SettingsError: a file cannot be used.
        LegacyRefused: the CA can only do algorithms that are not allowed.
    """
    following = folder.next_ca()
    if anchor is not None:
        return Found(client.trust(information, anchor, seen), rolled_over=anchor in following)
    # One that is over is trusted no more: nobody says so when a successor is given up.
    anchor = successor(following, now())
    if anchor is not None:
        # It is not in GetCACert before it is in force (RFC 8894 section 2.2), so it goes first.
        try:
            return Found(client.trust(information, anchor, seen), rolled_over=True)
        except UntrustedCA:
            pass
    return Found(client.trust(information, folder.ca(), seen), rolled_over=False)


def announces(ca: CA) -> bool:
    """Say whether a CA answers GetNextCACert."""
    return capabilities.GET_NEXT_CA_CERT.lower() in ca.capabilities


def may_switch(folder: Folder, now: datetime, *, rolled_over: bool) -> bool:
    """Say whether the certificate of the next CA that waits in a folder is to be installed.

    It has to be of the next CA that was announced last, for another one may have been given up
    since; it has to be valid, with its whole chain; and the next CA is in force, or the current
    certificate is over (RFC 8894 section 5.1, checklist L-20).

    Args:
        folder: the folder.
        now: an aware datetime.
        rolled_over: whether the next CA is in force.

    Raises:
        SettingsError: a file cannot be used.
    """
    coming, current = folder.ahead.certificate(), folder.certificate()
    issuers = folder.ahead.chain()
    if coming is None or not issuers or issuers[0] not in folder.next_ca():
        return False
    try:
        chain.build(coming, issuers, folder.ahead.ca(), now)
    except BadReply:
        return False
    if now < folder.ahead.ca().not_before:
        return False
    return rolled_over or current is None or now > current.not_after


def successor(certificates: Sequence[Certificate], now: datetime) -> Certificate | None:
    """Return the next CA certificate that a folder knows, unless it is over already."""
    if not certificates:
        return None
    try:
        return next_ca.trust(certificates, now).anchor
    except BadReply:
        return None
