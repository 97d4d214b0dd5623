"""Renewal: what a certificate entitles its holder to, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from enrolment.world import CA
from scepkit.ca.authority import Authority
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.rules import RenewalRules
from scepkit.protocol.algorithms import SHA1, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import Pending, Success

DAY = timedelta(days=1)
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
UNKNOWN = ("badRequest", "a RenewalReq has to be signed with a certificate of this CA")


@pytest.fixture
def device(world):
    return world.enrolled()


@pytest.mark.rfc("S-2.3-5", "S-2.5-2", "S-2.5-3", "A-01")
def test_a_renewal(world, device):
    """A RenewalReq signed with the current certificate needs no challenge and gets a new one."""
    reply = world.renew(device, key=keys.rsa_key("next"))
    assert reply.x509.public_key() == keys.rsa_key("next").public_key()
    assert reply.x509.serial_number != device.x509.serial_number
    stored = world.store.certificate(reply.x509.serial_number)
    assert stored.renews == device.x509.serial_number


@pytest.mark.rfc("S-2.5-4", "L-12", "L-13", "S-7.6-1", "A-13", "S-3.3.2.1-1")
@pytest.mark.parametrize("kind", [17, 19])
@pytest.mark.parametrize("key", ["device", "next"])
def test_both_ways(world, device, kind, key):
    """A renewal is a RenewalReq or a PKCSReq signed with the certificate; for a new key or the old.

    Its PKCS#10 proves that the device holds the new key.
    """
    world.now += DAY
    reply = world.renew(device, kind=kind, key=keys.rsa_key(key))
    assert reply.x509.public_key() == keys.rsa_key(key).public_key()
    assert reply.x509 != device.x509


@pytest.mark.rfc("P-45", "L-08", "P-43")
@pytest.mark.parametrize("kind", [17, 19])
def test_never_the_old_certificate(world, kind):
    """The bytes of the first request, signed with its certificate, ask for the next certificate.

    That one is then the answer to every repetition.
    """
    world.use(rule=StaticChallenge("secret"))
    first = world.enrol("secret")
    holder = keys.Holder(keys.device().key, first.x509)
    message = devices.renewal_req("secret", to=world.ra, signer=holder, kind=kind)
    second = world.ask(message, holder)
    assert second.certificate != first.certificate
    assert world.ask(message, holder).certificate == second.certificate
    assert world.issued == 2


@pytest.mark.rfc("S-2.3-10", "S-2.3-11")
def test_the_reply_is_for_the_old_key(world, device):
    """The reply to a renewal is encrypted to the key that signed it, not to the new one."""
    message = devices.renewal_req(to=world.ra, signer=device, key=keys.device("stranger").key)
    reply = world.endpoint.respond(message)
    assert devices.read(reply, world.ra, device).certificate
    with pytest.raises(Exception, match="cannot be read"):
        devices.read(reply, world.ra, keys.device("stranger"))


@pytest.mark.rfc("P-57", "S-2.4-6")
def test_an_imitated_certificate(world, device):
    """Names and serial number prove nothing: the signature is verified to the CA."""
    imitation = keys.certify(
        device.x509.subject,
        keys.device("stranger").key,
        issuer_name=CA.certificate.subject,
        serial=device.x509.serial_number,
    )
    assert world.renew(imitation).refusal == UNKNOWN
    self_signed = keys.certify("device", keys.device("stranger").key)
    assert world.renew(self_signed).refusal == UNKNOWN
    assert world.renew(imitation, kind=19).refusal == REFUSAL
    assert world.issued == 1


@pytest.mark.rfc("P-57")
def test_a_certificate_that_was_not_stored(world):
    """A certificate of this CA that the store does not know, byte for byte, renews nothing."""
    unknown = keys.certify("device", keys.device().key, keys.ca())
    refusal = world.renew(unknown).refusal
    assert refusal == (
        "badRequest",
        "the certificate that signed is not one that this CA has stored",
    )
    # The same serial number and key, in other bytes.
    stored = world.enrolled()
    other = keys.certify("device", stored.key, keys.ca(), serial=stored.x509.serial_number)
    assert world.renew(other).refusal == refusal


@pytest.mark.rfc("P-57")
def test_another_endpoint(world, device):
    """A certificate that another endpoint of the same CA issued is not renewed here."""
    world.store.close()
    world.sql("UPDATE certificates SET endpoint = 'other'")
    world.open()
    assert world.renew(device).refusal == (
        "badRequest",
        "the certificate that signed was issued elsewhere",
    )


@pytest.mark.rfc("P-57")
@pytest.mark.parametrize("kind", [17, 19])
def test_a_revoked_certificate(world, device, kind):
    """A revoked certificate renews nothing, not even with a challenge."""
    world.store.revoke(device.x509.serial_number, reason=1, by="test", now=world.now)
    secret = world.challenge()
    for challenge in (None, secret):
        reply = world.ask(
            devices.renewal_req(challenge, to=world.ra, signer=device, kind=kind), device
        )
        assert reply.refusal == ("badRequest", "the certificate that signed was revoked")
    assert (world.issued, world.spent) == (1, 1)


@pytest.mark.rfc("P-57", "P-22")
def test_validity(world):
    """A renewal is granted until the certificate's end, or so many days later as is configured."""
    world.use(profile=Profile(validity=100 * DAY))
    device = world.enrolled()
    end = device.x509.not_valid_after_utc
    world.now = end + DAY
    text = world.renew(device).refusal[1]
    assert text == f"the certificate that signed expired at {end} (renewal.grace of the profile)"
    world.use(renewal=RenewalRules(grace=2 * DAY))
    assert isinstance(world.renew(device).rep, Success)
    world.now = end + 3 * DAY
    assert world.renew(device, transaction_id="b").refusal[0] == "badRequest"


@pytest.mark.rfc("P-57")
@pytest.mark.parametrize("grace", [0 * DAY, 30 * DAY], ids=str)
def test_no_well_defined_end(world, grace):
    """A factory's certificate that never ends (RFC 5280 section 4.1.2.5) renews with a grace."""
    factory = keys.certify("Factory CA", keys.rsa_key("factory"), ca=True)
    device = keys.certify("device", keys.device().key, factory, not_after=NEVER)
    world.use(renewal=RenewalRules(anchors=(factory.certificate,), grace=grace))
    assert isinstance(world.renew(device).rep, Success)


@pytest.mark.rfc("P-57", "L-14")
def test_window(world, device):
    """With a window a renewal is granted in the last days only, and the answer says from when."""
    world.use(renewal=RenewalRules(window=30 * DAY))
    start = device.x509.not_valid_after_utc - 30 * DAY
    world.now = start - DAY
    assert world.renew(device).refusal == (
        "badRequest",
        (
            f"too early: this certificate can be renewed from {start} on "
            "(renewal.window of the profile)"
        ),
    )
    world.now = start
    assert isinstance(world.renew(device).rep, Success)


@pytest.mark.rfc("P-44", "P-43")
def test_a_lost_reply(world):
    """The same renewal again gets the same certificate, even when it could not begin any more."""
    world.use(profile=Profile(validity=100 * DAY))
    device = world.enrolled()
    message = devices.renewal_req(to=world.ra, signer=device, key=keys.rsa_key("next"))
    first = world.ask(message, device)
    world.now = device.x509.not_valid_after_utc + DAY
    again = world.ask(message, device)
    assert again.certificate == first.certificate
    assert world.issued == 2


@pytest.mark.rfc("P-57")
@pytest.mark.parametrize("kind", [17, 19])
@pytest.mark.parametrize(
    ("names", "granted"),
    [
        ({"subject": "CN=DEVICE", "sans": ["dns:one.example"]}, True),
        ({"subject": "CN=device"}, True),
        ({"subject": "CN=other"}, False),
        ({"subject": "CN=device,O=Example"}, False),
        ({"sans": ["dns:one.example", "dns:evil.example"]}, False),
    ],
    ids=["the same", "fewer", "another subject", "a longer subject", "one more name"],
)
def test_names(world, kind, names, granted):
    """A renewal is for the same subject and for no name that the old certificate lacks.

    Unless the endpoint allows new names.
    """
    device = world.enrolled(sans=["dns:one.example", "dns:two.example"])
    assert isinstance(world.renew(device, kind=kind, **names).rep, Success) is granted
    world.use(renewal=RenewalRules(new_names=True))
    assert isinstance(world.renew(device, kind=kind, **names).rep, Success)


@pytest.mark.rfc("S-2.4-4", "S-2.4-5", "P-32")
@pytest.mark.parametrize("kind", [17, 19])
def test_a_challenge_in_a_renewal(world, kind):
    """A renewal needs no challenge, but one that is there must be right.

    Right is the one that the first certificate was issued for, and any unspent one; for the same
    key that one is spent.
    """
    first = world.challenge()
    holder = keys.Holder(keys.device().key, world.enrol(first, transaction_id="first").x509)

    def renew(challenge, transaction_id):
        message = devices.renewal_req(
            challenge, to=world.ra, signer=holder, kind=kind, transaction_id=transaction_id
        )
        return world.ask(message, holder)

    assert renew("wrong", "a").refusal == REFUSAL
    assert renew(first, "b").certificate
    assert world.spent == 1
    fresh = world.challenge()
    assert renew(fresh, "c").certificate
    assert world.spent == 2
    world.enrolled("stranger")
    (theirs,) = world.sql("SELECT count(*) FROM challenges WHERE spent_at IS NOT NULL")
    assert theirs == (3,)
    secret = world.challenge()
    assert world.enrol(
        secret, signer=keys.device("stranger"), subject="CN=stranger", transaction_id="s"
    ).certificate
    assert renew(secret, "d").refusal == REFUSAL
    expired = world.challenge()
    world.now += timedelta(hours=2)
    assert renew(expired, "e").refusal == REFUSAL


def test_a_challenge_of_several_devices_in_a_renewal(world):
    """For a device that it was used for it is right for ever, and costs no use."""
    shared = world.challenge(uses=3)
    key = keys.device().key

    def enrolled(name, challenge):
        how = {"subject": f"CN={name}", "transaction_id": name}
        return keys.Holder(key, world.enrol(challenge, **how).x509)

    def renew(holder, transaction_id):
        subject = holder.certificate.subject_name
        how = {"subject": str(subject), "transaction_id": transaction_id}
        return world.renew(holder, challenge=shared, **how)

    def used():
        return world.sql("SELECT used, spent_at IS NULL FROM challenges ORDER BY id")[0]

    first, second = (enrolled(name, shared) for name in ("one", "two"))
    assert renew(second, "a").certificate
    assert renew(first, "b").certificate
    assert used() == (2, 1)
    third, fourth = (enrolled(name, world.challenge()) for name in ("three", "four"))
    assert renew(third, "c").certificate
    assert used() == (3, 0)
    assert renew(fourth, "d").refusal == REFUSAL
    world.now += timedelta(days=1)
    assert renew(second, "e").certificate


@pytest.mark.rfc("S-7.9-1")
@pytest.mark.parametrize("kind", [17, 19])
def test_sha1(world, device, kind):
    """A renewal over SHA-1 is refused, even where SHA-1 is allowed: nothing else authorises it."""
    world.use(responding={"allowed": frozenset({Legacy.SHA1})})
    message = devices.renewal_req(to=world.ra, signer=device, kind=kind, digest=SHA1)
    decision = world.endpoint.decide(message)
    assert decision.answer.fail_info.name == "badAlg"
    assert decision.answer.text == "a renewal cannot be signed over sha1"


def test_a_pkcsreq_with_a_challenge_is_still_a_first_enrolment(world, device):
    """What its certificate does not entitle a device to, its challenge may."""
    reply = world.ask(
        devices.renewal_req(
            world.challenge(), to=world.ra, signer=device, kind=19, subject="CN=other"
        ),
        device,
    )
    assert reply.x509.subject.rfc4514_string() == "CN=other"
    assert world.store.certificate(reply.x509.serial_number).renews is None


@pytest.mark.rfc("S-2.9-4", "S-2.3-7")
def test_renewal_switched_off(world, device):
    """Where renewal is off, a RenewalReq is refused, and type 19 needs its challenge."""
    world.use(renewal=None)
    assert world.renew(device).refusal == (
        "badRequest",
        "this server does not renew certificates",
    )
    assert world.renew(device, kind=19).refusal == REFUSAL


@pytest.mark.rfc("S-2.3-6", "A-15")
def test_foreign_certificates(world):
    """Certificates of another CA renew nothing, unless the operator names that CA; then by 17."""
    factory = keys.certify("Factory CA", keys.rsa_key("factory"), ca=True)
    device = keys.certify("device", keys.device().key, factory)
    stranger = keys.certify(
        "device",
        keys.device("stranger").key,
        keys.certify("Factory CA", keys.rsa_key("imitation"), ca=True),
    )
    assert world.renew(device).refusal == UNKNOWN
    world.use(renewal=RenewalRules(anchors=(factory.certificate,)))
    reply = world.renew(device)
    assert reply.x509.issuer == CA.certificate.subject
    assert world.store.certificate(reply.x509.serial_number).renews is None
    assert world.renew(stranger, transaction_id="b").refusal == UNKNOWN
    assert world.renew(device, kind=19, transaction_id="c").refusal == REFUSAL
    assert world.renew(device, subject="CN=other", transaction_id="d").refusal[0] == "badRequest"


@pytest.mark.rfc("S-5.1-2")
def test_across_a_rollover(world, device):
    """After a rollover the old CA's certificates renew, and the new CA issues."""
    new = keys.certify(
        "Test CA 2", keys.rsa_key("ca 2"), ca=True, key_usage=keys.usage("key_cert_sign")
    )
    ra = keys.ra().credential
    world.use(issuers=Issuers([IssuingCA(Authority(new.x509, new.key), (ra,))], [CA]))
    assert world.renew(device).x509.issuer == new.x509.subject
    world.use(issuers=Issuers([IssuingCA(Authority(new.x509, new.key), (ra,))]))
    assert world.renew(device, transaction_id="b").refusal == UNKNOWN


@pytest.mark.rfc("S-5.1-2", "S-5.1-1")
def test_ahead_of_a_rollover(world, device):
    """A request that is encrypted to the next CA is issued by it, and answered by it."""
    new = keys.certify(
        "Test CA 2",
        keys.rsa_key("ca 2"),
        ca=True,
        key_usage=keys.usage("key_cert_sign", "digital_signature", "key_encipherment"),
    )
    ra = keys.ra().credential
    world.use(
        issuers=Issuers(
            [IssuingCA(CA, (ra,)), IssuingCA(Authority(new.x509, new.key), (new.credential,))]
        ),
        responding={"credentials": [ra, new.credential]},
    )
    message = devices.renewal_req(to=new.certificate, signer=device)
    reply = devices.read(world.endpoint.respond(message), new.certificate, device)
    assert reply.x509.issuer == new.x509.subject
    assert world.renew(device, transaction_id="b").x509.issuer == CA.certificate.subject


def test_the_chain_goes_with_the_certificate_where_wanted(world):
    """With reply_chain the CA's certificate is behind the issued one, and only then (P-27)."""
    world.use(reply_chain=True)
    issued, ca = world.enrol(world.challenge()).rep.certificates
    assert x509.load_der_x509_certificate(issued).issuer == CA.certificate.subject
    assert x509.load_der_x509_certificate(ca) == CA.certificate


@pytest.mark.rfc("P-55")
@pytest.mark.parametrize("kind", [17, 19])
def test_a_recorded_request_in_a_renewal(world, kind):
    """Another's recorded request, signed anew as a renewal, leaves the challenge in it unspent."""
    thief = world.enrolled("stranger", subject="CN=device")
    secret = world.challenge()
    message = devices.renewal_req(
        secret, to=world.ra, signer=thief, kind=kind, key=keys.device().key, transaction_id="t"
    )
    assert world.ask(message, thief).x509.public_key() == keys.device().key.public_key()
    assert world.spent == 1
    assert world.enrol(secret).certificate
    assert world.spent == 2


@pytest.mark.rfc("L-12")
@pytest.mark.parametrize("what", ["expired", "purged", "of another endpoint"])
def test_who_signs_with_a_certificate_that_renews_nothing(world, what):
    """A PKCSReq signed with it is judged by its challenge, or by an operator, as a new device's.

    One that this endpoint issued is in the chain all the same.
    """
    world.use(profile=Profile(validity=100 * DAY))
    device = world.enrolled()
    if what == "expired":
        world.now += 101 * DAY
    else:
        world.store.close()
        world.sql(
            {
                "purged": "UPDATE certificates SET serial = '1' || serial, der = x'00'",
                "of another endpoint": "UPDATE certificates SET endpoint = 'other'",
            }[what]
        )
        world.open()
    again = {"signer": device, "to": world.ra, "kind": 19}
    assert world.ask(devices.renewal_req(**again), device).refusal[0] == "badRequest"
    secret = world.challenge()
    reply = world.ask(devices.renewal_req(secret, **again, transaction_id="b"), device)
    renews = device.x509.serial_number if what == "expired" else None
    assert world.store.certificate(reply.x509.serial_number).renews == renews
    world.use(approval=True)
    waits = world.ask(devices.renewal_req(**again, transaction_id="c"), device)
    assert isinstance(waits.rep, Pending)
    by_17 = devices.renewal_req(secret, to=world.ra, signer=device, transaction_id="d")
    assert world.ask(by_17, device).refusal[0] == "badRequest"


@pytest.mark.rfc("P-57")
def test_too_early_is_no_matter_for_an_operator(world, device):
    """A device that renews too soon does not fill the queue."""
    world.use(renewal=RenewalRules(window=DAY), approval=True)
    message = devices.renewal_req(to=world.ra, signer=device, kind=19)
    assert world.ask(message, device).refusal[1].startswith("too early")


@pytest.mark.rfc("S-2.3-6", "A-15")
def test_a_foreign_certificate_that_was_revoked_here(world):
    """Where this server holds the other CA as well, it knows what was revoked."""
    device = world.enrolled()
    other = keys.certify(
        "Other CA", keys.rsa_key("other"), ca=True, key_usage=keys.usage("key_cert_sign")
    )
    ra = keys.ra().credential
    world.use(
        issuers=Issuers([IssuingCA(Authority(other.x509, other.key), (ra,))]),
        renewal=RenewalRules(anchors=(Certificate.of(CA.certificate),)),
    )
    assert world.renew(device).certificate
    world.store.revoke(device.x509.serial_number, reason=1, by="test", now=world.now)
    assert world.renew(device, transaction_id="b").refusal == (
        "badRequest",
        "the certificate that signed was revoked",
    )
