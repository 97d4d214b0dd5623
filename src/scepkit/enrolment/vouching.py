"""Vouching for an identity: who says that the holder of a certificate is whom a request names.

Not the device: it would be anybody.
"""

from __future__ import annotations

from scepkit.ca import identity
from scepkit.ca.identity import Identity
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.granting import values_of_challenge
from scepkit.enrolment.sender import RenewedCertificate
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.store import Challenge, RequestRow, Store


def treatment(
    profile: Profile,
    granted: CertificationRequest,
    challenge: Challenge | None,
    renewed: RenewedCertificate | None = None,
) -> Identity:
    """Return the treatment of the identity that a request asks for.

    A bound challenge vouches: the request was held to its names. The data of any challenge vouch
    for the names that the profile makes of them. A certificate of this server's that is renewed
    vouches for what it has itself. An operator who approves sees a name, and not whose device it
    is; and another CA's certificate says what that CA says.

    Args:
        profile: what may be issued.
        granted: the request, with its names as they are bound or stored.
        challenge: what entitles it.
        renewed: the certificate that entitles it.
    """
    if not profile.identity:
        return Identity.LEFT_OUT
    if challenge is not None and challenge.subject is not None:
        return Identity.TAKEN_OVER
    wanted = granted.extensions
    if challenge is not None and profile.names is not None:
        vouched = profile.names.vouched(values_of_challenge(challenge))
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


def treatment_of_waiting(
    profile: Profile, wanted: CertificationRequest, row: RequestRow, store: Store
) -> Identity:
    """Return the same for a request that has waited.

    Args:
        profile: what may be issued.
        wanted: what was kept of the PKCS#10.
        row: the request as it is stored.
        store: where its challenge is, and the certificate that it renews.

    Raises:
        StoreError: the database cannot be read.
    """
    if not profile.identity:
        return Identity.LEFT_OUT
    challenge = None if row.challenge_id is None else store.challenge(row.challenge_id)
    renewed = None
    # Where an operator decides, the certificate that signed has entitled to nothing.
    if challenge is None and row.waits_for is not None and row.renewed is not None:
        found = store.find_certificate(row.renewed.issuer, row.renewed.serial)
        if found is not None:
            renewed = RenewedCertificate(Certificate.read(found.der), found.key)
    return treatment(profile, wanted, challenge, renewed)
