"""Validate, sign, notify, deliver: nobody gets what Intune did not agree to, twice or too late."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

import forge
import keys
from enrolment import devices
from enrolment.test_third_parties import Referee, for_ever
from enrolment.world import NAME
from scepkit.enrolment.challenges.service import ServiceChallenge
from scepkit.enrolment.rules import SubjectRule
from scepkit.enrolment.secret_box import SecretBox
from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import ThirdPartyFailed
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server.http.exchange import ClientGone
from scepkit.server.intune import notification
from scepkit.server.intune.client import IntuneClient
from scepkit.server.intune.kept_requests import KeptRequests
from scepkit.server.intune.notification import Notification
from scepkit.server.intune.single_flight import SingleFlight
from scepkit.server.intune.validation import Validation
from scepkit.server.web.waiting_room import WaitingRoom
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.server.webhooks.circuit import Circuit
from scepkit.services.scep_decision import Waiting
from scepkit.store import IntuneName, Notice, SameSubject, Status
from server.intune import Running

SID = "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1004336348-1177238915-682003330-1104"
KINDS = frozenset({"upn", "uri"})
UPN = "upn:al@corp.example"


@pytest.fixture(scope="module")
def standing():
    with Running() as intune:
        yield intune


@pytest.fixture
def intune(standing):
    standing.forget()
    return standing


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(notification, "_AGAIN", 0.0)


class StoreOf:
    """The store of a world, whichever that is by now."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world.store, name)


def connect(world, intune, *, waits=True, failures=1000, seconds=30, **changes):
    """Have a world ask Intune, as after a start of the server."""
    client = IntuneClient(intune.registration(seconds=seconds))
    circuit = Circuit(failures, timedelta(seconds=60), lambda: world.now)
    box = SecretBox(world.key)
    kept = KeptRequests("stand-in", StoreOf(world), box, lambda: world.now)
    asked = {"client": client, "circuit": circuit, "requests": kept}
    teller = Notification(**asked, calls=SingleFlight(100), waits=waits)
    referee = Validation(**asked, calls=SingleFlight(100))
    parties = ThirdParties(referee=referee, teller=teller, observer=teller)
    world.use(rule=ServiceChallenge(), renewal=None, parties=parties, **changes)


def challenge(intune, **wanted):
    return intune.it.challenge({"subject": "CN=device"} | wanted)


def request(world, secret, **how):
    return devices.pkcs_req(secret, to=world.ra, **how)


async def decide(world, message, *, gone=for_ever, seconds=30):
    """Decide on a message as the web front does."""
    with ThreadPoolExecutor(2) as threads, ThreadPoolExecutor(2) as storing:
        workers = WorkerPool(threads, world.store)
        room = WaitingRoom(workers, storing, most=100, seconds=seconds)
        step = await workers.decide(message, world.endpoint)
        if isinstance(step, Waiting):
            step = await room.decide(step, world.endpoint, gone)
        return step


def ask(world, message, **how):
    return devices.read(asyncio.run(decide(world, message, **how)).reply, world.ra).rep


def told(intune):
    return [one["operation"] for one in intune.asked("validate", "success", "failure")]


def states(world):
    """Return how the requests stand, and which certificates are revoked."""
    rows = world.store.requests(status=None)
    certificates = world.store.certificates()
    return [one.status for one in rows], [one.revoked_at is not None for one in certificates]


def notices(world):
    far = world.now + timedelta(days=1)
    return [(one.notice, one.code) for one in world.store.due_notices("stand-in", far, 100)]


# --- a yes ----------------------------------------------------------------------------------------


def test_a_device_gets_what_intune_has_ordered(world, intune):
    connect(world, intune)
    rep = ask(world, request(world, challenge(intune)))
    assert isinstance(rep, Success)
    assert told(intune) == ["validate", "success"]
    success = intune.asked("success")[0]["body"]["notification"]
    (row,) = world.store.certificates()
    assert success["certificateSerialNumber"] == f"{row.serial:X}"
    assert success["caConfiguration"] == NAME
    assert success["issuingCertificateAuthority"] == "CN=Test CA"
    assert success["certificateExpirationDateUtc"][:10] == f"{row.not_after:%Y-%m-%d}"
    assert states(world) == ([Status.ISSUED], [False])
    assert notices(world) == []


def test_a_lost_reply_costs_no_call(world, intune):
    connect(world, intune)
    message = request(world, challenge(intune))
    assert ask(world, message).certificates == ask(world, message).certificates
    assert told(intune) == ["validate", "success"]


def test_the_same_request_at_once_is_one_validation_and_one_certificate(world, intune):
    connect(world, intune)
    intune.it.seconds = 0.1
    message = request(world, challenge(intune))

    async def together():
        return await asyncio.gather(*(decide(world, message) for _ in range(6)))

    replies = {one.answer.certificates for one in asyncio.run(together())}
    assert len(replies) == 1
    assert told(intune).count("validate") == 1
    assert states(world) == ([Status.ISSUED], [False])


def test_names_that_intune_has_judged_say_who_somebody_is(world, intune):
    connect(world, intune, profile=replace(world.profile, identity=True, san_types=KINDS))
    names = [UPN, SID]
    message = request(world, challenge(intune), sans=names)
    (der,) = ask(world, message).certificates
    assert [str(one) for one in Certificate.read(der).alternative_names] == names


def test_a_service_that_says_yes_and_no_more_is_not_intune(world, intune):
    """The profile takes log-ins: it is Intune's having judged the names that lets one in."""
    connect(world, intune, profile=replace(world.profile, identity=True, san_types=KINDS))
    world.use(parties=replace(world.parties, referee=Referee()))
    message = request(world, challenge(intune), sans=[UPN])
    assert isinstance(ask(world, message), Failure)


@pytest.mark.parametrize("wrap", [("sha1", "sha1"), ("sha256", "sha256")], ids=str)
def test_a_device_that_uses_oaep_gets_it_and_its_certificate_alone(world, intune, wrap):
    """A device takes the first certificate that it finds for its own."""
    connect(world, intune)
    wanted = forge.csr(attributes=[forge.challenge(challenge(intune))])
    content = forge.envelope(wanted, world.ra_holder, oaep=wrap)
    reply = asyncio.run(decide(world, forge.request(content=content))).reply
    info = forge.body_of(forge.content_of(reply))[1][0]
    assert info[2][0].der() == forge.oid(forge.RSAES_OAEP)
    hash_, mask = (forge.DIGESTS[one][1]() for one in wrap)
    scheme = padding.OAEP(padding.MGF1(mask), hash_, None)
    assert len(keys.device().key.decrypt(info[3].content, scheme)) == 16
    (der,) = devices.read(reply, world.ra).rep.certificates
    assert [one.der for one in world.store.certificates()] == [der]


# --- a no -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ChallengeExpired", "SubjectNameMismatch", "Unknown", "Newest"])
def test_a_refused_validation_is_a_failure_and_nothing_is_signed(world, intune, code):
    connect(world, intune)
    intune.fault("validate", f"code:{code}")
    decision = asyncio.run(decide(world, request(world, challenge(intune))))
    assert decision.answer == Failure(2, "the request was refused")
    assert decision.reason.startswith(f"intune stand-in says no: {code} (")
    assert "; activity " in decision.reason
    assert states(world) == ([], [])
    assert told(intune) == ["validate"]


@pytest.mark.parametrize(
    "fault", ["status:500", "html", "no-code", "other", "drop", "code:success"]
)
def test_what_is_no_yes_issues_nothing(world, intune, fault):
    connect(world, intune)
    intune.fault("validate", fault)
    message = request(world, challenge(intune))
    if fault == "code:success":
        assert isinstance(ask(world, message), Failure)
    else:
        with pytest.raises(ThirdPartyFailed):
            ask(world, message)
    assert states(world) == ([], [])
    assert isinstance(ask(world, message), Success)


@pytest.mark.parametrize(
    "fault", ["code:Unknown", "code:ChallengeExpired", "code:success", "html", "no-code", "other"]
)
def test_a_failed_notification_ends_the_transaction(world, intune, fault):
    connect(world, intune)
    intune.fault("success", fault)
    message = request(world, challenge(intune))
    assert isinstance(ask(world, message), Failure)
    assert states(world) == ([Status.REJECTED], [True])
    code = fault.partition(":")[2] or "Unknown"
    assert notices(world) == [(Notice.FAILURE, code)]
    # It is decided: nobody is asked again.
    assert isinstance(ask(world, message), Failure)
    assert told(intune) == ["validate", "success"]


def test_a_service_at_fault_is_told_once_more_and_then_no_more(world, intune):
    connect(world, intune)
    intune.fault("success", "late")
    assert isinstance(ask(world, request(world, challenge(intune))), Success)
    intune.fault("success", "status:500", 2)
    other = keys.device("other")
    second = request(world, challenge(intune), transaction_id="b", signer=other)
    assert isinstance(ask(world, second), Failure)
    assert notices(world) == [(Notice.FAILURE, "Unknown")]


@pytest.mark.parametrize("fault", ["hang", "drop", "status:503", "status:429"])
def test_a_notification_without_an_answer_is_sent_again_when_the_device_comes_back(
    world, intune, fault
):
    connect(world, intune, seconds=0.5 if fault == "hang" else 30)
    intune.fault("success", fault)
    message = request(world, challenge(intune))
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    assert states(world) == ([Status.SIGNED], [False])
    assert isinstance(ask(world, message), Success)
    assert told(intune) == ["validate", "success", "success"]
    assert states(world) == ([Status.ISSUED], [False])


def test_after_a_restart_it_goes_on_where_it_stopped(world, intune):
    connect(world, intune)
    message = request(world, challenge(intune))
    intune.fault("success", "drop")
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    connect(world, intune)
    assert isinstance(ask(world, message), Success)
    assert told(intune) == ["validate", "success", "success"]


def test_a_device_that_gave_up_has_not_spent_its_challenge(world, intune):
    """Intune may let a challenge serve once: so the word on it is heard to its end, and kept."""
    connect(world, intune)
    intune.it.seconds = 0.2
    message = request(world, challenge(intune))

    async def hangs_up():
        while not intune.asked("validate"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def twice():
        with pytest.raises(ClientGone):
            await decide(world, message, gone=hangs_up)
        return await decide(world, message)

    assert isinstance(asyncio.run(twice()).answer, Success)
    assert told(intune) == ["validate", "success"]


def test_a_transaction_of_another_key_is_not_even_validated(world, intune):
    connect(world, intune)
    ask(world, request(world, challenge(intune)))
    other = keys.device("other")
    rep = ask(world, request(world, challenge(intune), signer=other))
    assert isinstance(rep, Failure)
    assert told(intune) == ["validate", "success"]


@pytest.mark.parametrize("once", [True, False])
def test_two_requests_with_one_challenge_get_what_intune_says(world, intune, once):
    connect(world, intune)
    intune.it.once, secret, other = once, challenge(intune), keys.device("other")
    messages = [
        request(world, secret),
        request(world, secret, signer=other, transaction_id="b"),
    ]

    async def together():
        return await asyncio.gather(*(decide(world, one) for one in messages))

    answers = [type(one.answer) for one in asyncio.run(together())]
    assert answers.count(Success) == (1 if once else 2)


@pytest.mark.parametrize("off", [1, -1])
def test_a_clock_that_is_set_by_an_hour_spoils_nothing(world, intune, off):
    """Tokens live by another clock; what was validated and signed before is gone on with."""
    connect(world, intune, failures=1)
    message = request(world, challenge(intune))
    intune.fault("success", "drop")
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    world.now += timedelta(hours=off)
    (der,) = ask(world, message).certificates
    assert told(intune) == ["validate", "success", "success"]
    assert len(intune.asked("token")) == 2  # one for Graph
    assert [(one.der, one.revoked_at) for one in world.store.certificates()] == [(der, None)]


def test_a_request_with_two_readings_does_not_get_to_intune(world, intune):
    connect(world, intune)
    message = request(world, challenge(intune), subject="CN=device,CN=admin")
    assert isinstance(ask(world, message), Failure)
    assert told(intune) == []


def test_a_request_without_a_challenge_does_not_get_to_intune(world, intune):
    connect(world, intune)
    assert isinstance(ask(world, request(world, None)), Failure)
    assert told(intune) == []


def test_a_yes_that_comes_to_nothing_is_told_of(world, intune, monkeypatch):
    """Another key has a certificate for that subject, which is seen at the commit."""
    connect(world, intune)
    ask(world, request(world, challenge(intune)))
    world.use(subject=SubjectRule(treatment=SameSubject.REFUSED))
    other = keys.device("other")
    monkeypatch.setattr(type(world.store), "has_other", lambda *_: False)  # as if at once
    message = request(world, challenge(intune), signer=other, transaction_id="b")
    assert isinstance(ask(world, message), Failure)
    assert notices(world) == [(Notice.FAILURE, "IssuingFailed")]
    assert told(intune) == ["validate", "success", "validate"]


# --- without waiting ------------------------------------------------------------------------------


def test_an_operator_may_have_certificates_delivered_before_intune_has_heard_of_them(world, intune):
    connect(world, intune, waits=False)
    intune.fault("success", "hang", -1)
    message = request(world, challenge(intune))
    (der,) = ask(world, message).certificates
    assert told(intune) == ["validate"]
    (row,) = world.store.due_notices("stand-in", world.now, 10)
    assert (row.notice, row.certificate) == (Notice.SUCCESS, der)
    assert row.name == IntuneName(NAME, b"a", row.name.csr_digest)


def test_the_request_is_kept_encrypted(world, intune):
    connect(world, intune)
    secret = challenge(intune)
    ask(world, request(world, secret))
    octets = world.path.read_bytes() + world.path.with_name("scep.db-wal").read_bytes()
    assert secret.encode() not in octets
