"""Challenges that a service outside judges, in requests that can be read in one way only.

The service gets the raw PKCS#10 and may read it with another reader than ours. So a request is
taken only where all readers find the same names in it: else one name would be judged, and another
one certified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scepkit.enrolment.challenges import MAX_SERVICE_LENGTH, missing
from scepkit.errors import BadRequest, FailInfoError, Malformed
from scepkit.protocol.asn1 import strings
from scepkit.protocol.csr import EXTENSION_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name

_REFUSED = "the request was refused"
# Readers take the first one of these, or the last one.
_ONCE = frozenset({"CN", "serialNumber"})
_ASCII = frozenset({"dns", "email", "uri"})
_PRINTABLE = frozenset(range(0x21, 0x7F))
_UNICODE = frozenset({strings.UTF8_STRING, strings.UNIVERSAL_STRING, strings.BMP_STRING})


@dataclass(frozen=True, slots=True)
class ServiceChallenge:
    """Takes the challenges that a service judges, which is asked when all else is known."""

    max_length: ClassVar[int] = MAX_SERVICE_LENGTH

    def judge(self, request: CertificationRequest, now: datetime) -> None:  # noqa: ARG002
        """See that there is a challenge, in a request that can be read in one way only.

        Raises:
            BadRequest: there is none, or the names can be read in several ways.
        """
        if request.challenge_password is None:
            raise missing(request)
        for fault in _faults(request):
            said = f"a service might read it otherwise: {fault}"
            raise BadRequest(said, text=_REFUSED, rule="service")

    def confirm(self, request: CertificationRequest, now: datetime, renewed: Name) -> None:
        """Take no notice: the certificate entitles, and a service is not asked for renewals."""

    def password(self, transaction_id: bytes) -> None:
        """Know none."""


def _faults(request: CertificationRequest) -> Iterator[str]:
    """Yield what readers may differ about."""
    if request.extension_requests not in ((), (EXTENSION_REQUEST,)):
        yield "extensions are asked for in other ways than by one extensionRequest of PKCS#9"
    labels: list[str] = []
    try:
        for attribute in (one for rdn in request.subject.rdns for one in rdn):
            text = attribute.text()
            labels.append(attribute.label)
            # What is in no Unicode is read as Latin-1 by some, as T.61 by others.
            if attribute.tag not in _UNICODE and not text.isascii():
                yield f"{attribute.label} of the subject has characters of no known set"
            if not text.isprintable():
                yield f"{attribute.label} of the subject has control characters"
        for name in request.extensions.subject_alternative_names:
            if name.kind in _ASCII and not _PRINTABLE.issuperset(name.octets):
                yield "a subject alternative name has characters that are not of its kind"
        identifiers = [one.identifier for one in request.extensions.all]
        if len(set(identifiers)) < len(identifiers):
            yield "an extension is asked for twice"
    except (Malformed, strings.Undecodable, FailInfoError):
        yield "a name cannot be read"
    yield from (f"the subject has several {one}" for one in _ONCE if labels.count(one) > 1)
