"""Manual approval: requests that wait, and what an operator makes of them."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import forge
import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from enrolment.test_endpoint import OTHER_KEY
from enrolment.test_races import at_once
from enrolment.world import CA
from scepkit.ca.authority import Authority
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.errors import BadRequest, UsageError
from scepkit.operations.approval import REJECTED
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.store import AlreadyAnswered, ChallengeSpent, Recorded, SignerRevoked, Status
from waiting import PATIENCE

DAY = timedelta(days=1)


@pytest.fixture
def manual(world):
    world.use(approval=True)
    return world


def waiting(world):
    return list(world.store.requests())


def approve(world, request_id=None):
    row = request_id or waiting(world)[0].id
    return world.approval.approve(row, by="test", now=world.now)


def reject(world, request_id=None, reason=""):
    row = request_id or waiting(world)[0].id
    return world.approval.reject(row, reason=reason, by="test", now=world.now)


@pytest.mark.rfc("S-2.4-3", "S-2.4-7", "S-3.3.2.3-1", "S-4.3.1-1", "P-77")
def test_a_request_waits(manual):
    """With manual approval a PKCSReq without a challenge is answered PENDING and queued."""
    message = devices.pkcs_req(to=manual.ra, subject="CN=device,O=Example")
    assert isinstance(manual.ask(message).rep, Pending)
    (row,) = waiting(manual)
    assert (row.subject, row.status) == ("CN=device,O=Example", Status.PENDING)
    assert manual.issued == 0


@pytest.mark.rfc("L-15")
def test_the_fingerprint_that_is_compared(manual):
    """The queue shows the SHA-256 of the PKCS#10 as the device sent it, challenge included."""
    secret = manual.challenge()
    wanted = devices.request(secret)
    manual.ask(devices.seal(devices.PKCSReq(wanted), to=manual.ra))
    (row,) = waiting(manual)
    assert row.csr_digest == hashlib.sha256(wanted.der).digest()
    assert secret.encode() not in row.csr


@pytest.mark.parametrize("challenge", ["g", "device", "x", ".", "sécret"])
def test_a_challenge_changes_nothing_else(manual, challenge):
    """What is approved is what was asked for, whatever else in the request the challenge is like.

    A challenge of one letter must not put stars where the names or the key have that letter.
    """
    manual.use(rule=NoChallenge())
    manual.enrol(challenge, subject="CN=g.mill.test,O=device x", sans=["dns:g.mill.test"])
    approve(manual)
    issued = manual.poll().x509
    assert issued.subject == parse_subject("CN=g.mill.test,O=device x")
    assert issued.public_key() == keys.device().key.public_key()
    assert [*map(str, Certificate.of(issued).alternative_names)] == ["dns:g.mill.test"]


@pytest.mark.rfc("S-7.3-4")
@pytest.mark.parametrize("tag", [0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E])
def test_no_challenge_is_kept_in_clear(manual, tag):
    """However a device writes its challenge, nothing of it is in the queue."""
    manual.use(rule=NoChallenge())
    text = "secret-pass" if tag in (0x13, 0x16) else "sécret-pass"
    encodings = {0x0C: "utf-8", 0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
    written = text.encode(encodings.get(tag, "ascii"))
    value = forge.tlv(tag, written)
    manual.ask(forge.request(forge.csr(attributes=[forge.challenge(value)])))
    (row,) = waiting(manual)
    assert written not in row.csr


@pytest.mark.rfc("S-2.5-5", "S-2.5-6", "S-4.4.1-1", "S-5.2-4")
def test_approved(manual):
    """Polls are PENDING until the approval; after it they get the certificate, every time."""
    message = devices.pkcs_req(to=manual.ra, sans=["dns:device.example"])
    manual.ask(message)
    assert isinstance(manual.poll().rep, Pending)
    assert isinstance(approve(manual), Recorded)
    reply = manual.poll()
    reply.x509.verify_directly_issued_by(CA.certificate)
    assert reply.x509.public_key() == keys.device().key.public_key()
    assert manual.poll().certificate == reply.certificate
    assert manual.ask(message).certificate == reply.certificate
    assert manual.issued == 1
    assert waiting(manual) == []


@pytest.mark.rfc("P-43", "P-77")
@pytest.mark.parametrize("times", [2, 5])
def test_repetitions_wait_once(manual, times):
    """A request that is sent again while it waits is one request (strongSwan polls like that)."""
    message = devices.pkcs_req(to=manual.ra)
    for _ in range(times):
        assert isinstance(manual.ask(message).rep, Pending)
    assert len(waiting(manual)) == 1


@pytest.mark.rfc("S-4.3.1-1", "S-3.3.2.2-2")
def test_rejected(manual):
    """A rejection reaches the device as FAILURE(badRequest) with the operator's reason."""
    message = devices.pkcs_req(to=manual.ra)
    manual.ask(message)
    assert reject(manual, reason="who are you?").status is Status.REJECTED
    for reply in (manual.poll(), manual.ask(message)):
        assert reply.refusal == ("badRequest", "who are you?")
    other = devices.pkcs_req(to=manual.ra, transaction_id="b")
    manual.ask(other)
    reject(manual)
    assert manual.ask(other).refusal == ("badRequest", REJECTED)


@pytest.mark.rfc("P-47", "P-46")
def test_polls_of_strangers(manual):
    """A poll has to be signed with its request's key; others hear nothing, before and after."""
    manual.enrol()
    stranger = keys.device("stranger")
    assert manual.poll(signer=stranger).refusal == OTHER_KEY
    approve(manual)
    assert manual.poll(signer=stranger).refusal == OTHER_KEY
    assert manual.poll().certificate


@pytest.mark.rfc("P-48")
def test_expiry(manual):
    """What nobody decides in time is refused, with or without the task that cleans up."""
    manual.enrol()
    (row,) = waiting(manual)
    manual.now += 7 * DAY - timedelta(seconds=1)
    assert isinstance(manual.poll().rep, Pending)
    manual.now += timedelta(seconds=1)
    assert manual.poll().refusal[0] == "badRequest"
    answer = approve(manual, row.id)
    assert isinstance(answer, AlreadyAnswered)
    assert answer.outcome.status is Status.EXPIRED
    manual.store.expire(manual.now)
    assert manual.poll().refusal[0] == "badRequest"
    assert manual.issued == 0


@pytest.mark.rfc("S-2.4-3", "P-32")
def test_challenges_beside_approval(manual):
    """A challenge is not needed where an operator decides, but a wrong one is refused at once.

    It is spent by the approval, so a rejection does not cost the device its challenge.
    """
    assert manual.enrol("wrong").refusal == REFUSAL
    secret = manual.challenge()
    assert isinstance(manual.enrol(secret).rep, Pending)
    assert manual.spent == 0
    assert isinstance(manual.enrol(secret, transaction_id="b").rep, Pending)
    second, first = sorted((row.id for row in waiting(manual)), reverse=True)
    assert isinstance(approve(manual, first), Recorded)
    assert manual.spent == 1
    assert approve(manual, second) == ChallengeSpent()
    assert manual.issued == 1


@pytest.mark.rfc("L-25")
def test_without_challenges(manual):
    """An endpoint without challenges takes no notice of one: IOS asks its users for it."""
    manual.use(rule=NoChallenge())
    assert isinstance(manual.enrol("ohm-44-tulpe").rep, Pending)


def test_renewals_do_not_wait(world):
    """Whoever was approved once renews without an operator."""
    device = world.enrolled()
    world.use(approval=True)
    assert isinstance(world.renew(device).rep, Success)


def expired(manual):
    """A device whose certificate ended asks with it for the next one, and has to wait."""
    manual.use(profile=Profile(validity=10 * DAY), approval=False)
    device = manual.enrolled()
    manual.use(approval=True)
    manual.now += 11 * DAY
    message = devices.renewal_req(to=manual.ra, signer=device, kind=19)
    assert isinstance(manual.ask(message, device).rep, Pending)
    return device


def test_a_renewal_that_waited_is_in_the_chain(manual):
    """What an operator approves of it names the certificate that signed, like any renewal."""
    old = expired(manual).x509.serial_number
    (row,) = waiting(manual)
    assert row.renews == old
    serial = approve(manual).outcome.serial
    assert manual.store.certificate(serial).renews == old
    assert {one.serial for one in manual.store.renewal_chains([old])} == {old, serial}


def test_a_renewal_that_waits_for_a_revoked_certificate_is_not_approved(manual):
    old = expired(manual).x509.serial_number
    manual.store.revoke(old, reason=1, by="test", now=manual.now)
    assert approve(manual) == SignerRevoked()
    assert manual.issued == 1


def test_decided_once(manual):
    """What was decided stands; the other decision is told so."""
    manual.enrol()
    (row,) = waiting(manual)
    approve(manual)
    assert reject(manual, row.id).status is Status.ISSUED
    assert isinstance(approve(manual, row.id), AlreadyAnswered)
    assert manual.issued == 1


def test_what_the_profile_does_not_allow(manual):
    """An approval that no certificate can follow says why, and the request goes on waiting."""
    manual.enrol()
    manual.use(profile=Profile(rsa_bits=(3072, 8192)))
    with pytest.raises(BadRequest, match="3072"):
        approve(manual)
    assert len(waiting(manual)) == 1


def test_unknown_requests(manual):
    """A request that is not there, or another endpoint's, cannot be decided."""
    with pytest.raises(UsageError, match="no request 7"):
        approve(manual, 7)
    manual.enrol()
    (row,) = waiting(manual)
    manual.sql("UPDATE transactions SET endpoint = 'other'")
    with pytest.raises(UsageError):
        reject(manual, row.id)


@pytest.mark.rfc("P-43", "P-50")
def test_fifty_at_once(manual):
    """One request fifty times at once waits once; fifty polls at once get one certificate."""
    message = devices.pkcs_req(to=manual.ra)
    replies = at_once(manual, [(message, None)] * 50)
    assert all(isinstance(reply.rep, Pending) for reply in replies)
    assert len(waiting(manual)) == 1
    approve(manual)
    polls = [(devices.cert_poll(to=manual.ra), None)] * 50
    assert len({reply.certificate for reply in at_once(manual, polls)}) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_approve_racing_reject(manual, attempt):
    """Of two operators who decide at the same moment one wins, and the device hears only that."""
    manual.enrol()
    (row,) = waiting(manual)
    approved, rejected = both(lambda: approve(manual, row.id), lambda: reject(manual, row.id, "no"))
    reply = manual.poll()
    if isinstance(approved, Recorded):
        assert reply.certificate == approved.outcome.certificate
        assert rejected.certificate == reply.certificate
    else:
        assert approved.outcome.status is rejected.status is Status.REJECTED
        assert reply.refusal == ("badRequest", "no")
    assert manual.issued == isinstance(approved, Recorded)


@pytest.mark.parametrize("attempt", range(5))
def test_poll_racing_approval(manual, attempt):
    """A poll during an approval is PENDING or has the certificate, nothing in between."""
    manual.enrol()
    polled, approved = both(manual.poll, lambda: approve(manual))
    if isinstance(polled.rep, Success):
        assert polled.certificate == approved.outcome.certificate
    else:
        assert isinstance(polled.rep, Pending)
    assert manual.poll().certificate == approved.outcome.certificate


@pytest.mark.parametrize("attempt", range(5))
def test_renewal_racing_revocation(world, attempt):
    """A renewal is before the revocation or after it: then there is no new certificate."""
    device = world.enrolled()

    def revoke():
        world.store.revoke(device.x509.serial_number, reason=1, by="test", now=world.now)

    reply, _ = both(lambda: world.renew(device), revoke)
    assert world.issued == (2 if isinstance(reply.rep, Success) else 1)
    if not isinstance(reply.rep, Success):
        assert reply.refusal == ("badRequest", "the certificate that signed was revoked")
    assert world.renew(device, transaction_id="b").refusal[0] == "badRequest"


def both(one, other):
    """Call two functions at the same moment and return what they returned."""
    start = threading.Barrier(2)

    def call(function):
        start.wait(PATIENCE)
        return function()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(call, (one, other)))


@pytest.mark.rfc("S-5.1-2")
def test_approved_after_a_rollover(manual):
    """The CA that the device asked, and trusts, issues; if it is no more, nobody does."""
    manual.enrol()
    new = keys.certify(
        "Test CA 2", keys.rsa_key("ca 2"), ca=True, key_usage=keys.usage("key_cert_sign")
    )
    issuer = IssuingCA(Authority(new.x509, new.key), (keys.ra().credential,))
    manual.use(issuers=Issuers([issuer]))
    with pytest.raises(UsageError, match="was made to is no more") as refused:
        approve(manual)
    assert refused.value.hint.startswith("reject it")
    manual.use(issuers=Issuers([issuer], [CA]))
    approve(manual)
    assert manual.poll().x509.issuer == CA.certificate.subject
    # The name that the CA has since is not to be had any more.
    manual.use(issuers=Issuers([IssuingCA(CA, (keys.ra().credential,))]))
    manual.enrol(subject="CN=Test CA 2", transaction_id="b")
    manual.use(issuers=Issuers([issuer], [CA]))
    with pytest.raises(BadRequest, match="the subject is that of the CA"):
        approve(manual)
