"""The revocation status of a certificate from the places that it names: OCSP, then the CRL.

Bounded in time and size, since it runs daily on devices whose responder may be away: nothing here
is needed to renew. Only http is followed: what comes is signed, and RFC 5280 section 8 warns of
https, whose own certificate would have to be checked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scepkit.client import clock
from scepkit.client.client import Connection
from scepkit.client.events import HoldEnded, RevocationUnknown, Tell
from scepkit.client.folder import Folder
from scepkit.client.folder.record import RevocationNote
from scepkit.client.transport import Transport
from scepkit.errors import (
    BadReply,
    CertificateRevoked,
    Hint,
    Malformed,
    ScepError,
    SettingsError,
    TransportError,
)
from scepkit.protocol import chain, crl
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.ocsp import REQUEST_TYPE, Plain, Revoked, Status, requester
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

TIMEOUT = 5.0
"""Seconds for one question and its answer."""

MAX_PLACES = 1
"""The most places that are asked, of each kind: all of it takes at most two time-outs."""

MAX_CRL = 8 * 1024 * 1024
"""Octets: two hundred thousand entries."""

_OK = 200


class RevocationState(StrEnum):
    """The state of a certificate that is not revoked, as far as it could be learnt."""

    GOOD = "good"
    UNKNOWN = "unknown"
    NOT_NAMED = "not_named"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of the check.

    Attributes:
        status: the state that was answered; None when that could not be learnt.
        failures: why not, one for each place that was asked.
        is_named: whether the certificate names a place at all.
    """

    status: Status | None
    failures: tuple[str, ...] = ()
    is_named: bool = True


def check(
    folder: Folder,
    certificate: Certificate,
    connection: Connection,
    allowed: frozenset[Legacy],
    tell: Tell,
) -> RevocationState:
    """Ask the responders and lists that the certificate of a directory names.

    Where none of them can say how it stands, that is an event, and is no failure.

    Args:
        folder: the directory.
        certificate: the one in it.
        connection: how places are reached; one gets no more than `TIMEOUT` seconds.
        allowed: the legacy algorithms that are allowed.
        tell: takes the events.

    Raises:
        CertificateRevoked: it was revoked, or is on hold; that is noted in the folder.
        SettingsError: a file cannot be used.
    """
    transport = connection.transport(longest=TIMEOUT, max_response=MAX_CRL)
    try:
        found = look(certificate, _issuers(folder), transport, clock.now, allowed)
    finally:
        transport.close()
    if isinstance(found.status, Revoked):
        raise _revoked(folder, certificate, found.status)
    if not found.is_named:
        return RevocationState.NOT_NAMED
    if found.status is None:
        tell(RevocationUnknown(found.failures))
        return RevocationState.UNKNOWN
    if folder.revocation() is not None:
        folder.forget_revocation()
        tell(HoldEnded())
    return RevocationState.GOOD


def _issuers(folder: Folder) -> tuple[Certificate, ...]:
    issuers = folder.chain()
    try:
        return (*issuers, folder.ca())
    except SettingsError:
        # Only the renewal itself needs it.
        return issuers


def _revoked(folder: Folder, certificate: Certificate, status: Revoked) -> CertificateRevoked:
    """Note a revocation in the folder, and return the error."""
    is_held = status.reason == Reason.certificateHold
    names = {one.value: one.name for one in Reason if one != Reason.unspecified}
    reason = names.get(status.reason, "")
    number = show_serial(certificate.serial)
    folder.note_revocation(RevocationNote(number, status.at.isoformat(timespec="seconds"), reason))
    since = f"{status.at:%Y-%m-%d %H:%M} UTC"
    if is_held:
        return CertificateRevoked(
            f"the certificate in {folder.path} is on hold since {since}",
            hint="ask the CA's operator to release it; until then other programs refuse it",
        )
    why = f": {reason}" if reason else ""
    return CertificateRevoked(
        f"the certificate in {folder.path} was revoked at {since}{why}", hint=Hint.NEW_CERTIFICATE
    )


def look(
    certificate: Certificate,
    issuers: Sequence[Certificate],
    transport: Transport,
    now: Callable[[], datetime],
    allowed: frozenset[Legacy] = NO_LEGACY,
) -> CheckResult:
    """Ask the places that a certificate names, until one answers.

    Args:
        certificate: the certificate.
        issuers: certificates among which its issuer's is.
        transport: how to reach the places; it says how long that may take.
        now: returns the time as an aware datetime.
        allowed: the legacy algorithms that are allowed.
    """
    responders, lists = _places(certificate)
    if not responders and not lists:
        return CheckResult(None, is_named=False)
    issuer = next((one for one in issuers if chain.issued(one, certificate)), None)
    if issuer is None:
        return CheckResult(None, ("the certificate of its issuer is not in the directory",))

    def ask(url: str) -> Status:
        request = HTTPRequest("POST", b"", requester.ask(certificate, issuer), REQUEST_TYPE)
        body = _body(transport.send(url, request))
        return requester.read(body, certificate, issuer, now(), allowed)

    def fetch(url: str) -> Status:
        body = _body(transport.send(url, HTTPRequest("GET", b"")))
        return crl.read(body, certificate, issuer, now())

    failures = []
    places = [*((ask, url) for url in responders), *((fetch, url) for url in lists)]
    for learn, url in places:
        try:
            status = learn(url)
        except ScepError as error:
            failures.append(f"{url}: {error.message}")
            continue
        if status is not Plain.UNKNOWN:
            return CheckResult(status)
        failures.append(f"{url}: the responder does not know the certificate")
    return CheckResult(None, tuple(failures))


def _places(certificate: Certificate) -> tuple[list[str], list[str]]:
    try:
        found = certificate.extensions.ocsp_places, certificate.extensions.crl_places
    except Malformed:
        return [], []
    responders, lists = (
        [url for url in urls if url.lower().startswith("http://")][:MAX_PLACES] for urls in found
    )
    return responders, lists


def _body(response: HTTPResponse) -> bytes:
    if response.status != _OK:
        raise TransportError(f"HTTP {response.status}", status=response.status)
    if not response.body:
        raise BadReply("the answer is empty")
    return response.body
