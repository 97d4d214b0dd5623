"""What Intune has still to be told, what waits for it too long, and its revocation queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from enrolment.test_intune import (
    StoreOf,
    ask,
    challenge,
    connect,
    intune,
    notices,
    request,
    standing,
    states,
    told,
)
from enrolment.world import NAME
from scepkit.enrolment.secret_box import SecretBox
from scepkit.errors import ThirdPartyFailed
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server.intune import outstanding
from scepkit.server.intune.client import IntuneClient
from scepkit.server.intune.kept_requests import KeptRequests
from scepkit.server.intune.outstanding import Outstanding
from scepkit.server.intune.revocation_queue import RevocationQueue
from scepkit.store import IntuneName, Status

__all__ = ["intune", "standing"]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def kept(world):
    return KeptRequests("stand-in", StoreOf(world), SecretBox(world.key), lambda: world.now)


def send(world, intune):
    """Do what the background task does with notifications."""
    requests = kept(world)
    sender = Outstanding(IntuneClient(intune.registration()), requests)
    asyncio.run(sender.send(outstanding.due(requests)))


def sign_only(world, intune):
    """Leave a certificate signed and not delivered; return the message that it is for."""
    connect(world, intune)
    message = request(world, challenge(intune))
    intune.fault("success", "drop")
    with pytest.raises(ThirdPartyFailed):
        ask(world, message)
    assert states(world) == ([Status.SIGNED], [False])
    return message


def test_a_failure_is_told_with_its_number(world, intune):
    connect(world, intune)
    intune.fault("success", "code:SubjectNameMismatch")
    ask(world, request(world, challenge(intune)))
    send(world, intune)
    (failure,) = intune.asked("failure")
    body = failure["body"]["notification"]
    assert body["hResult"] == -0x5FFC0000 + 10
    assert body["errorDescription"].startswith("the success notification was refused: SubjectN")
    assert notices(world) == []
    send(world, intune)
    assert told(intune).count("failure") == 1


def test_a_success_is_told_later_where_nobody_waits_for_it(world, intune):
    connect(world, intune, waits=False)
    message = request(world, challenge(intune))
    assert isinstance(ask(world, message), Success)
    send(world, intune)
    (success,) = intune.asked("success")
    (row,) = world.store.certificates()
    assert success["body"]["notification"]["certificateSerialNumber"] == f"{row.serial:X}"
    assert isinstance(ask(world, message), Success)
    assert notices(world) == []


@pytest.mark.parametrize("fault", ["status:500", "drop", "html"])
def test_what_could_not_be_sent_is_sent_later_and_later(world, intune, fault):
    connect(world, intune, waits=False)
    ask(world, request(world, challenge(intune)))
    intune.fault("success", fault, 2)
    send(world, intune)
    send(world, intune)
    assert told(intune).count("success") == 1  # its time has not come
    world.now += MINUTE
    send(world, intune)
    world.now += MINUTE / 2
    send(world, intune)
    assert told(intune).count("success") == 2
    world.now += MINUTE
    send(world, intune)
    assert told(intune).count("success") == 3
    assert notices(world) == []


def test_a_refused_notification_is_reported_and_not_sent_again(world, intune):
    connect(world, intune, waits=False)
    ask(world, request(world, challenge(intune)))
    intune.fault("success", "code:BadDeviceIdInChallenge")
    with capture_logs() as lines:
        send(world, intune)
    assert [one["event"] for one in lines] == ["Intune refuses a notification"]
    assert "BadDeviceIdInChallenge (the challenge is for another device)" in lines[0]["reason"]
    assert notices(world) == []


def test_what_waits_for_an_hour_is_revoked_and_intune_told(world, intune):
    message = sign_only(world, intune)
    assert outstanding.give_up(kept(world), [NAME]) == 0
    world.now += HOUR + MINUTE
    assert outstanding.give_up(kept(world), ["another"]) == 0
    assert outstanding.give_up(kept(world), [NAME]) == 1
    assert states(world) == ([Status.REJECTED], [True])
    assert outstanding.give_up(kept(world), [NAME]) == 0
    assert isinstance(ask(world, message), Failure)
    send(world, intune)
    assert told(intune) == ["validate", "success", "failure"]


def test_a_device_that_comes_back_after_the_decision_and_before_its_commit_gets_nothing(
    world, intune
):
    message = sign_only(world, intune)
    requests = kept(world)
    (signed,) = world.store.signed_before(world.now + MINUTE, [NAME], 1)
    requests.queue_failure(signed.name, "Unknown", "given up").result()
    assert isinstance(ask(world, message), Failure)
    assert states(world) == ([Status.REJECTED], [True])


def test_what_was_delivered_after_all_is_not_told_of_as_a_failure(world, intune, monkeypatch):
    message = sign_only(world, intune)
    (signed,) = world.store.signed_before(world.now + MINUTE, [NAME], 1)
    assert isinstance(ask(world, message), Success)
    monkeypatch.setattr(type(world.store), "signed_before", lambda *_: [signed])
    assert outstanding.give_up(kept(world), [NAME]) == 0
    assert states(world) == ([Status.ISSUED], [False])
    assert notices(world) == []


def test_what_is_told_is_forgotten(world, intune):
    connect(world, intune)
    ask(world, request(world, challenge(intune)))
    (row,) = world.store.requests(status=None)
    outstanding.forget(kept(world))
    name = IntuneName(NAME, row.transaction_id, row.csr_digest)
    assert world.store.validated(name) is not None
    world.now += timedelta(days=3)
    outstanding.forget(kept(world))
    assert world.store.validated(name) is None


# --- the revocation queue -------------------------------------------------------------------------


def work_off(world, intune, endpoints=(NAME,)):
    client = IntuneClient(intune.registration())
    queue = RevocationQueue(client, endpoints, world.store, lambda: world.now)
    return asyncio.run(queue.work_off())


def ask_to_revoke(intune, serial, context="c", **how):
    intune.it.revocations[context] = {
        "requestContext": context,
        "serialNumber": serial,
        "issuerName": "CN=Test CA",
        "caConfiguration": NAME,
    } | how


def results(intune):
    return [one for asked in intune.asked("upload") for one in asked["body"]["results"]]


def test_a_certificate_of_a_wiped_device_is_revoked(world, intune):
    connect(world, intune)
    ask(world, request(world, challenge(intune)))
    (row,) = world.store.certificates()
    ask_to_revoke(intune, f"{row.serial:X}")
    assert work_off(world, intune) == 1
    (row,) = world.store.certificates()
    assert (row.revocation_reason, row.revoked_by) == (5, "intune stand-in")
    expected = {
        "requestContext": "c",
        "succeeded": True,
        "errorCode": "0",
        "errorMessage": "",
    }
    assert results(intune) == [expected]
    # The result was lost, and Intune asks again.
    ask_to_revoke(intune, f"{row.serial:X}")
    assert work_off(world, intune) == 1
    assert results(intune) == [expected, expected]
    assert work_off(world, intune) == 0


@pytest.mark.parametrize(
    ("serial", "code"),
    [("ABCDEF", "4004"), ("", "4002"), ("not hex", "4002"), (None, "4002"), (":", "4004")],
)
def test_what_cannot_be_revoked_is_said(world, intune, serial, code):
    ask_to_revoke(intune, serial)
    work_off(world, intune)
    (result,) = results(intune)
    assert (result["succeeded"], result["errorCode"]) == (False, code)
    assert result["errorMessage"]


def test_a_certificate_of_another_endpoint_is_not_intunes_to_revoke(world, intune):
    world.enrol(world.challenge())
    (row,) = world.store.certificates()
    ask_to_revoke(intune, f"{row.serial:x}")
    work_off(world, intune, ["windows"])
    assert [one["errorCode"] for one in results(intune)] == ["4004"]
    assert states(world)[1] == [False]


def test_what_an_operator_has_revoked_is_a_conflict(world, intune):
    world.enrol(world.challenge())
    (row,) = world.store.certificates()
    world.store.revoke_all(
        [row.serial], reason=1, by="al", now=world.now, note="", invalidity_date=None
    )
    ask_to_revoke(intune, f"{row.serial:x}")
    work_off(world, intune)
    assert [one["errorCode"] for one in results(intune)] == ["4005"]


def test_a_long_queue_is_worked_off(world, intune):
    for number in range(230):
        ask_to_revoke(intune, f"{number + 1:X}", str(number))
    assert work_off(world, intune) == 230
    assert intune.it.revocations == {}


def test_a_request_without_a_context_does_not_stop_the_others(world, intune):
    ask_to_revoke(intune, "1F", "a", requestContext=None)
    ask_to_revoke(intune, "1F", "b")
    assert work_off(world, intune) == 1
