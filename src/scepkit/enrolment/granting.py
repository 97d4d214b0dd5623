"""The names that a request is granted: as they are bound or stored, and as the profile has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepkit.ca.profiles.templates import values_of
from scepkit.enrolment.challenges.one_time import bound

if TYPE_CHECKING:
    from scepkit.ca.profiles.profile import Profile
    from scepkit.enrolment.sender import RenewedCertificate
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.store import Challenge


def values_of_challenge(challenge: Challenge) -> dict[str, Any]:
    """Return what templates may name of a challenge; a label that it has not is missing."""
    label = {} if challenge.label is None else {"label": challenge.label}
    return {**label, "data": challenge.data}


def first(
    csr: CertificationRequest, profile: Profile, endpoint: str, challenge: Challenge | None
) -> CertificationRequest:
    """Return a first request with the names that its certificate gets.

    Args:
        csr: the request.
        profile: what the endpoint issues.
        endpoint: its name.
        challenge: what entitles the request.

    Raises:
        BadRequest: the names do not follow the profile's rules.
    """
    granted = bound(csr, challenge)
    known = None if challenge is None else values_of_challenge(challenge)
    return profile.named(granted, lambda: values_of(granted, endpoint, known))


def renewal(
    csr: CertificationRequest,
    profile: Profile,
    endpoint: str,
    renewed: RenewedCertificate,
    *,
    new_names: bool,
) -> CertificationRequest:
    """Return a renewal with the names that its certificate gets.

    Args:
        csr: the request, held to the rules of renewals.
        profile: what the endpoint issues.
        endpoint: its name.
        renewed: the certificate that is renewed.
        new_names: whether it may ask for others.

    Raises:
        BadRequest: the names do not follow the profile's rules.
    """
    if new_names:
        return profile.named(csr, lambda: values_of(csr, endpoint, None))
    # Where it asks for no name, those of the certificate need not be read.
    names = renewed.names if csr.extensions.subject_alternative_names else ()
    granted = csr.bound_to(renewed.certificate.subject_name, names)
    added = profile.names.added_kinds if profile.names is not None else frozenset()
    if added:
        # What the profile has made once is of values that are gone: it is kept.
        kept = granted.extensions.subject_alternative_names
        kept += tuple(one for one in renewed.names if one.kind in added and one not in kept)
        granted = granted.named(granted.subject, kept)
    return profile.named(granted, None)
