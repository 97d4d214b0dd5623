"""The same subject again, with another key: allowed, refused, or in the place of the old one."""

from __future__ import annotations

from datetime import timedelta

import pytest

import keys
from enrolment import devices
from enrolment.revoking import ask, request, service
from enrolment.world import NAME
from scepkit.ca.profiles.profile import Profile
from scepkit.ca.profiles.subject import AttributeRule, SubjectRules
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.rules import RenewalRules, SubjectRule
from scepkit.errors import BadRequest
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.server.settings.profiles.values import attribute_type
from scepkit.services.scep_decision import Decision
from scepkit.store import SameSubject, SubjectTaken

DAY = timedelta(days=1)
REFUSE = SubjectRule(treatment=SameSubject.REFUSED)
REPLACE = SubjectRule(treatment=SameSubject.REPLACED)
TAKEN = (
    "badRequest",
    "the subject has a valid certificate for another key (same_subject of the profile 'device')",
)
UNBOUND = (
    "badRequest",
    (
        "no bound challenge or certificate vouches for the subject "
        "(same_subject of the profile 'device')"
    ),
)


def first(world, name="device", *, subject="CN=device", bound=None, **how):
    """Enrol for the key of that name; return the answer."""
    secret = world.challenge(**({} if bound is None else {"subject": bound}))
    how = {"transaction_id": name, "signer": keys.device(name), "subject": subject, **how}
    return world.enrol(secret, **how)


def holder(name, reply):
    return keys.Holder(keys.device(name).key, reply.x509)


def is_revoked(world, reply):
    return world.store.certificate(reply.x509.serial_number).revocation_reason == 4


def test_allowed(world):
    first(world)
    assert first(world, "stranger").certificate
    assert world.issued == 2


@pytest.mark.parametrize("subject", ["CN=de vice", "CN=DE VICE", "CN=De   Vice"])
def test_refused(world, subject):
    """A subject is the same whatever its case and its runs of blanks; no challenge is spent."""
    world.use(subject=REFUSE)
    first(world, subject="CN=de vice")
    assert first(world, "stranger", subject=subject).refusal == TAKEN
    assert world.issued == world.spent == 1
    assert first(world, "stranger", subject="CN=device").certificate


def test_what_is_no_again(world):
    """The same key, what is revoked, and what has expired."""
    world.use(subject=REFUSE, profile=Profile(validity=30 * DAY))
    one = first(world)
    two = first(world, transaction_id="b")
    world.store.revoke(one.x509.serial_number, reason=1, by="alice", now=world.now)
    assert first(world, "stranger").refusal == TAKEN
    world.store.revoke(two.x509.serial_number, reason=1, by="alice", now=world.now)
    assert first(world, "stranger").certificate
    assert first(world).refusal == TAKEN
    world.now += 31 * DAY
    assert first(world, transaction_id="c").certificate


@pytest.mark.parametrize("kind", [17, 19])
def test_a_renewal_is_no_again(world, kind):
    world.use(subject=REFUSE)
    device = world.enrolled()
    reply = world.renew(device, key=keys.rsa_key("next"), kind=kind)
    assert reply.certificate
    assert not is_revoked(world, reply)
    renewed = keys.Holder(keys.rsa_key("next"), reply.x509)
    again = world.renew(renewed, key=device.key, kind=kind, transaction_id="b")
    assert again.certificate
    assert first(world, "stranger").refusal == TAKEN


def test_a_renewal_under_a_name_that_is_taken(world):
    world.use(subject=REFUSE, renewal=RenewalRules(new_names=True))
    world.enrolled()
    other = world.enrolled("stranger")
    refused = world.renew(other, key=keys.rsa_key("next"), subject="CN=device")
    assert refused.refusal == TAKEN


def test_a_lost_reply(world):
    """What was answered is answered again, though another certificate has come since."""
    world.use(rule=StaticChallenge("secret"))
    one = world.enrol("secret")
    world.enrol("secret", signer=keys.device("stranger"), transaction_id="b")
    world.use(subject=REFUSE)
    assert world.enrol("secret").certificate == one.certificate
    assert world.enrol("secret", transaction_id="c").refusal == TAKEN


def test_the_store_has_the_last_word(world):
    """What was decided at the same time as another one is refused when it is stored."""
    world.use(subject=REFUSE)
    decisions = [
        world.endpoint.decide(
            devices.pkcs_req(
                world.challenge(), to=world.ra, signer=keys.device(name), transaction_id=name
            )
        )
        for name in ("device", "stranger")
    ]
    answers = [world.endpoint.record(one).result() for one in decisions]
    assert answers[1] == SubjectTaken()
    last = world.endpoint.conclude(decisions[1], answers[1])
    assert isinstance(last, Decision)
    assert devices.read(last.reply, world.ra, keys.device("stranger")).refusal == TAKEN
    assert world.issued == world.spent == 1


def test_an_operator_is_told_and_not_whoever_asks(world):
    world.use(subject=REFUSE, approval=True, rule=NoChallenge())
    for number, name in enumerate(("device", "stranger"), 1):
        reply = world.enrol(signer=keys.device(name), transaction_id=name)
        assert isinstance(reply.rep, Pending)
        if number == 1:
            world.approval.approve(number, by="alice", now=world.now)
    approval = type(world.approval)(NAME, world.issuers, world.profile, world.store, REFUSE)
    assert approval.approve(2, by="alice", now=world.now) == SubjectTaken()


def test_replaced_when_the_new_key_signs(world):
    """Not when it is issued, nor when the old key signs; then by whatever message."""
    world.use(subject=REPLACE)
    old = first(world, bound="CN=device")
    new = first(world, "stranger", bound="CN=Device")
    assert isinstance(new.rep, Success)
    assert not is_revoked(world, old)
    assert world.poll(transaction_id="device").certificate == old.certificate
    assert world.renew(holder("device", old), key=keys.rsa_key("next")).certificate
    assert not is_revoked(world, old)
    world.poll(transaction_id="stranger", signer=holder("stranger", new))
    assert is_revoked(world, old)
    assert not is_revoked(world, new)
    refusal = world.renew(holder("device", old), key=keys.rsa_key("other")).refusal
    assert refusal == ("badRequest", "the certificate that signed was revoked")


def test_replaced_when_the_new_key_signs_by_cmp(world):
    """A revocation of one of the subject's; the others are superseded then."""
    world.use(subject=REPLACE, cmp_revoke_by_subject=True)
    old = [first(world, name, bound="CN=device") for name in ("device", "second")]
    new = holder("stranger", first(world, "stranger", bound="CN=device"))
    asked = request(new, Reason.keyCompromise, of=old[0].x509)
    assert ask(service(world), asked).verdict == "accepted"
    rows = [world.store.certificate(one.x509.serial_number) for one in old]
    assert [one.revocation_reason for one in rows] == [1, 4]
    assert world.store.certificate(new.x509.serial_number).revoked_at is None


def test_what_revokes_itself_by_cmp_replaces_nothing(world):
    world.use(subject=REPLACE)
    old = first(world, bound="CN=device")
    new = holder("stranger", first(world, "stranger", bound="CN=device"))
    assert ask(service(world), request(new)).verdict == "accepted"
    assert world.store.certificate(old.x509.serial_number).revoked_at is None


def test_a_certificate_of_the_new_key_that_was_not_issued_replaces_nothing(world):
    world.use(subject=REPLACE)
    old = first(world, bound="CN=device")
    first(world, "stranger", bound="CN=device")
    world.poll(transaction_id="stranger", signer=keys.device("stranger"))
    assert not is_revoked(world, old)


def test_a_renewal_replaces(world):
    world.use(subject=REPLACE)
    old = first(world, bound="CN=device")
    new = world.renew(holder("device", old), key=keys.rsa_key("next"))
    assert not is_revoked(world, old)
    world.renew(keys.Holder(keys.rsa_key("next"), new.x509), key=keys.rsa_key("other"))
    assert is_revoked(world, old)
    assert not is_revoked(world, new)


def test_replaced_after_a_time(world):
    world.use(subject=SubjectRule(treatment=SameSubject.REPLACED, replace_after=7 * DAY))
    old = first(world, bound="CN=device")
    first(world, "stranger", bound="CN=device")
    assert world.store.replace_due(world.now + 6 * DAY) == 0
    assert world.store.replace_due(world.now + 7 * DAY) == 1
    assert is_revoked(world, old)


def test_nobody_unbound_replaces(world):
    """Nor gets a certificate at all, which would stand beside the other one for good."""
    world.use(subject=REPLACE)
    old = first(world, bound="CN=device")
    assert first(world, "stranger").refusal == UNBOUND
    assert first(world, "stranger", subject="CN=unheard of").refusal == UNBOUND
    world.use(renewal=RenewalRules(new_names=True))
    other = first(world, "stranger", subject="CN=other", bound="CN=other")
    taken = world.renew(holder("stranger", other), key=keys.rsa_key("next"), subject="CN=device")
    assert taken.refusal == UNBOUND
    assert not is_revoked(world, old)
    assert world.issued == 2


def test_a_subject_that_is_the_same_for_all_binds_nobody(world):
    """Where the profile makes all of it, a challenge names none of the devices."""
    fixed = AttributeRule(label="CN", type=attribute_type("CN"), fixed="printer")
    world.use(subject=REPLACE, profile=Profile(subject=SubjectRules("device", {fixed.type: fixed})))
    assert first(world, bound="CN=device").refusal == UNBOUND


def test_a_request_that_waited_for_rules_of_today(world):
    """An operator who approves binds nobody: what waits is held to the rule as it is now."""
    world.use(approval=True, rule=NoChallenge())
    world.enrol()
    approval = type(world.approval)(NAME, world.issuers, world.profile, world.store, REPLACE)
    with pytest.raises(BadRequest, match="vouches for the subject"):
        approval.approve(1, by="alice", now=world.now)
