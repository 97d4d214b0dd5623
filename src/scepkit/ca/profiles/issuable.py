"""The limits of a CA, held against a profile: names, path length, end and purposes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.ca.authority import Authority
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import EMPTY
from scepkit.protocol.extensions import purpose_name
from scepkit.protocol.general_name import GeneralName


def name_fault(profile: Profile, authority: Authority) -> str:
    """Say why a CA may issue no name that a profile allows; "" where it may.

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


def faults(profile: Profile, authority: Authority, now: datetime) -> Iterator[str]:
    """Yield why a CA issues nothing by a profile.

    Args:
        profile: the profile.
        authority: the CA, or its stand-in.
        now: the time, aware.
    """
    limits = authority.limits
    if limits.fault:
        yield f"the CA may not issue: {limits.fault}"
    if not limits.not_before <= now < limits.not_after:
        yield f"the CA is valid from {limits.not_before} to {limits.not_after}, not now"
    said = name_fault(profile, authority)
    if said:
        yield said


def remarks(profile: Profile, authority: Authority, now: datetime) -> Iterator[str]:
    """Yield what certificates of a profile lack because of their CA; arguments as for `faults`."""
    end = authority.limits.not_after
    if now < end < now + profile.validity:
        yield f"certificates end with the CA, at {end:%Y-%m-%d %H:%M} UTC, and not later"
    for one in map(Certificate.of, (authority.certificate, *authority.above)):
        allowed = _purposes(one)
        missing = [oid for oid in profile.default_eku if allowed is not None and oid not in allowed]
        if missing:
            names = ", ".join(map(purpose_name, missing))
            yield f'"{one.subject_name}" is not for {names}: some verifiers refuse what is below it'


def _purposes(certificate: Certificate) -> tuple[object, ...] | None:
    """Return the purposes that a CA below a root is restricted to; None where it is not."""
    if certificate.subject == certificate.issuer:
        return None
    try:
        found = certificate.extensions.extended_key_usage
    except Malformed:
        return None
    is_any = found is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found
    return None if is_any else found


def _constrained(authority: Authority, name: GeneralName) -> str:
    try:
        authority.limits.check(EMPTY, [name])
    except BadRequest as error:
        return error.message
    return ""
