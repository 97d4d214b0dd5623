"""The checks of an endpoint, its CA and its profile, by which a start or a reload refuses it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.directory.material import Material
from scepkit.ca.directory.paths import RA_CERTIFICATE, RA_KEY
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import SettingsError
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.settings.authorization import challenge_rules
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.server.settings.profiles.format import ProfileSettings


def check_decryption(name: str, settings: EndpointSettings, ca: LoadedCA) -> None:
    """Refuse a CA that no device could send a request to.

    A key that is not RSA decrypts nothing, so requests come encrypted with the challengePassword,
    and only one secret for all says which that is before they are open (RFC 8894 section 3.1).

    Raises:
        SettingsError: that is so, and the challenge is another one for each device.
    """
    is_rsa = all(isinstance(one.ra.private_key, rsa.RSAPrivateKey) for one in issuing(ca.material))
    judged = challenge_rules(settings.rules)
    if is_rsa or (settings.challenge_kinds == ("static",) and len(judged[0].files) == 1):
        return
    raise SettingsError(
        f"endpoint {name!r}: the CA {ca.name!r} has no RSA key to decrypt requests with, which "
        f'does not go with challenge = "{_asked(settings)}"',
        hint=f"restore {RA_CERTIFICATE} and {RA_KEY} beside the CA; or, if it never had an RA, set "
        f'challenge = "static" and challenge_file in [endpoint.{name}]',
    )


def check_chain(name: str, ca: LoadedCA) -> None:
    """Refuse an RA that does not chain to its CA: Intune's devices would not trust it.

    Raises:
        SettingsError: it does not.
    """
    for one in issuing(ca.material):
        own, ra = Certificate.of(one.ca.certificate), Certificate.of(one.ra.certificate)
        if own.der != ra.der and not chain.issued(own, ra):
            raise SettingsError(
                f"endpoint {name!r}: the RA of the CA {ca.name!r} is not certified by that CA, "
                "and devices of Intune refuse such an RA",
                hint=f"move {RA_CERTIFICATE} and {RA_KEY} away; scep admin ca ra {ca.name} then "
                "makes one that is",
            )


def check_entitling(
    name: str,
    settings: EndpointSettings,
    profile: ProfileSettings,
    compiled: Profile,
    *,
    has_service: bool,
) -> None:
    """Refuse a profile that needs more than what entitles a request at an endpoint can say.

    Args:
        name: the endpoint's.
        settings: its settings.
        profile: its profile.
        compiled: the same, as certificates are made by it.
        has_service: whether a service is asked about requests, and may answer.

    Raises:
        SettingsError: no certificate would be replaced or made, or anybody could take anybody's.
    """
    asks = has_service or settings.kinds in (("webhook",), ("certificate", "webhook"))
    if compiled.needs_service and not asks:
        raise SettingsError(
            f"endpoint {name!r}: a template of the profile {settings.profile!r} needs the answer "
            "of a service, and none is asked here",
            hint="use challenge.data, or another profile",
        )
    judged = frozenset(settings.challenge_kinds)
    # What binds no request to a subject would let anybody take anybody's place.
    names_subjects = bool(judged) and judged <= {"one-time", "webhook", "intune"}
    if profile.same_subject == "replace" and not names_subjects and not has_service:
        raise SettingsError(
            f'endpoint {name!r}: same_subject = "replace" of the profile {settings.profile!r} '
            f'does not go with challenge = "{_asked(settings)}", which is bound to no subject',
            hint='challenge = "one-time", or same_subject = "refuse"',
        )


def _asked(settings: EndpointSettings) -> str:
    return ", ".join(settings.challenge_kinds) or "none"


def issuing(material: Material) -> list[Material]:
    """Return the generations of a CA that issue certificates: the current one, and the next."""
    return [material] if material.next is None else [material, material.next]
