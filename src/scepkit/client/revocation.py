"""Having a certificate revoked by its owner: CMP's rr, since SCEP has no message for that.

RFC 8894 section 2.8 leaves revocation to the operator; servers of this project take an rr
(RFC 9810 section 5.3.9) at the path `/cmp/NAME`, and other CAs that speak CMP do at theirs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from scepkit.client import clock
from scepkit.errors import Hint, TransportError, UsageError
from scepkit.protocol import cmp
from scepkit.protocol.algorithms import NO_LEGACY, Legacy, PrivateKey
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp import FailureInfo, Reason
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.flow import Flow, Limits, ask
from scepkit.protocol.scep.http import SCEP_PATH, HTTPRequest, HTTPResponse

_NAME = re.compile(r"[a-z0-9-]{1,32}", re.IGNORECASE)
_DEFAULT = "default"

_NOT_FOUND = 404
_LONGEST_TYPE = 100  # characters of a media type that an error repeats


@dataclass(frozen=True, slots=True)
class Revoked:
    """The CA's answer that a certificate is revoked.

    Attributes:
        was_before: it had been revoked already; the reason then may have been another one.
        text: what the CA says to it, for humans.
    """

    was_before: bool
    text: str = ""


def cmp_url(url: str, ca_id: str = "") -> str:
    """Return the CMP URL that belongs to a SCEP URL of this project's server.

    Args:
        url: the SCEP server's.
        ca_id: the name of the CA or endpoint, where the path has none.

    Raises:
        UsageError: the path is not one that such a server has.
    """
    parts = urlsplit(url)
    match = SCEP_PATH.fullmatch(parts.path)
    if match is None:
        raise UsageError(f"the CMP service of {url} is not known", hint=Hint.CMP_UNKNOWN)
    name = match["name"] or (ca_id if _NAME.fullmatch(ca_id) else _DEFAULT)
    path = f"{match['before']}/cmp/{name.lower()}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def by_key(key: PrivateKey, certificate: Certificate) -> cmp.Signer:
    """Return the protector that revokes a certificate with its own key."""
    return cmp.Signer(Credential(key, certificate))


def by_passphrase(passphrase: str, certificate: Certificate) -> cmp.SharedSecret:
    """Return the protector that revokes a certificate without its key.

    Args:
        passphrase: the challengePassword of the request for the certificate.
        certificate: the certificate.
    """
    reference = f"{certificate.serial:x}".encode("ascii")
    return cmp.SharedSecret.new(passphrase, reference, certificate.subject, os.urandom)


def revoke(
    url: str,
    certificate: Certificate,
    protector: Callable[[], cmp.Protector],
    ca: TrustedCA,
    *,
    reason: Reason | None = None,
    allowed: frozenset[Legacy] = NO_LEGACY,
    limits: Limits | None = None,
) -> Flow[Revoked]:
    """Have a certificate revoked.

    Args:
        url: of the CMP server.
        certificate: what is to be revoked.
        protector: returns `by_key` or `by_passphrase`; called for each attempt.
        ca: the CA that is trusted.
        reason: why; None to say nothing.
        allowed: legacy algorithms that the answer may be signed with.
        limits: for repetitions.

    Raises:
        RevocationRefused: the CA says no.
        BadReply: the answer must not be believed.
        LegacyRefused: the CA signed it with algorithms that are not allowed.
        TransportError: no answer.
    """
    wanted = cmp.RevocationRequest.of(certificate, reason)
    try:
        return (yield from _flow(url, wanted, protector, ca, allowed, limits or Limits()))
    except TransportError as error:
        if error.status == _NOT_FOUND:
            raise TransportError(
                f"there is no CMP at {url}",
                status=error.status,
                hint=Hint.CMP_NOT_FOUND,
            ) from error
        raise


def _flow(
    url: str,
    wanted: cmp.RevocationRequest,
    protector: Callable[[], cmp.Protector],
    ca: TrustedCA,
    allowed: frozenset[Legacy],
    limits: Limits,
) -> Flow[Revoked]:
    try:
        return (yield from _once(url, wanted, protector(), ca, allowed, limits))
    except cmp.RevocationRefused as refused:
        if FailureInfo.transactionIdInUse not in refused.status.failures:
            raise
    # The number was drawn for this, so the CA has had this very request: its answer was lost. What
    # it was, is the answer to the next one.
    return (yield from _once(url, wanted, protector(), ca, allowed, limits))


def _once(
    url: str,
    wanted: cmp.RevocationRequest,
    protector: cmp.Protector,
    ca: TrustedCA,
    allowed: frozenset[Legacy],
    limits: Limits,
) -> Flow[Revoked]:
    sent = cmp.make_request(
        wanted, protector, recipient=wanted.issuer, now=clock.now(), random=os.urandom
    )

    def read(response: HTTPResponse) -> cmp.RevocationResponse:
        if response.content_type != cmp.MEDIA_TYPE:
            kind = response.content_type[:_LONGEST_TYPE] or "something"
            raise TransportError(
                f"the server answered with {kind}, not with CMP",
                status=response.status,
                hint=Hint.CMP_URL,
            )
        return cmp.read_response(response.body, sent, ca, now=clock.now(), allowed=allowed)

    request = HTTPRequest("POST", b"", sent.der, cmp.MEDIA_TYPE, url)
    try:
        granted = yield from ask(request, limits, read)
    except cmp.RevocationRefused as refused:
        if FailureInfo.certRevoked in refused.status.failures:
            return Revoked(was_before=True, text=refused.status.text)
        raise
    return Revoked(was_before=False, text=granted.status.text)
