"""An endpoint that decides as it would, and whose CA signs with a key that is thrown away.

For whoever wants to see what a profile makes of a request. The keys of the server are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from scepkit.ca.authority import Authority
from scepkit.ca.directory import paths
from scepkit.enrolment.admission import Admission
from scepkit.enrolment.challenges import MAX_SERVICE_LENGTH
from scepkit.enrolment.consultation import Consultation
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.secret_box import SecretBox
from scepkit.enrolment.third_parties import ThirdParties, Yes
from scepkit.errors import UsageError
from scepkit.keys.pem import generate, kind, read_certificate
from scepkit.operations import ca_listing
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.server.directory import endpoint_files
from scepkit.server.directory.data_directory import endpoint_settings, utc_now
from scepkit.server.directory.endpoint_files import BlocklistFiles
from scepkit.server.endpoints.assembly import rules_of
from scepkit.server.settings.public_urls import locations

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.enrolment.answers import ServiceAnswer
    from scepkit.enrolment.third_parties import Question
    from scepkit.keys.pem import PrivateKey
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.server.directory.data_directory import Home
    from scepkit.server.settings import Settings
    from scepkit.store import Challenge, Store

_USUAL_KEY = "ec:p256"


@dataclass(frozen=True, slots=True)
class GivenChallenge:
    """A challenge that every request is taken to have.

    Attributes:
        challenge: what is known of it.
    """

    max_length: ClassVar[int] = MAX_SERVICE_LENGTH
    challenge: Challenge

    def judge(self, request: CertificationRequest, now: datetime) -> Challenge:  # noqa: ARG002
        """Return the challenge."""
        return self.challenge

    def confirm(
        self,
        request: CertificationRequest,
        now: datetime,
        renewed: Name,
    ) -> None:
        """Take no notice: a renewal needs none."""

    def password(self, transaction_id: bytes) -> None:
        """Name no password."""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A service that agrees to every request.

    Attributes:
        answer: what it adds to that.
        name: what refusals call it.
    """

    answer: ServiceAnswer
    name: str = "the service"

    @property
    def identity(self) -> str:
        """Return its name: there is no other one."""
        return self.name

    async def judge(self, question: Question) -> Yes:  # noqa: ARG002
        """Return its yes."""
        return Yes(self.answer)


def rehearsal(
    home: Home,
    store: Store,
    endpoint: str,
    profile: str,
    challenge: Challenge,
    answer: ServiceAnswer | None = None,
) -> Admission:
    """Return what decides on requests at an endpoint; it grants what an operator would have to.

    Args:
        home: the server's data directory; its keys are not looked at.
        store: its database, which nothing is written to.
        endpoint: the endpoint's name.
        profile: the name of the profile; that of the endpoint counts with what the endpoint says
            otherwise.
        challenge: the challenge that requests are taken to have.
        answer: what a service is taken to say of them; None where none is asked.

    Raises:
        UsageError: there is no such endpoint.
        SettingsError: a file that the settings name cannot be used.
    """
    settings = home.settings
    own = endpoint_settings(settings, endpoint)
    found = settings.profile_of(endpoint) if own.profile == profile else settings.profile[profile]
    blocked = BlocklistFiles(settings).of(found)
    files = endpoint_files.read_all(settings, home.read_challenge_key)[endpoint]
    rules = rules_of(own, settings, found, files)
    rules = replace(rules, approval=False, revocation_passphrase=False)
    issuers, compiled = _stand_ins(settings, endpoint), found.compiled(profile, blocked)
    parties = None if answer is None else ThirdParties(referee=GivenAnswer(answer))
    return Admission(
        endpoint=endpoint,
        issuers=issuers,
        profile=compiled,
        rules=rules,
        store=store,
        challenges=GivenChallenge(challenge),
        secret_box=SecretBox(bytes(32)),
        now=utc_now,
        consultation=None
        if parties is None
        else Consultation(parties, issuers, store, rules, compiled, utc_now),
    )


def stand_in(settings: Settings, endpoint: str) -> Authority:
    """Return the CA of an endpoint with a key that is thrown away, of whatever kind.

    Raises:
        UsageError, SettingsError: there is no CA, or it cannot be read.
    """
    first = _generations(settings, endpoint)[0]
    return Authority(first.certificate, generate(_USUAL_KEY), above=first.above)


def _stand_ins(settings: Settings, endpoint: str) -> Issuers:
    """Return the CAs of an endpoint, all generations, with a key that is thrown away."""
    generations, places = _generations(settings, endpoint), locations(settings, endpoint)
    key = _key(generations[0])
    current, *others = (
        Authority(one.certificate, key, locations=places, above=one.above) for one in generations
    )
    directory = settings.authority_directory(settings.endpoint[endpoint].ca)
    ra = paths.in_force(directory) / paths.RA_CERTIFICATE
    # Its name is not for devices either.
    own = (Credential(key, Certificate.of(read_certificate(ra))),) if ra.exists() else ()
    return Issuers([IssuingCA(current, own)], previous=others)


def _generations(settings: Settings, endpoint: str) -> list[ca_listing.CAGeneration]:
    name = settings.endpoint[endpoint].ca
    directory = settings.authority_directory(name)
    paths.require(directory)
    return [*ca_listing.generations({name: directory})]


def _key(generation: ca_listing.CAGeneration) -> PrivateKey:
    try:
        return generate(kind(generation.certificate.public_key()))
    except UsageError:
        return generate(_USUAL_KEY)
