"""Who somebody is to a Windows domain comes from a bound challenge, never from the device alone."""

from __future__ import annotations

import asyncio
import re

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import der
import keys
from enrolment import devices
from enrolment.test_third_parties import OtherIssuer, ask, decide
from scepkit.ca.issuer import Later
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.challenges import REFUSED, NoChallenge
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.rules import RenewalRules
from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import BadRequest
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.scep.messages import Pending, PKCSReq, RenewalReq

CLIENT, SMARTCARD = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SMARTCARD_LOGON
LOGIN = Profile(identity=True, allowed_eku=Profile().allowed_eku | {SMARTCARD})
UPN = "upn:alice@corp.example"
SID = "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"
ESCAPED = "uri:TAG:microsoft.com%2C2022-09-14:sid:S-1-5-21-1-2-3-500"
HOST = "dns:host.example"
ONLY = (
    "is only for a challenge or a service that names it, or for a renewal that has it already "
    "(identity of the profile)"
)


def names(reply):
    san = reply.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(GeneralName.of(one)) for one in san]


def purposes(certificate):
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def wanted(*sans, eku=(), challenge=None, key=None):
    """Return a PKCS#10 with these names and purposes."""
    value = x509.ExtendedKeyUsage(eku)
    asked = [x509.Extension(value.oid, False, value)] if eku else []
    return devices.request(challenge, sans=sans, extensions=asked, key=key)


@pytest.fixture
def enrol(world):
    def enrol(challenge, *sans, eku=()):
        request = PKCSReq(wanted(*sans, eku=eku, challenge=challenge))
        return world.ask(devices.seal(request, to=world.ra))

    return enrol


@pytest.fixture
def renew(world):
    def renew(holder, *sans, eku=(), transaction_id="next"):
        request = RenewalReq(wanted(*sans, eku=eku, key=keys.rsa_key("next")))
        message = devices.seal(request, to=world.ra, signer=holder, transaction_id=transaction_id)
        return world.ask(message, holder)

    return renew


def holder(reply):
    return keys.Holder(keys.device().key, reply.x509)


@pytest.mark.parametrize("name", [UPN, SID, ESCAPED])
@pytest.mark.parametrize("bound", [False, True])
def test_device_certificates_are_issued_without(world, enrol, name, bound):
    """No log-in hangs on them, so the device gets the rest; the log says what is cut."""
    sans = [HOST, name]
    secret = world.challenge(subject="CN=device", sans=sans) if bound else world.challenge()
    message = devices.seal(PKCSReq(wanted(*sans, challenge=secret)), to=world.ra)
    assert world.endpoint.decide(message).outcome.cut == (f"name {name} (identity)",)
    assert names(world.ask(message)) == [HOST]


def test_device_certificates_have_no_log_in_purpose(world, enrol):
    assert purposes(enrol(world.challenge(), eku=[CLIENT, SMARTCARD]).x509) == [CLIENT]
    secret = world.challenge()
    assert enrol(secret, eku=[SMARTCARD]).refusal[0] == "badRequest"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (UPN, "a user principal name"),
        (SID, "a uri with a security identifier"),
        (ESCAPED, "a uri with a security identifier"),
    ],
)
def test_the_holder_of_an_unbound_challenge_is_told_the_rule(world, enrol, name, what):
    world.use(profile=LOGIN)
    secret = world.challenge()
    assert enrol(secret, HOST, name).refusal == ("badRequest", f"{what} {ONLY}")
    assert world.spent == 0
    # Whoever has no right challenge is not told: this is asked after it.
    assert enrol("wrong", HOST, name).refusal == ("badRequest", REFUSED)
    assert names(enrol(secret, HOST)) == [HOST]


def test_the_purpose_wants_a_bound_challenge(world, enrol):
    world.use(profile=LOGIN)
    refusal = enrol(world.challenge(), eku=[CLIENT, SMARTCARD]).refusal
    assert refusal == ("badRequest", f"the purpose smartcard_logon {ONLY}")
    bound = world.challenge(subject="CN=device")
    assert purposes(enrol(bound, eku=[CLIENT, SMARTCARD]).x509) == [CLIENT, SMARTCARD]


@pytest.mark.parametrize(
    ("asked", "issued"),
    [
        ([UPN], [UPN]),
        (["upn:ALICE@Corp.example"], [UPN]),
        ([SID, UPN], [UPN, SID]),
        ([HOST, SID], [HOST, SID]),
        ([HOST], [HOST]),
    ],
)
def test_a_bound_challenge_says_who_it_is(world, enrol, asked, issued):
    """As the binding spells it, of which a request may have less."""
    world.use(profile=LOGIN)
    secret = world.challenge(subject="CN=device", sans=[HOST, UPN, SID])
    assert names(enrol(secret, *asked)) == issued


@pytest.mark.parametrize(
    "name", ["upn:bob@corp.example", ESCAPED, "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-18"]
)
def test_a_bound_challenge_is_for_nobody_else(world, enrol, name):
    world.use(profile=LOGIN)
    secret = world.challenge(subject="CN=device", sans=[UPN, SID])
    assert enrol(secret, name).refusal == ("badRequest", REFUSED)


@pytest.mark.parametrize("tag", [0x13, 0x16, 0x1E])
def test_a_upn_of_any_string_is_issued_as_utf8(world, enrol, tag):
    """Devices write it so; whatever they write, the binding's spelling is issued."""
    world.use(profile=LOGIN)
    text = "alice@corp.example"
    octets = text.encode("utf-16-be" if tag == 0x1E else "ascii")
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    secret = world.challenge(subject="CN=device", sans=[UPN])
    reply = enrol(secret, x509.OtherName(oid, der.tlv(tag, octets)))
    assert der.utf8(text) in reply.certificate


@pytest.mark.parametrize("rule", [StaticChallenge("secret"), NoChallenge()])
def test_a_secret_of_all_names_nobody(world, enrol, rule):
    world.use(profile=LOGIN, rule=rule)
    assert enrol("secret", UPN).refusal == ("badRequest", f"a user principal name {ONLY}")


def test_no_name_waits_for_an_operator_that_nobody_vouches_for(world, enrol):
    """An operator sees a name, and not whose device it is."""
    world.use(profile=LOGIN, approval=True)
    assert enrol(None, UPN).refusal == ("badRequest", f"a user principal name {ONLY}")
    assert enrol(world.challenge(), SID).refusal[0] == "badRequest"
    bound = world.challenge(subject="CN=device", sans=[UPN])
    assert isinstance(enrol(bound, UPN).rep, Pending)
    (waiting,) = world.store.requests()
    world.approval.approve(waiting.id, by="operator", now=world.now)
    assert names(world.poll()) == [UPN]


def test_what_waited_when_the_profile_was_another_one(world, enrol):
    world.use(approval=True)
    assert isinstance(enrol(world.challenge(), HOST, UPN).rep, Pending)
    world.use(profile=LOGIN)
    (waiting,) = world.store.requests()
    with pytest.raises(BadRequest, match=re.escape(ONLY)):
        world.approval.approve(waiting.id, by="operator", now=world.now)
    world.use(profile=Profile())
    world.approval.approve(waiting.id, by="operator", now=world.now)
    assert names(world.poll()) == [HOST]


# --- renewal --------------------------------------------------------------------------------------


@pytest.fixture
def alice(world, enrol):
    """Return the holder of a certificate for a log-in."""
    world.use(profile=LOGIN)
    secret = world.challenge(subject="CN=device", sans=[HOST, UPN])
    return holder(enrol(secret, HOST, UPN, eku=[CLIENT, SMARTCARD]))


def test_a_renewal_keeps_what_the_certificate_has(world, alice, renew):
    reply = renew(alice, UPN, eku=[SMARTCARD])
    assert (names(reply), purposes(reply.x509)) == ([UPN], [SMARTCARD])


def test_a_renewal_elsewhere_is_without(world, alice, renew):
    """Whatever an endpoint issued before: under another profile nothing of it is taken over."""
    world.use(profile=Profile())
    reply = renew(alice, HOST, UPN, eku=[CLIENT, SMARTCARD])
    assert (names(reply), purposes(reply.x509)) == ([HOST], [CLIENT])


def test_new_names_are_no_new_identity(world, alice, renew):
    world.use(renewal=RenewalRules(new_names=True))
    assert renew(alice, SID).refusal == ("badRequest", f"a uri with a security identifier {ONLY}")
    assert renew(alice, "upn:bob@corp.example").refusal[0] == "badRequest"
    assert names(renew(alice, "dns:new.example", UPN)) == ["dns:new.example", UPN]


def test_a_purpose_that_the_certificate_has_not_is_not_renewed(world, enrol, renew):
    world.use(profile=LOGIN)
    plain = holder(enrol(world.challenge(), HOST))
    refusal = renew(plain, HOST, eku=[SMARTCARD]).refusal
    assert refusal == ("badRequest", f"the purpose smartcard_logon {ONLY}")
    assert names(renew(plain, HOST)) == [HOST]


def test_another_ca_does_not_say_who_somebody_is(world, renew):
    factory = keys.certify("Factory", keys.rsa_key("factory"), ca=True)
    upn = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    san = x509.SubjectAlternativeName([x509.OtherName(upn, der.utf8("alice@corp.example"))])
    more = [x509.Extension(san.oid, False, san)]
    device = keys.certify("device", keys.device().key, factory, more=more)
    world.use(profile=LOGIN, renewal=RenewalRules(anchors=(factory.certificate,)))
    assert renew(device, UPN).refusal == ("badRequest", f"a user principal name {ONLY}")


# --- a CA that takes its time ---------------------------------------------------------------------


@pytest.mark.parametrize("renews", [False, True])
def test_the_treatment_is_the_same_after_a_wait(world, request, renews):
    """What the CA is asked for again is what it was asked for at first."""
    signer = request.getfixturevalue("alice") if renews else keys.device()
    world.use(profile=LOGIN, parties=ThirdParties(issuer=OtherIssuer(Later())))
    if renews:
        message = RenewalReq(wanted(UPN, key=keys.rsa_key("next")))
    else:
        secret = world.challenge(subject="CN=device", sans=[UPN])
        message = PKCSReq(wanted(UPN, challenge=secret))
    sealed = devices.seal(message, to=world.ra, signer=signer, transaction_id="w")
    replies = [
        devices.read(asyncio.run(decide(world, sealed)).reply, world.ra, signer) for _ in range(2)
    ]
    assert isinstance(replies[0].rep, Pending)
    assert names(replies[1]) == [UPN]


def test_nobody_vouches_after_a_wait_either(world):
    world.use(parties=ThirdParties(issuer=OtherIssuer(Later())))
    message = PKCSReq(wanted(HOST, UPN, challenge=world.challenge()))
    sealed = devices.seal(message, to=world.ra)
    assert isinstance(ask(world, sealed).rep, Pending)
    world.use(profile=LOGIN)
    assert ask(world, sealed).refusal == ("badRequest", f"a user principal name {ONLY}")
