"""Third parties: a referee before the signature, and a CA that is somebody else's."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

import keys
from enrolment import devices
from scepkit.ca.authority import Authority
from scepkit.ca.issuer import IssuedCertificate, Later, Order
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.third_parties import No, ThirdParties, Yes
from scepkit.errors import (
    BadRequest,
    BoundReached,
    SettingsError,
    StoreError,
    ThirdPartyFailed,
    UsageError,
)
from scepkit.protocol.scep.messages import Failure, Pending, Success
from scepkit.server.web import metrics
from scepkit.server.web.front import ClientGone
from scepkit.server.web.waiting_room import WaitingRoom
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.services.scep_decision import Waiting
from scepkit.store import ISSUER, Status

OTHER = keys.certify(
    "Other CA",
    keys.rsa_key("other CA"),
    ca=True,
    key_usage=keys.usage("digital_signature", "key_cert_sign", "crl_sign"),
    key_identifier=True,
)
OTHER_CA = Authority(OTHER.x509, OTHER.key)


async def for_ever():
    await asyncio.Event().wait()


class Referee:
    """Says what it is told to; `judge` may be replaced."""

    name = identity = "MDM"

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts) or [Yes()]
        self.asked = []

    async def judge(self, question):
        self.asked.append(question)
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if isinstance(verdict, BaseException):
            raise verdict
        if callable(verdict):
            return await verdict()
        return verdict


class OtherIssuer:
    """A CA of somebody else, behind a network; the same order gets the same certificate."""

    name = "Vault"
    key_hash = OTHER_CA.key_hash

    def __init__(self, *words):
        self.words = list(words)  # before it certifies
        self.orders, self.withdrawn, self.made = [], [], {}
        self.before = None
        self.failure = None

    async def certify(self, order: Order):
        self.orders.append(order.id)
        if self.words:
            word = self.words.pop(0)
            if isinstance(word, Exception):
                raise word
            return word
        if order.id not in self.made:
            self.made[order.id] = OTHER_CA.certify(order)
        if self.before is not None:
            self.before()
        return self.made[order.id]

    async def withdraw(self, certificate):
        if self.failure is not None:
            raise self.failure
        self.withdrawn.append(certificate.serial)


async def decide(world, message, *, most=10, seconds=30, gone=for_ever):
    """Decide on a message as the web front does."""
    with ThreadPoolExecutor(2) as threads, ThreadPoolExecutor(1) as storing:
        workers = WorkerPool(threads, world.store)
        room = WaitingRoom(workers, storing, most=most, seconds=seconds)
        step = await workers.decide(message, world.endpoint)
        if isinstance(step, Waiting):
            step = await room.decide(step, world.endpoint, gone)
        return step


def ask(world, message, **how):
    return devices.read(asyncio.run(decide(world, message, **how)).reply, world.ra)


def request(world, challenge=None, **how):
    return devices.pkcs_req(challenge, to=world.ra, **how)


def count(metric, **labels):
    return metric.labels(**labels)._value.get()


# --- the referee ----------------------------------------------------------------------------------


def test_a_yes_enrols(world):
    referee = Referee()
    world.use(parties=ThirdParties(referee=referee))
    secret = world.challenge()
    assert isinstance(ask(world, request(world, secret)).rep, Success)
    (question,) = referee.asked
    assert (question.endpoint, question.transaction_id) == ("default", b"a")
    assert (question.subject, question.renews) == ("CN=device", None)
    assert question.csr.challenge_password == secret
    assert (world.issued, world.spent) == (1, 1)


def test_a_no_is_a_failure_and_the_log_has_its_reason(world):
    world.use(parties=ThirdParties(referee=Referee(No("it is not enrolled"))))
    decision = asyncio.run(decide(world, request(world, world.challenge())))
    assert decision.answer == Failure(2, "the request was refused")
    assert decision.reason == "MDM says no: it is not enrolled"
    assert (world.issued, world.spent) == (0, 0)


@pytest.mark.parametrize("failure", [OSError("no route to host"), ValueError(), RuntimeError("x")])
def test_a_failure_is_no_certificate_and_no_final_answer(world, failure):
    """HTTP 503; and when it is there again the same request is granted."""
    world.use(parties=ThirdParties(referee=Referee(failure, Yes())))
    message = request(world, world.challenge())
    with pytest.raises(ThirdPartyFailed, match="the referee MDM failed"):
        ask(world, message)
    assert (world.issued, world.spent) == (0, 0)
    assert isinstance(ask(world, message).rep, Success)


def test_silence_is_a_failure_too(world):
    world.use(parties=ThirdParties(referee=Referee(for_ever)))
    with pytest.raises(ThirdPartyFailed, match=r"no answer in 0\.01 s"):
        ask(world, request(world, world.challenge()), seconds=0.01)
    assert (world.issued, world.spent) == (0, 0)


def test_no_word_falls_through_to_another_rule(world):
    """What is neither yes nor no grants nothing."""
    world.use(parties=ThirdParties(referee=Referee(None)))
    with pytest.raises(ThirdPartyFailed, match="the word of MDM is neither a yes nor a no"):
        ask(world, request(world, world.challenge()))
    assert (world.issued, world.spent) == (0, 0)


def test_a_wrong_challenge_is_refused_before_anybody_is_asked(world):
    referee = Referee()
    world.use(parties=ThirdParties(referee=referee))
    assert isinstance(ask(world, request(world, "wrong")).rep, Failure)
    assert referee.asked == []


def test_a_renewal_is_asked_about(world):
    holder = world.enrolled()
    referee = Referee(No("it has left"))
    world.use(parties=ThirdParties(referee=referee))
    message = devices.renewal_req(to=world.ra, signer=holder)
    step = asyncio.run(decide(world, message))
    assert step.reason == "MDM says no: it has left"
    assert referee.asked[0].renews == holder.certificate.serial
    assert world.issued == 1


def test_what_was_answered_is_not_asked_about_again(world):
    referee = Referee()
    world.use(parties=ThirdParties(referee=referee), rule=NoChallenge())
    message = request(world)
    assert ask(world, message).certificate == ask(world, message).certificate
    assert len(referee.asked) == 1


def test_a_yes_is_kept_before_the_signature(world):
    """A service that spends its secret with the yes is not asked again after a crash."""
    referee = Referee(Yes(), No("spent"))
    world.use(parties=ThirdParties(referee=referee))
    message = request(world, world.challenge())

    def crash(*_):
        raise StoreError("the machine stops here")

    world.endpoint.go_on = crash
    with pytest.raises(StoreError):
        ask(world, message)
    assert world.issued == 0
    world.restart()
    assert isinstance(ask(world, message).rep, Success)
    assert len(referee.asked) == 1


@pytest.mark.parametrize(
    "other",
    [{"transaction_id": "b"}, {"signer": keys.device("other")}, {"subject": "CN=other"}, "later"],
)
def test_a_yes_is_for_one_request(world, other):
    """For its transactionID, key and PKCS#10, and for a day."""
    referee = Referee(Yes(), No("once"))
    world.use(parties=ThirdParties(referee=referee), rule=NoChallenge())
    world.endpoint.go_on = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        ask(world, request(world))
    world.restart()
    if other == "later":
        world.now += timedelta(days=1, seconds=1)
        other = {}
    message = request(world, **other)
    assert asyncio.run(decide(world, message)).reason == "MDM says no: once"


def test_who_hangs_up_is_not_waited_for(world):
    cancelled = []

    async def slow():
        try:
            await for_ever()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def gone():
        return None

    world.use(parties=ThirdParties(referee=Referee(slow)))
    with pytest.raises(ClientGone):
        ask(world, request(world, world.challenge()), gone=gone)
    assert cancelled == [True]


def test_so_many_wait_at_once(world):
    """One more gets 503 with Retry-After; the gauge says how many wait."""
    go, both = asyncio.Event(), asyncio.Event()
    waits, gauge = [], metrics.WAITING.labels("referee")._value
    before = gauge.get()

    async def slow():
        waits.append(gauge.get())
        if len(waits) == 2:
            both.set()
        await go.wait()
        return Yes()

    async def run():
        with ThreadPoolExecutor(2) as threads, ThreadPoolExecutor(1) as storing:
            workers = WorkerPool(threads, world.store)
            room = WaitingRoom(workers, storing, most=2, seconds=60)

            async def one(number):
                message = request(world, transaction_id=str(number), subject=f"CN={number}")
                step = await workers.decide(message, world.endpoint)
                return await room.decide(step, world.endpoint, for_ever)

            two = [asyncio.create_task(one(number)) for number in range(2)]
            await both.wait()
            with pytest.raises(BoundReached) as refused:
                await one(2)
            go.set()
            return refused.value, await asyncio.gather(*two)

    world.use(parties=ThirdParties(referee=Referee(slow)), rule=NoChallenge())
    refused, decided = asyncio.run(run())
    assert (refused.status, refused.retry_after) == (503, 30)
    assert all(isinstance(one.answer, Success) for one in decided)
    assert max(waits) == before + 2
    assert gauge.get() == before


def test_an_operator_decides_after_the_referee(world):
    referee = Referee(No("no"), Yes())
    world.use(parties=ThirdParties(referee=referee), approval=True)
    message = request(world, world.challenge())
    assert isinstance(ask(world, message).rep, Failure)
    assert isinstance(ask(world, message).rep, Pending)
    (row,) = world.store.requests()
    assert row.waits_for is None
    world.approval.approve(row.id, by="al", now=world.now)
    assert isinstance(ask(world, message).rep, Success)
    assert len(referee.asked) == 2


def test_who_answers_at_once_does_not_wait(world):
    world.use(parties=ThirdParties(referee=Referee()))
    with pytest.raises(UsageError, match="waits for a third party"):
        world.enrol(world.challenge())


# --- another CA -----------------------------------------------------------------------------------


def test_another_ca_certifies(world):
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))
    reply = ask(world, request(world, world.challenge()))
    assert reply.x509.issuer == OTHER_CA.certificate.subject
    row = world.store.certificate(reply.x509.serial_number)
    assert (row.issuer, row.endpoint) == (OTHER_CA.key_hash, "default")
    assert world.spent == 1


def test_a_ca_that_computes_is_not_awaited(world):
    """It works where private keys do, as the CA here does."""
    world.use(parties=ThirdParties(issuer=OTHER_CA))
    assert world.enrol(world.challenge()).x509.issuer == OTHER_CA.certificate.subject


def test_a_refusal_of_its_is_a_failure(world):
    world.use(parties=ThirdParties(issuer=OtherIssuer(BadRequest("the role forbids it"))))
    reply = ask(world, request(world, world.challenge()))
    assert reply.refusal == ("badRequest", "the role forbids it")
    assert (world.issued, world.spent) == (0, 0)


def test_later_is_pending_until_it_certifies(world):
    """Both a poll and the request again ask for the same order."""
    issuer = OtherIssuer(Later(), Later(), Later())
    world.use(parties=ThirdParties(issuer=issuer))
    message = request(world, world.challenge())
    poll = devices.cert_poll(to=world.ra)
    for one in (message, poll, message):
        assert isinstance(ask(world, one).rep, Pending)
    (row,) = world.store.requests()
    assert (row.waits_for, row.issuer) == (ISSUER, OTHER_CA.key_hash)
    assert (world.issued, world.spent) == (0, 0)
    first = ask(world, poll).certificate
    assert first == ask(world, message).certificate == ask(world, poll).certificate
    assert len(set(issuer.orders)) == 1
    assert len(issuer.orders) == 4
    assert (world.issued, world.spent) == (1, 1)


def test_a_refusal_after_later_is_kept(world):
    issuer = OtherIssuer(Later(), BadRequest("not this one"))
    world.use(parties=ThirdParties(issuer=issuer))
    message = request(world, world.challenge())
    assert isinstance(ask(world, message).rep, Pending)
    for _ in range(2):
        assert ask(world, message).refusal == ("badRequest", "not this one")
    assert len(issuer.orders) == 2
    assert not issuer.made


def test_an_operator_cannot_approve_in_its_place(world):
    world.use(parties=ThirdParties(issuer=OtherIssuer(Later())))
    ask(world, request(world, world.challenge()))
    (row,) = world.store.requests()
    with pytest.raises(UsageError, match="waits for its CA"):
        world.approval.approve(row.id, by="al", now=world.now)


def test_a_certificate_that_cannot_be_stored_is_withdrawn(world):
    """Its challenge was spent while the other CA made it."""
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))
    secret = world.challenge()
    issuer.before = lambda: world.sql("UPDATE challenges SET voided_at = created_at")
    withdrawn = count(metrics.UNSENT, outcome="withdrawn")
    assert isinstance(ask(world, request(world, secret)).rep, Failure)
    (made,) = issuer.made.values()
    assert issuer.withdrawn == [made.serial]
    assert world.issued == 0
    assert count(metrics.UNSENT, outcome="withdrawn") == withdrawn + 1


def test_a_withdrawal_that_fails_is_reported(world):
    issuer = OtherIssuer()
    issuer.failure = OSError("no route to host")
    world.use(parties=ThirdParties(issuer=issuer))
    secret = world.challenge()
    issuer.before = lambda: world.sql("UPDATE challenges SET voided_at = created_at")
    reported = count(metrics.UNSENT, outcome="reported")
    withdrawn = count(metrics.UNSENT, outcome="withdrawn")
    with capture_logs() as lines:
        assert isinstance(ask(world, request(world, secret)).rep, Failure)
    (made,) = issuer.made.values()
    (line,) = [one for one in lines if one["log_level"] == "error"]
    assert (line["issuer"], line["transaction_id"]) == ("Vault", "a")
    assert int(line["serial"], 16) == made.serial
    assert "no route to host" in line["error"]
    assert count(metrics.UNSENT, outcome="reported") == reported + 1
    assert count(metrics.UNSENT, outcome="withdrawn") == withdrawn


def test_the_same_certificate_twice_is_not_withdrawn(world):
    """Two attempts of one request: both are given it by the CA, and one of them stores it."""
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))
    message = request(world, world.challenge())

    async def both():
        return await asyncio.gather(decide(world, message), decide(world, message))

    replies = [devices.read(one.reply, world.ra) for one in asyncio.run(both())]
    assert replies[0].certificate == replies[1].certificate
    assert issuer.withdrawn == []


def test_a_later_of_another_attempt_does_not_waste_the_certificate(world):
    """One attempt is told "later" while another is given the certificate."""
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))
    message = request(world, world.challenge())

    async def run():
        issuer_certify = issuer.certify

        async def certify(order):
            certificate = await issuer_certify(order)
            issuer.certify = issuer_certify
            issuer.words = [Later()]
            answers.append(await decide(world, message))
            return certificate

        answers = []
        issuer.certify = certify
        return await decide(world, message), answers

    last, (first,) = asyncio.run(run())
    assert isinstance(first.answer, Pending)
    assert isinstance(last.answer, Success)
    assert issuer.withdrawn == []
    assert [row.status for row in world.store.requests(status=None)] == [Status.ISSUED]


def test_a_certificate_for_another_key_is_not_sent(world):
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))

    async def certify(order):
        return IssuedCertificate.read(OTHER.der)

    issuer.certify = certify
    with pytest.raises(Exception, match="has certified another key"):
        ask(world, request(world, world.challenge()))
    assert issuer.withdrawn == [OTHER_CA.certificate.serial_number]
    assert (world.issued, world.spent) == (0, 0)


def test_a_certificate_that_the_database_did_not_take_is_reported(world, monkeypatch):
    """It is not withdrawn: the device comes back for it."""
    issuer = OtherIssuer()
    world.use(parties=ThirdParties(issuer=issuer))
    message = request(world, world.challenge())

    def full(_decision, _promise):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch, capture_logs() as lines:
        issuer.before = lambda: patch.setattr(world.endpoint, "record", full)
        with pytest.raises(StoreError):
            ask(world, message)
    (line,) = lines
    assert (line["issuer"], line["error"]) == ("Vault", "the disk is full")
    issuer.before = None
    (made,) = issuer.made.values()
    assert ask(world, message).x509.serial_number == made.serial
    assert issuer.withdrawn == []


def test_it_is_not_cancelled_with_the_client(world):
    """A certificate that nobody waits for would be lost between the CA and here."""

    async def gone():
        return None

    world.use(parties=ThirdParties(issuer=OtherIssuer()))
    assert isinstance(ask(world, request(world, world.challenge()), gone=gone).rep, Success)


def test_without_the_ca_nothing_is_given_to_who_waits_for_it(world):
    world.use(parties=ThirdParties(issuer=OtherIssuer(Later())))
    message = request(world, world.challenge())
    assert isinstance(ask(world, message).rep, Pending)
    for parties in (None, ThirdParties(referee=Referee())):
        world.use(parties=parties)
        with pytest.raises(Exception, match=r"third party|no more"):
            ask(world, message)
    assert world.issued == 0


@pytest.mark.parametrize("parties", [None, ThirdParties(issuer=OtherIssuer())])
@pytest.mark.parametrize("is_rejected", [True, False])
def test_what_is_decided_waits_for_nobody_any_more(world, parties, is_rejected):
    """An operator rejects what waits for a CA that is no more, or its time is over."""
    world.use(parties=ThirdParties(issuer=OtherIssuer(Later())))
    message = request(world, world.challenge())
    assert isinstance(ask(world, message).rep, Pending)
    (row,) = world.store.requests()
    world.use(parties=parties)
    if is_rejected:
        world.approval.reject(row.id, reason="the CA is gone", by="al", now=world.now)
    else:
        world.now += timedelta(days=8)
    for one in (message, devices.cert_poll(to=world.ra)):
        assert ask(world, one).refusal[0] == "badRequest"


def test_the_answer_of_the_store_is_recorded(world):
    """A certificate after "later" is one transaction with the challenge that it spends."""
    issuer = OtherIssuer(Later())
    world.use(parties=ThirdParties(issuer=issuer))
    secret = world.challenge()
    ask(world, request(world, secret))
    world.sql("UPDATE challenges SET voided_at = created_at")
    assert isinstance(ask(world, devices.cert_poll(to=world.ra)).rep, Failure)
    assert len(issuer.withdrawn) == 1
    assert world.issued == 0


# --- the teller -----------------------------------------------------------------------------------


class Teller:
    """Says what it is told to of each delivery, and sees how it is stored meanwhile."""

    name = "Inventory"

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts) or [Yes()]
        self.told = []
        self.look = None

    async def tell(self, delivery):
        self.told.append(delivery)
        if self.look is not None:
            self.look()
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if isinstance(verdict, BaseException):
            raise verdict
        if callable(verdict):
            return await verdict()
        return verdict


def statuses(world):
    return [row.status for row in world.store.requests(status=None)]


def test_a_teller_is_told_before_the_device_has_its_certificate(world):
    teller = Teller()
    world.use(parties=ThirdParties(teller=teller))
    seen = []
    teller.look = lambda: seen.append((statuses(world), world.issued, world.spent))
    decision = asyncio.run(decide(world, request(world, world.challenge())))
    (delivery,) = teller.told
    certificate = devices.read(decision.reply, world.ra)
    assert delivery.certificate == certificate.certificate
    assert delivery.serial == certificate.x509.serial_number
    assert (delivery.endpoint, delivery.transaction_id) == ("default", b"a")
    assert delivery.subject == "CN=device"
    assert seen == [([Status.SIGNED], 1, 1)]
    assert statuses(world) == [Status.ISSUED]
    assert not decision.repeated


@pytest.mark.parametrize("failure", [OSError("no route"), for_ever])
def test_without_its_word_nobody_is_given_the_certificate(world, failure):
    """Not by a poll and not by GetCert either; the next attempt tells of the same delivery."""
    teller = Teller(failure)
    world.use(parties=ThirdParties(teller=teller))
    message = request(world, world.challenge())
    poll = devices.cert_poll(to=world.ra)
    for one in (message, message, poll):
        with pytest.raises(ThirdPartyFailed, match="the teller Inventory failed"):
            ask(world, one, seconds=0.5)
    serial = teller.told[0].serial
    issuer = keys.ca().x509.subject.public_bytes()
    reply = world.ask(devices.get_cert(to=world.ra, serial=serial, issuer=issuer))
    assert isinstance(reply.rep, Failure)
    assert statuses(world) == [Status.SIGNED]
    world.restart()
    teller.verdicts = [Yes()]
    first = ask(world, poll).certificate
    assert first == ask(world, message).certificate == teller.told[0].certificate
    assert len({one.id for one in teller.told}) == 1
    assert len(teller.told) == 4
    assert (world.issued, world.spent) == (1, 1)
    reply = world.ask(devices.get_cert(to=world.ra, serial=serial, issuer=issuer))
    assert reply.certificate == first


def test_its_no_is_a_failure_and_the_certificate_is_revoked(world):
    teller = Teller(No("it was stolen"))
    world.use(parties=ThirdParties(teller=teller))
    message = request(world, world.challenge())
    decision = asyncio.run(decide(world, message))
    assert decision.answer == Failure(2, "the request was refused")
    assert decision.reason == "Inventory says no: it was stolen"
    row = world.store.certificate(teller.told[0].serial)
    assert (row.revoked_at, row.revocation_reason) == (world.now, 5)
    (line,) = world.store.revocation_history(row.serial)
    assert (line.by, line.note) == ("Inventory", "it was stolen")
    for one in (message, devices.cert_poll(to=world.ra)):
        assert ask(world, one).refusal == ("badRequest", "the request was refused")
    assert len(teller.told) == 1


def test_without_a_teller_what_is_signed_stays_undelivered(world):
    """The server was started without it: that is no yes."""
    world.use(parties=ThirdParties(teller=Teller(OSError())))
    message = request(world, world.challenge())
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    for parties in (None, ThirdParties(referee=Referee())):
        world.use(parties=parties)
        with pytest.raises(SettingsError):
            ask(world, message)
    assert statuses(world) == [Status.SIGNED]


def test_it_is_told_whoever_hangs_up(world):
    async def gone():
        return None

    teller = Teller()
    world.use(parties=ThirdParties(teller=teller))
    assert isinstance(ask(world, request(world, world.challenge()), gone=gone).rep, Success)


def test_two_attempts_at_once_are_one_delivery(world):
    teller = Teller()
    world.use(parties=ThirdParties(teller=teller))
    message = request(world, world.challenge())

    async def both():
        return await asyncio.gather(*(decide(world, message) for _ in range(3)))

    replies = [devices.read(one.reply, world.ra) for one in asyncio.run(both())]
    assert len({one.certificate for one in replies}) == 1
    assert len({one.id for one in teller.told}) == 1
    assert world.issued == 1


def test_a_renewal_is_told_of(world):
    holder = world.enrolled()
    teller = Teller(OSError(), Yes())
    world.use(parties=ThirdParties(teller=teller))
    message = devices.renewal_req(to=world.ra, signer=holder)
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    reply = devices.read(asyncio.run(decide(world, message)).reply, world.ra, holder)
    assert world.store.certificate(reply.x509.serial_number).renews == holder.certificate.serial
    assert len({one.id for one in teller.told}) == 1


@pytest.mark.parametrize("words", [(), (Later(),)])
def test_a_no_withdraws_the_certificate_of_another_ca(world, words):
    """There first; so long as that is not done, or reported, the delivery stays open."""
    issuer, teller = OtherIssuer(*words), Teller(No("it was stolen"))
    world.use(parties=ThirdParties(issuer=issuer, teller=teller))
    message = request(world, world.challenge())
    for _ in words:
        assert isinstance(ask(world, message).rep, Pending)

    async def withdraw(certificate):
        seen.append((certificate.serial, statuses(world)))

    seen = []
    issuer.withdraw = withdraw
    assert ask(world, message).refusal == ("badRequest", "the request was refused")
    (made,) = issuer.made.values()
    assert seen == [(made.serial, [Status.SIGNED])]
    assert statuses(world) == [Status.REJECTED]
    assert world.store.certificate(made.serial).revoked_at is not None


def test_all_three_have_their_word(world):
    referee, issuer, teller = Referee(), OtherIssuer(Later()), Teller()
    world.use(parties=ThirdParties(referee=referee, issuer=issuer, teller=teller))
    message = request(world, world.challenge())
    assert isinstance(ask(world, message).rep, Pending)
    assert teller.told == []
    reply = ask(world, message)
    assert reply.x509.issuer == OTHER_CA.certificate.subject
    assert (len(referee.asked), len(issuer.orders), len(teller.told)) == (1, 2, 1)
