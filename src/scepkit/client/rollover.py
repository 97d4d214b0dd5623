"""The CA of a directory, found again, and the change to the one that follows it.

RFC 8894 sections 4.7 and 5.1: the CA vouches for its successor before that is in force, and may
issue a certificate of it in advance, which waits in the directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scepkit.client import clock
from scepkit.client.client import CA, Client
from scepkit.client.events import (
    NextCAAnnounced,
    NextCAInForce,
    NextCAUnknown,
    NextCAUntrusted,
    Tell,
)
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.errors import (
    BadReply,
    LegacyRefused,
    NoSuccessor,
    ScepError,
    TransportError,
    UntrustedCA,
)
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import capabilities, next_ca
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.capabilities import Capabilities
from scepkit.protocol.scep.transaction import CAInformation, Issued

# How often a CA is asked for its successor when there is nothing else to ask.
_LOOK_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class FoundCA:
    """A CA that was found again.

    Attributes:
        ca: the CA.
        rolled_over: whether it is the one that was announced as the next.
    """

    ca: CA
    rolled_over: bool

    def has_issued(self, issued: Issued) -> bool:
        """Say whether a certificate is this CA's, and not of the one that it replaced."""
        return issued.chain[-1] == self.ca.certificates.anchor


def find(
    client: Client,
    information: CAInformation,
    folder: Folder,
    seen: Capabilities = frozenset(),
    anchor: Certificate | None = None,
) -> FoundCA:
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
    # One that is over is trusted no more: nobody says so when a successor is given up.
    following = successor(folder.next_ca(), clock.now())
    if following is not None:
        # It is not in GetCACert before it is in force (RFC 8894 section 2.2), so it goes first.
        try:
            ca = client.trust(information, anchor or following.anchor, seen)
        except UntrustedCA:
            pass
        else:
            # Below one root the CA of before is trusted, too: which of them it is says who issues.
            if ca.certificates.issuer == following.issuer:
                former = tuple(dict.fromkeys([*folder.chain(), folder.ca()]))
                known = replace(ca.certificates, former=former)
                return FoundCA(replace(ca, certificates=known), rolled_over=True)
    return FoundCA(client.trust(information, anchor or folder.ca(), seen), rolled_over=False)


def successor(certificates: Sequence[Certificate], now: datetime) -> TrustedCA | None:
    """Return the next CA that a folder knows, unless it is over already."""
    if not certificates:
        return None
    try:
        return next_ca.trust(certificates, now)
    except BadReply:
        return None


def look_ahead(client: Client, folder: Folder, record: Record, tell: Tell) -> None:
    """Ask for the CA's successor now and then, while the CA that could vouch for it is there."""
    if _was_asked(record):
        return
    try:
        found = find(client, client.ask(), folder, record.seen(record.url, record.ca_id))
    except ScepError as error:
        tell(NextCAUnknown(error))
        return
    _, asked = learn(client, folder, record, found, tell)
    folder.remember(replace(asked, capabilities=tuple(sorted(found.ca.capabilities))))


def learn(
    client: Client,
    folder: Folder,
    record: Record,
    found: FoundCA,
    tell: Tell,
    *,
    must: bool = False,
) -> tuple[CA | None, Record]:
    """Trust the CA's successor, if it announces one, and keep its certificates.

    A CA that has answered is not asked again for a day, whether it has a successor or not, unless a
    certificate waits: that one's CA may have been given up for another one since.

    Args:
        client: for the CA's server.
        folder: where they are kept.
        record: when the CA was asked last.
        found: the CA.
        tell: takes the events.
        must: ask in any case, and raise what goes wrong, in place of saying it.

    Returns:
        The successor; None also when that is the CA that was found. The record, with the time of
        the answer if there was one.
    """
    waits = folder.ahead.path.exists()
    if found.rolled_over or not (must or waits or not _was_asked(record)):
        return None, record
    asked = replace(record, checked_at=clock.now().isoformat(timespec="seconds"))
    if not (must or capabilities.GET_NEXT_CA_CERT.lower() in found.ca.capabilities):
        return None, asked
    try:
        return _ask(client, folder, found, tell), asked
    except ScepError as error:
        if must:
            raise
        return None, asked if _is_answer(error, tell) else record


def _ask(client: Client, folder: Folder, found: FoundCA, tell: Tell) -> CA:
    certificates = client.get_next_certificates(found.ca)
    following = client.trust_next(found.ca, certificates)
    if folder.next_ca() != certificates:
        folder.keep_next_ca(certificates)
        tell(NextCAAnnounced(following.certificates.issuer))
    return following


def _is_answer(error: ScepError, tell: Tell) -> bool:
    """Say why there is no successor to trust.

    Returns:
        Whether that was the CA's answer, and asking it again would get the same one.
    """
    match error:
        case NoSuccessor():
            # As ever, but while it prepares to be replaced.
            return True
        case TransportError():
            tell(NextCAUnknown(error))
            return False
    tell(NextCAUntrusted(error))
    return isinstance(error, LegacyRefused) or (isinstance(error, BadReply) and error.final)


def _was_asked(record: Record) -> bool:
    """Say whether the CA has answered within a day."""
    if not record.checked_at:
        return False
    # Noted by a clock that was wrong, it must not silence the question for ever.
    return timedelta() <= clock.now() - datetime.fromisoformat(record.checked_at) < _LOOK_AHEAD


def switch(folder: Folder, found: FoundCA, tell: Tell) -> bool:
    """Install the certificate of the next CA when it is time.

    Returns:
        Whether it was.
    """
    if not may_switch(folder, clock.now(), rolled_over=found.rolled_over):
        return False
    folder.switch()
    tell(NextCAInForce())
    return True


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
    anchor = folder.ahead.ca()
    try:
        chain.build(coming, issuers, anchor, now)
    except BadReply:
        return False
    if now < anchor.not_before:
        return False
    return rolled_over or current is None or now > current.not_after
