"""Putting endpoints together, of settings, CAs and a database: SCEP, OCSP and CMP of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca import checks
from scepkit.ca.directory.material import Material, RACredential, load_responders
from scepkit.ca.extensions import Locations
from scepkit.ca.ocsp import OCSPResponders
from scepkit.ca.profiles import issuable
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.admission import Admission
from scepkit.enrolment.challenges.static import too_many_wrong
from scepkit.enrolment.consultation import Consultation
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.rate_limit import WrongGuesses
from scepkit.enrolment.rules import GetCertRule, KeyChange, RenewalRules, Rules, SubjectRule
from scepkit.enrolment.secret_box import SecretBox
from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import SettingsError
from scepkit.keys.pem import PrivateKey
from scepkit.operations.approval import Approval
from scepkit.protocol import chain, cmp
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.scep.responder import Responder
from scepkit.server.directory import endpoint_files
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.directory.data_directory import Home, endpoint_settings, utc_now
from scepkit.server.directory.endpoint_files import BlocklistFiles, EndpointFiles
from scepkit.server.doors.opened import jamf_of, ndes_of
from scepkit.server.endpoints import authorization
from scepkit.server.endpoints.checks import (
    check_chain,
    check_decryption,
    check_entitling,
    issuing,
)
from scepkit.server.endpoints.served import ServedEndpoint, recipient_id
from scepkit.server.intune.connections import Connections
from scepkit.server.settings import Settings
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.settings.profiles.sections import RenewalSettings
from scepkit.server.settings.profiles.values import point
from scepkit.server.settings.public_urls import locations
from scepkit.server.web.ca_publication import publish
from scepkit.server.web.executors import MOST_ROUNDS
from scepkit.services.cmp import CMPService
from scepkit.services.ocsp import OCSPService
from scepkit.services.renewal_info import RenewalTimes
from scepkit.services.scep import SCEPService
from scepkit.store import SameSubject, Store


def assemble(
    home: Home,
    store: Store,
    *,
    now: Callable[[], datetime] = utc_now,
    third_parties: Mapping[str, ThirdParties] = MappingProxyType({}),
) -> Mapping[str, ServedEndpoint]:
    """Put the endpoints of a server together, but for those whose CA is yet to come.

    Args:
        home: its data directory.
        store: its database.
        now: its clock.
        third_parties: those that have a word on certificates, by the names of endpoints.

    Raises:
        SettingsError: a file that a setting names cannot be used, or a setting does not fit its CA.
    """
    if home.files is None:
        home = replace(home, files=endpoint_files.read_all(home.settings, home.read_challenge_key))
    lifetime = timedelta(minutes=home.settings.ocsp_minutes)
    passphrase = home.passphrases.find()
    connections = Connections(home, store, now)
    loaded = {
        ca.name: load_responders(ca.directory, ca.material, now=now(), passphrase=passphrase)
        for ca in home.authorities.values()
    }
    issuing = home.settings.issuing
    former = [r for name, one in loaded.items() if name not in issuing for r in one.responders]
    services = {
        # An endpoint that got another CA answers for the certificates of before.
        name: OCSPService(OCSPResponders([*former, *own.responders]), store, now, lifetime)
        for name, own in loaded.items()
    }
    return {
        name: _serve(
            name,
            home,
            store,
            now,
            services[settings.ca],
            third_parties.get(name) or connections.parties_of(name),
        )
        for name, settings in home.settings.endpoint.items()
        if settings.ca in services
    }


def approval_of(home: Home, store: Store, name: str) -> Approval:
    """Return the object that decides the waiting requests of an endpoint.

    Raises:
        UsageError: there is no such endpoint (any more).
    """
    settings = endpoint_settings(home.settings, name)
    issuers = _issuers(home.authority_of(name).material, locations(home.settings, name))
    found = home.settings.profile_of(name)
    profile = found.compiled(settings.profile, BlocklistFiles(home.settings).of(found))
    return Approval(name, issuers, profile, store, subject_rule(found))


def _serve(
    name: str,
    home: Home,
    store: Store,
    now: Callable[[], datetime],
    ocsp: OCSPService,
    parties: ThirdParties | None,
) -> ServedEndpoint:
    settings = home.settings.endpoint[name]
    files = (home.files or {}).get(name, EndpointFiles())
    ca = home.authority_of(name)
    check_decryption(name, settings, ca)
    if "intune" in settings.kinds:
        check_chain(name, ca)
    profile = home.settings.profile_of(name)
    credentials = [_credential(one) for one in _recipients(ca.material)]
    responder = _responder(settings, _credential(ca.material.ra), credentials, now)
    compiled = profile.compiled(settings.profile, files.blocked)
    if parties is None and "webhook" in settings.challenge_kinds:
        # It is asked about what its rule judges, and no other one is there.
        parties = ThirdParties()
    has_service = parties is not None and parties.referee is not None
    check_entitling(name, settings, profile, compiled, has_service=has_service)
    said = issuable.name_fault(compiled, ca.material.ca)
    if said:
        raise SettingsError(
            f"endpoint {name!r}: {said}", hint=f"change the profile {settings.profile!r}"
        )
    rules = rules_of(settings, home.settings, profile, files)
    issuers = _issuers(ca.material, locations(home.settings, name))
    challenges, selection = authorization.rules_of(name, home, store, compiled, files, now)
    admission = Admission(
        endpoint=name,
        issuers=issuers,
        profile=compiled,
        rules=rules,
        store=store,
        challenges=challenges,
        selection=selection,
        secret_box=SecretBox(home.challenge_key),
        now=now,
        tries=WrongGuesses(settings.wrong_challenges_per_minute, now, too_many_wrong)
        if "static" in settings.challenge_kinds or settings.has_short_challenges
        else None,
        consultation=_consultation(name, compiled, issuers, rules, store, now, parties),
    )
    return ServedEndpoint(
        ca=ca.name,
        scep=SCEPService(responder, admission),
        publication=publish(ca, settings, now()),
        recipients=tuple(recipient_id(one.certificate) for one in credentials),
        ocsp=ocsp,
        cmp=_cmp_service(ca, admission) if settings.cmp else None,
        renewals=RenewalTimes(issuers, rules.renewal),
        ndes=ndes_of(name, home, store, ca.material.ca.certificate),
        jamf=jamf_of(name, home, store, files),
        takes_long=rules.subject.treatment is SameSubject.REPLACED  # it writes while it decides
        or (responder.needs_password and settings.pbkdf2_rounds > MOST_ROUNDS),
        services=authorization.services_of(selection),
    )


def _responder(
    settings: EndpointSettings,
    signer: Credential,
    credentials: Sequence[Credential],
    now: Callable[[], datetime],
) -> Responder:
    return Responder(
        signer=signer,
        credentials=credentials,
        random=os.urandom,
        allowed=settings.legacy,
        key_agreement=settings.key_agreement,
        now=now,
        max_iterations=settings.pbkdf2_rounds,
    )


def _consultation(
    name: str,
    profile: Profile,
    issuers: Issuers,
    rules: Rules,
    store: Store,
    now: Callable[[], datetime],
    parties: ThirdParties | None,
) -> Consultation | None:
    """Return the object that asks the third parties of an endpoint, if it has any.

    Raises:
        SettingsError: an operator, who works beside the server, would pass over one of them.
    """
    if parties is None:
        return None
    if rules.approval and (parties.issuer is not None or parties.teller is not None):
        raise SettingsError(
            f'endpoint {name!r}: approval = "manual" does not go with a CA outside or a teller',
            hint="let that CA's operator decide, or the service",
        )
    return Consultation(parties, issuers, store, rules, profile, now)


def _issuers(material: Material, places: Locations | None) -> Issuers:
    return Issuers(
        [IssuingCA(one.ca.at(places), (_credential(one.ra),)) for one in issuing(material)],
        previous=material.previous,
    )


def _recipients(material: Material) -> list[RACredential]:
    """Return all keys that a request may be encrypted to, the current one first."""
    return [*(one.ra for one in issuing(material)), *material.retired]


def _credential(ra: RACredential) -> Credential:
    return Credential(ra.private_key, Certificate.of(ra.certificate))


def rules_of(
    settings: EndpointSettings, server: Settings, profile: ProfileSettings, files: EndpointFiles
) -> Rules:
    """Return the rules of an endpoint.

    Args:
        settings: the endpoint's.
        server: those of the server.
        profile: its profile.
        files: the contents of the files that they name.
    """
    minutes = settings.signing_time_minutes
    return Rules(
        approval="approval" in settings.kinds,
        pending_lifetime=timedelta(days=settings.pending_days),
        pending_per_address=settings.pending_per_address,
        pending_requests=settings.pending_requests,
        renewal=_renewal(profile.renewal, files) if settings.renews else None,
        subject=subject_rule(profile),
        get_cert=GetCertRule(settings.get_cert),
        get_crl=settings.get_crl,
        retrievals_per_minute=settings.retrievals_per_minute,
        signing_time=timedelta(minutes=minutes) if minutes else None,
        separate_keys=settings.separate_keys,
        reply_chain=settings.reply_chain,
        cmp_revoke_by_subject=settings.cmp_revoke_by_subject,
        revocation_passphrase=settings.revocation_passphrase,
        pbkdf2_rounds=settings.pbkdf2_rounds,
        crl_lifetime=timedelta(hours=server.crl_hours),
    )


def subject_rule(profile: ProfileSettings) -> SubjectRule:
    """Return a profile's rule on subjects that have a valid certificate."""
    return SubjectRule(
        treatment=SameSubject(profile.same_subject), replace_after=profile.replace_after or None
    )


def _renewal(settings: RenewalSettings, files: EndpointFiles) -> RenewalRules:
    return RenewalRules(
        window=settings.window or None,
        grace=settings.grace,
        new_names=settings.new_names,
        longest=settings.longest or None,
        same_key=KeyChange(settings.same_key),
        suggest=point(settings.suggest) if settings.suggest else None,
        spread=settings.spread or None,
        anchors=tuple(map(Certificate.read, files.anchors)),
    )


def _cmp_service(ca: LoadedCA, admission: Admission) -> CMPService:
    return CMPService(
        endpoint=admission.endpoint,
        signers=tuple(signers(ca)),
        issuers=admission.issuers,
        rules=admission.rules,
        store=admission.store,
        passphrases=admission.passphrases,
        random=os.urandom,
        now=admission.now,
    )


def signers(ca: LoadedCA) -> Iterator[cmp.Signer]:
    """Yield the signers of CMP answers, the current RA first.

    A client that has a certificate of an earlier CA trusts nobody else's RA. Where that RA has
    expired, the earlier CA signs itself.
    """
    for ra in _recipients(ca.material):
        yield _signer(ca, ra.certificate, ra.private_key)
    for earlier in ca.material.previous:
        # As `openssl cmp` wants it of who signs.
        if checks.has_key_usage(earlier.certificate, "digital_signature"):
            yield _signer(ca, earlier.certificate, earlier.private_key)


def _signer(ca: LoadedCA, certificate: x509.Certificate, key: PrivateKey) -> cmp.Signer:
    """Return a signer with the certificates that lie between it and the root, which clients have.

    `openssl cmp` does not find them elsewhere.
    """
    authorities = (one.certificate for one in ca.generations)
    own = Certificate.of(certificate)
    between = [
        one
        for one in (*authorities, *ca.above)
        if one.subject != one.issuer and (one in ca.above or chain.issued(Certificate.of(one), own))
    ]
    return cmp.Signer(
        Credential(key, own),
        chain=tuple(one.public_bytes(Encoding.DER) for one in between),
    )
