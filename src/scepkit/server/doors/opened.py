"""The doors of an endpoint, as its settings and files open them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.challenges.orders import ChallengeOrder, SecretForm
from scepkit.errors import SettingsError
from scepkit.server.directory.data_directory import challenges_of, replacing
from scepkit.server.settings.doors import JamfSettings

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.server.directory.data_directory import Home
    from scepkit.server.directory.endpoint_files import EndpointFiles
    from scepkit.store import Store

_LEAST_SECRET = 16  # characters
# Of this process: no secret is compared as it is.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class NDESDoor:
    """The NDES page of an endpoint.

    Attributes:
        challenges: the endpoint's.
        order: what is ordered each time.
        encoding: `utf-16` or `utf-8`.
        thumbprint: SHA-1 of the CA's certificate, in upper-case hex.
        per_minute: challenges that one account gets in a minute.
    """

    challenges: OneTimeChallenges
    order: ChallengeOrder
    encoding: str
    thumbprint: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class JamfDoor:
    """The webhook SCEPChallenge of an endpoint.

    Attributes:
        challenges: the endpoint's.
        settings: its settings.
        scheme: of the credential: `basic` or `bearer`.
        digest: of the credential, see `credential_digest`.
    """

    challenges: OneTimeChallenges
    settings: JamfSettings
    scheme: str
    digest: bytes = field(repr=False)

    def admits(self, scheme: str, credential: bytes) -> bool:
        """Say whether a credential is the door's; compared in constant time.

        Args:
            scheme: in lower case.
            credential: `user:password` or the token, as it was sent.
        """
        given = credential_digest(credential)
        return hmac.compare_digest(given, self.digest) and scheme == self.scheme


def credential_digest(credential: bytes) -> bytes:
    """Return a digest of one length, whatever the credential's, so that comparing tells none."""
    return hmac.digest(_DIGEST_KEY, credential, "sha256")


def ndes_of(name: str, home: Home, store: Store, ca: x509.Certificate) -> NDESDoor | None:
    """Return the NDES page of an endpoint; None where it has none.

    Args:
        name: the endpoint's.
        home: the data directory.
        store: its database.
        ca: the certificate of the endpoint's CA.

    Raises:
        SettingsError: its challenges would have to be bound to a subject.
    """
    settings = home.settings.endpoint[name]
    if not settings.has_ndes_page:
        return None
    _check_unbound(
        name,
        home,
        "the NDES page knows no subject",
        "leave mscep_admin and ndes out, or take another profile",
    )
    form = {16: SecretForm.HEX16, 32: SecretForm.HEX32}[settings.ndes_length]
    return NDESDoor(
        challenges_of(home, store, name),
        ChallengeOrder(timedelta(minutes=settings.ndes_minutes), form=form),
        settings.ndes_page_encoding,
        hashlib.sha1(ca.public_bytes(Encoding.DER), usedforsecurity=False).hexdigest().upper(),
        settings.ndes_per_minute,
    )


def jamf_of(name: str, home: Home, store: Store, files: EndpointFiles) -> JamfDoor | None:
    """Return the webhook SCEPChallenge of an endpoint; None where it has none.

    Args:
        name: the endpoint's.
        home: the data directory.
        store: its database.
        files: the contents of the files that the endpoint names.

    Raises:
        SettingsError: its secret is too short, or its challenges would have to be bound.
    """
    settings = home.settings.endpoint[name].jamf
    if settings is None:
        return None
    if not settings.subject:
        _check_unbound(
            name,
            home,
            "jamf binds them to none",
            f"set subject in [endpoint.{name}.jamf], or take another profile",
        )
    secret = files.secrets[settings.secret_file]
    if len(secret) < _LEAST_SECRET:
        raise SettingsError(
            f"the secret in {settings.secret_file} has fewer than {_LEAST_SECRET} characters",
            hint="make one: (umask 077; openssl rand -hex 20 > FILE)",
        )
    credential = secret if settings.bearer_file else f"{settings.user}:{secret}"
    return JamfDoor(
        challenges_of(home, store, name),
        settings,
        "bearer" if settings.bearer_file else "basic",
        credential_digest(credential.encode("utf-8")),
    )


def _check_unbound(name: str, home: Home, why: str, hint: str) -> None:
    """Refuse a door whose challenges would have to be bound to a subject.

    Raises:
        SettingsError: they would.
    """
    said = replacing(home.settings, name)
    if said:
        raise SettingsError(f"{said}; {why}", hint=hint)
