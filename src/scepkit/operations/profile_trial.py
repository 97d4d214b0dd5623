"""A trial of a profile: the certificate that a request would get, signed by a throw-away key.

Nothing is issued: the CA's own key is not needed, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from scepkit.ca.authority import Authority
from scepkit.ca.extensions import Locations
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.cut import cut
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import granting
from scepkit.enrolment.vouching import treatment
from scepkit.errors import BadRequest, FailInfoError, UsageError
from scepkit.keys.pem import dearmored, generate, kind
from scepkit.protocol import csr as pkcs10
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.comparison import NAMES, SUBJECT, compare
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import EMPTY
from scepkit.protocol.general_name import GeneralName
from scepkit.store import Challenge

_USUAL_KEY = "ec:p256"


@dataclass(frozen=True, slots=True)
class Challenged:
    """What a challenge would say of a request.

    Attributes:
        label: its label.
        data: its data.
        is_bound: whether it is bound to the subject and the names of the request.
    """

    label: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of a trial.

    Attributes:
        certificate: what would be issued; None where the request would be refused.
        rules: what the profile's rules have made, changed and left out, a line each.
        refused: why; "" where it would not be.
    """

    certificate: Certificate | None
    rules: tuple[str, ...] = ()
    refused: str = ""


def read_request(octets: bytes) -> CertificationRequest:
    """Read a PKCS#10, PEM or DER.

    Raises:
        Malformed, FailInfoError: it is none, or cannot be used.
    """
    labels = "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"
    found = next((der for one in labels if (der := dearmored(one, octets))), octets)
    return pkcs10.read(found, NO_LEGACY)


def attempt(
    csr: CertificationRequest,
    profile: Profile,
    challenged: Challenged,
    *,
    endpoint: str,
    chain: Sequence[x509.Certificate],
    locations: Locations | None,
    now: datetime,
) -> Trial:
    """Make the certificate that a first request would get.

    Args:
        csr: the request.
        profile: what the endpoint issues.
        challenged: what its challenge says.
        endpoint: the endpoint's name.
        chain: the certificate of its CA, and those above.
        locations: the places of CRL and OCSP responder that certificates name.
        now: the time, aware.

    Raises:
        SettingsError: the CA, or the profile, issues nothing now.
    """
    authority = stand_in(chain, locations)
    challenge = _challenge(csr, challenged, endpoint, now)
    try:
        granted = granting.first(csr, profile, endpoint, challenge)
        order = Order(
            subject=granted.subject,
            public_key=granted.public_key,
            requested=granted.extensions,
            profile=profile,
            now=now,
            csr=csr,
            endpoint=endpoint,
            identity=treatment(profile, granted, challenge),
        )
        issued = authority.certify(order)
    except FailInfoError as error:
        return Trial(None, refused=error.message)
    certificate = Certificate.read(issued.der)
    return Trial(certificate, (*_made(csr, certificate, profile), *cut(csr, certificate)))


def stand_in(chain: Sequence[x509.Certificate], locations: Locations | None) -> Authority:
    """Return a CA that looks like one, with a key that is thrown away.

    Args:
        chain: its certificate, and those above.
        locations: the places that its certificates name.

    Raises:
        SettingsError: its name constraints cannot be read.
    """
    try:
        key = generate(kind(chain[0].public_key()))
    except UsageError:
        key = generate(_USUAL_KEY)
    return Authority(chain[0], key, locations=locations, above=chain[1:])


def _challenge(
    csr: CertificationRequest, challenged: Challenged, endpoint: str, now: datetime
) -> Challenge:
    """Return a challenge that is nowhere stored."""
    names = csr.extensions.subject_alternative_names
    return Challenge(
        id=0,
        endpoint=endpoint,
        mac=b"",
        subject=str(csr.subject) if challenged.is_bound else None,
        sans=tuple(map(str, names)) if challenged.is_bound else (),
        created_at=now,
        expires_at=now,
        spent_at=None,
        spent_serial=None,
        label=challenged.label,
        data=challenged.data,
    )


def _made(csr: CertificationRequest, certificate: Certificate, profile: Profile) -> Iterator[str]:
    """Yield what the profile has put into a certificate that the request does not have."""
    for change in compare(csr, certificate):
        if change.what == SUBJECT:
            yield f"the subject is {change.got[0]} (subject)"
        elif change.what == NAMES:
            kinds = frozenset() if profile.names is None else profile.names.added_kinds
            for name in change.added:
                kind = name.partition(":")[0]
                yield f"name {name} added" + (f" (names.{kind}.add)" if kind in kinds else "")
    if profile.further is not None and profile.further.constant:
        yield f"{len(profile.further.constant)} extensions added (policies, extensions)"


def fault(profile: Profile, authority: Authority) -> str:
    """Say why a CA may issue nothing that a profile allows; "" where it may.

    Args:
        profile: the profile.
        authority: the CA, or its stand-in.
    """
    samples = {} if profile.names is None else profile.names.samples()
    for what, names in samples.items():
        faults = [said for one in names if (said := _constrained(authority, one))]
        if len(faults) == len(names):
            return f"the CA may issue no {what} name that the profile allows: {faults[0]}"
    return ""


def _constrained(authority: Authority, name: GeneralName) -> str:
    try:
        authority.limits.check(EMPTY, [name])
    except BadRequest as error:
        return error.message
    return ""
