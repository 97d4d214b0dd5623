"""Settings that ask for log-ins to a Windows domain where there can be none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import structlog

from scepkit.ca import identity
from scepkit.server.settings.profiles.values import purpose

if TYPE_CHECKING:
    from scepkit.server.settings import Settings
    from scepkit.server.settings.profiles.format import ProfileSettings

log = structlog.get_logger()


def warn(settings: Settings) -> None:
    """Say it in the log when an endpoint's settings name what its certificates will not have."""
    for endpoint, one in settings.endpoint.items():
        profile = settings.profile_of(endpoint)
        if profile.identity and {"one-time", "webhook", "intune"}.isdisjoint(one.challenge_kinds):
            log.warning(
                "no challenge of this endpoint names anybody: what asks for a log-in is refused",
                endpoint=endpoint,
                profile=one.profile,
                challenge=", ".join(one.challenge_kinds) or "none",
                hint='challenge = "one-time", and challenges that are bound; or identity = false '
                "in the profile",
            )
        asked = [*_left_out(profile)]
        if asked:
            log.warning(
                "the names and purposes of a log-in are left out of certificates",
                endpoint=endpoint,
                profile=one.profile,
                left_out=asked,
                hint="the profiles windows-device and windows-user are for log-ins, and what "
                "extends one of them",
            )


def _left_out(profile: ProfileSettings) -> Iterator[str]:
    """Yield what a profile names and does not grant; by default it names no purpose of a log-in."""
    # Whoever has written that a profile is not for log-ins knows.
    if profile.identity or "identity" in profile.model_fields_set:
        return
    if "upn" in profile.names.kinds and "kinds" in profile.names.model_fields_set:
        yield "upn"
    for name in dict.fromkeys((*profile.default_eku, *profile.allowed_eku)):
        if purpose(name) in identity.PURPOSES:
            yield name
