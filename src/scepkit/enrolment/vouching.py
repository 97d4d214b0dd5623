"""Vouching for an identity: who says that the holder of a certificate is whom a request names.

Not the device: it would be anybody.
"""

from __future__ import annotations

from typing import Any

from scepkit.ca import identity
from scepkit.ca.identity import Identity
from scepkit.ca.profiles.profile import Profile
from scepkit.ca.profiles.templates import SERVICE
from scepkit.enrolment.answers import NOTHING, ServiceAnswer
from scepkit.enrolment.sender import RenewedCertificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.store import Challenge


def vouchers(challenge: Challenge | None, answer: ServiceAnswer) -> dict[str, Any]:
    """Return what templates may name of who vouches for a request; what is not there is missing.

    Args:
        challenge: what entitles the request.
        answer: what a service says of it.
    """
    found: dict[str, Any] = {}
    if challenge is not None:
        label = {} if challenge.label is None else {"label": challenge.label}
        found["challenge"] = {**label, "data": challenge.data}
    if not answer.is_bare:
        found[SERVICE] = answer.values
    return found


def treatment(
    profile: Profile,
    granted: CertificationRequest,
    challenge: Challenge | None,
    renewed: RenewedCertificate | None = None,
    answer: ServiceAnswer = NOTHING,
) -> Identity:
    """Return the treatment of the identity that a request asks for.

    A bound challenge vouches: the request was held to its names. The data of any challenge, and of
    a service's answer, vouch for the names that the profile makes of them; an answer vouches for
    the names that it has, too. A service that says yes and no more does not. A certificate of this
    server's that is renewed vouches for what it has itself. An operator who approves sees a name,
    and not whose device it is; and another CA's certificate says what that CA says.

    Args:
        profile: one that takes identities over (`Profile.identity`).
        granted: the request, with its names as they are bound or stored.
        challenge: what entitles it.
        renewed: the certificate that entitles it.
        answer: what a service says of it.
    """
    if challenge is not None and challenge.subject is not None:
        return Identity.TAKEN_OVER
    wanted = granted.extensions
    if challenge is not None or not answer.is_bare:
        vouched = frozenset(answer.names)
        if profile.names is not None:
            vouched |= profile.names.vouched(vouchers(challenge, answer))
        named = identity.asked(wanted.subject_alternative_names, None)
        # Data that name a host say nothing of whose log-in a purpose would be for.
        if named and named <= vouched:
            return Identity.TAKEN_OVER
    if renewed is None or renewed.key is None:
        return Identity.REFUSED
    had = renewed.certificate.extensions
    names = identity.asked(wanted.subject_alternative_names, wanted.extended_key_usage)
    vouched = identity.asked(renewed.names, had.extended_key_usage)
    return Identity.TAKEN_OVER if names <= vouched else Identity.REFUSED
