"""The outbox: what is told is written with what it tells of, and comes to its end."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from scepkit.store import (
    ISSUER,
    AuditAction,
    CertificateKey,
    ChallengeSpent,
    Event,
    EventType,
    FailedTry,
    Queue,
    SameSubject,
    Store,
    Subscription,
)
from scepkit.store.notifications.events import MOST_NAMES
from stored import CA, ENDPOINT, NOW, make_grant, make_issuance, make_queued, put_challenge

ALL = Subscription("siem", frozenset(EventType))
SOON = NOW + timedelta(seconds=1)


@pytest.fixture
def told(store):
    """A store whose events are told to `siem`."""
    store.subscribe([ALL])
    return store


def bodies(store, notification="siem", now=SOON):
    return [json.loads(one.body) for one in store.due(notification, now, 1000)]


def event(kind=EventType.TEST, **facts):
    return Event(kind, NOW, "", facts)


# --- what is told ---------------------------------------------------------------------------------


def test_who_has_not_subscribed_is_told_nothing(store):
    store.record(make_issuance()).result()
    store.announce(event())
    assert store.queues() == {}


def test_a_certificate_that_is_issued(told):
    issuance = make_issuance(
        names="dns:a.example\nip:10.0.0.1", peer="192.0.2.1", transaction_id=b"tx", renews=None
    )
    told.record(issuance).result()
    (body,) = bodies(told)
    (row,) = told.due("siem", SOON, 10)
    assert body == {
        "id": row.delivery,
        "event": "issued",
        "at": "2026-11-05T12:00:00.123456Z",
        "endpoint": ENDPOINT,
        "actor": "192.0.2.1",
        "transaction_id": "tx",
        "challenge": None,
        "certificate": {
            "serial": body["certificate"]["serial"],
            "issuer_key": CA.hex(),
            "sha256": body["certificate"]["sha256"],
            "subject": "CN=device",
            "names": ["dns:a.example", "ip:10.0.0.1"],
            "not_before": "2026-11-05T12:00:00.123456Z",
            "not_after": "2027-11-05T12:00:00.123456Z",
            "renews": None,
        },
    }
    assert int(body["certificate"]["serial"], 16) == issuance.serial


def test_names_without_end_are_cut_and_counted(told):
    told.record(make_issuance(names="\n".join(f"dns:{n}.example" for n in range(250)))).result()
    (body,) = bodies(told)
    assert len(body["certificate"]["names"]) == MOST_NAMES
    assert body["certificate"]["more_names"] == 250 - MOST_NAMES


def test_a_request_that_waits_and_what_becomes_of_it(told):
    first, second, third = (
        told.queue(make_queued(waits_for=one)).result().outcome.request_id
        for one in (None, ISSUER, None)
    )
    told.approve(first, make_grant(told.request(first)), by="alice")
    told.reject(second, fail_info=2, reason="unknown device", by="bob", now=NOW)
    told.expire(NOW + timedelta(days=8))
    found = bodies(told, now=NOW + timedelta(days=9))
    kinds = ["pending", "pending", "pending", "issued", "refused", "refused"]
    assert [one["event"] for one in found] == kinds
    assert [one["waits_for"] for one in found[:3]] == ["operator", "issuer", "operator"]
    assert [one["request"] for one in found if one["event"] != "issued"] == [
        *(first, second, third, second, third)
    ]
    assert [one["actor"] for one in found[3:]] == ["alice", "bob", "server"]
    assert [one["reason"] for one in found[4:]] == ["unknown device", "nobody decided in time"]


def test_what_is_signed_is_told_when_it_is_delivered(told):
    told.record(make_issuance(delivery="d1")).result()
    assert bodies(told) == []
    told.deliver("d1", by="teller", now=NOW).result()
    (body,) = bodies(told)
    assert (body["event"], body["actor"]) == ("issued", "teller")
    assert body["certificate"]["subject"] == "CN=device"
    told.deliver("d1", by="teller", now=NOW).result()
    assert len(bodies(told)) == 1


def test_a_delivery_that_is_refused(told):
    told.record(make_issuance(delivery="d1")).result()
    why = {"fail_info": 2, "text": "no", "reason": "unknown", "by": "teller", "now": NOW}
    told.refuse_delivery("d1", **why).result()
    assert [one["event"] for one in bodies(told)] == ["refused", "revoked"]


def test_revocations_and_releases(told):
    row = make_issuance()
    told.record(row).result()
    told.revoke(row.serial, reason=6, by="alice", now=NOW, note="lost?")
    told.release(row.serial, by="alice", now=NOW)
    told.revoke(row.serial, reason=1, by="bob", now=NOW, invalidity_date=NOW)
    told.revoke(row.serial, reason=4, by="bob", now=NOW)  # is revoked already
    _, held, released, revoked = bodies(told)
    assert (held["event"], held["crl_reason"], held["reason"]) == (
        *("revoked", "certificateHold", "lost?"),
    )
    assert (released["event"], released["actor"]) == ("released", "alice")
    assert (revoked["event"], revoked["crl_reason"]) == ("revoked", "keyCompromise")
    assert revoked["invalidity_date"] == "2026-11-05T12:00:00.123456Z"
    assert {one["certificate"]["serial"] for one in (held, released, revoked)} == {
        held["certificate"]["serial"]
    }


def test_what_leaves_nothing_behind_is_not_told(told):
    challenge = put_challenge(told)
    told.record(make_issuance(challenge_id=challenge.id)).result()
    again = make_issuance(challenge_id=challenge.id)
    assert told.record(again).result() == ChallengeSpent()
    assert len(bodies(told)) == 1


def test_a_batch_in_which_one_stands_in_the_way(told, hold):
    """The batch is rolled back and written one by one: everything is told once."""
    challenge = put_challenge(told)
    told.record(make_issuance(challenge_id=challenge.id)).result()
    with hold():
        promises = [
            told.record(make_issuance(challenge_id=one)) for one in (None, challenge.id, None)
        ]
        promises.append(told.queue(make_queued()))
        promises.append(told.record(make_issuance(same_subject=SameSubject.REFUSED)))
    answers = [type(one.result()).__name__ for one in promises]
    assert sorted(answers) == ["ChallengeSpent", *["Recorded"] * 4]
    assert len(bodies(told)) == 5


def test_each_is_told_what_it_has_subscribed_to(store):
    store.subscribe(
        [
            Subscription("a", frozenset({EventType.ISSUED})),
            Subscription("b", frozenset({EventType.ISSUED}), frozenset({"other"})),
            Subscription("c", frozenset({EventType.REVOKED}), frozenset({ENDPOINT})),
        ]
    )
    row = make_issuance()
    store.record(row).result()
    store.record(make_issuance(endpoint="other")).result()
    store.revoke(row.serial, reason=1, by="alice", now=NOW)
    store.announce(event())
    found = {name: [one["event"] for one in bodies(store, name)] for name in "abc"}
    assert found == {
        "a": ["issued", "issued", "test"],
        "b": ["issued", "test"],
        "c": ["revoked", "test"],
    }
    store.subscribe([])
    store.record(make_issuance()).result()
    assert len(bodies(store, "a")) == 3


def test_without_an_audit_record_it_is_told_all_the_same(url):
    with Store.open(url) as store:
        store.subscribe([ALL])
        store.record(make_issuance()).result()
        store.revoke(make_and_record(store), reason=1, by="alice", now=NOW)
        assert [one["event"] for one in bodies(store)] == ["issued", "issued", "revoked"]


def make_and_record(store):
    row = make_issuance()
    store.record(row).result()
    return row.serial


def test_every_audit_join_is_told_once(told, monkeypatch):
    """Where the audit chain carries the ends of others, the batch takes another way."""
    monkeypatch.setattr("scepkit.store.audit.trail.JOIN_RECORDS", 2)
    for _ in range(7):
        told.record(make_issuance()).result()
    assert len(bodies(told)) == 7


# --- delivering -----------------------------------------------------------------------------------


def test_what_is_delivered_is_gone_and_what_failed_comes_again(told):
    told.announce(event(), event(), event())
    first, second, third = told.due("siem", SOON, 10)
    again = NOW + timedelta(minutes=1)
    told.settle([first.id], [FailedTry(second.id, "x" * 9999, again)], SOON)
    assert [one.id for one in told.due("siem", SOON, 10)] == [third.id]
    back, _ = told.due("siem", again, 10)
    assert (back.delivery, back.body, back.tries) == (second.delivery, second.body, 1)
    assert (back.error, back.tried_at) == ("x" * 500, SOON)
    assert [one.id for one in told.due("siem", again, 1)] == [second.id]


def test_what_takes_too_long_is_given_up_and_can_be_tried_anew(told):
    told.announce(event())
    later = NOW + timedelta(days=3)
    assert told.give_up("siem", before=SOON, now=later) == 0  # nobody has tried it
    told.settle([], [FailedTry(told.due("siem", SOON, 1)[0].id, "HTTP 500", SOON)], SOON)
    assert told.give_up("siem", before=NOW, now=later) == 0
    assert told.give_up("siem", before=SOON, now=later) == 1
    assert told.due("siem", later, 10) == []
    assert told.queues() == {"siem": Queue(0, 1, None, 0)}
    assert told.dead_letters() == {"siem": 1}
    (dead,) = told.deliveries(dead=True)
    assert (dead.dead_at, dead.error) == (later, "HTTP 500")
    assert told.retry([dead.id], by="alice", now=later, reason="is up again") == 1
    (back,) = told.due("siem", later, 10)
    assert (back.delivery, back.tries) == (dead.delivery, 0)
    assert told.give_up("siem", before=SOON, now=later) == 0
    assert told.queues() == {"siem": Queue(1, 0, NOW, 0)}
    newest = next(told.audit_records(limit=1))
    assert newest.members["action"] == AuditAction.OUTBOX_RETRIED
    assert newest.members["details"] == {"count": 1}


def test_what_is_dropped_is_in_the_audit_record(told):
    told.announce(event(), event())
    ids = [one.id for one in told.deliveries()]
    assert told.drop([*ids, 4711], by="alice", now=NOW) == 2
    assert told.drop(ids, by="alice", now=NOW) == 0
    assert told.queues() == {}
    actions = [one.members["action"] for one in told.audit_records()]
    assert actions.count("outbox-dropped") == 1


def test_it_is_bounded_and_what_is_lost_is_told(told):
    for n in range(10):
        told.announce(event(n=n))
    dead = told.due("siem", SOON, 10)[7]
    told.settle([], [FailedTry(dead.id, "HTTP 500", SOON)], SOON)
    assert told.give_up("siem", before=SOON, now=SOON) == 1
    assert told.bound("siem", most=6, before=NOW - timedelta(days=1), now=SOON) == 4
    # The dead one, and the three oldest.
    assert [one["n"] for one in bodies(told)] == [3, 4, 5, 6, 8, 9]
    assert told.queues()["siem"].lost == 4
    assert told.tell_lost("siem", SOON) == 4
    assert told.tell_lost("siem", SOON) == 0
    assert bodies(told)[-1] | {"id": ""} == {
        "id": "",
        "event": "lost",
        "at": "2026-11-05T12:00:01.123456Z",
        "endpoint": None,
        "count": 4,
    }
    assert told.bound("siem", most=5, before=NOW - timedelta(days=1), now=SOON) == 2
    assert told.tell_lost("siem", SOON) == 2
    assert told.queues()["siem"].lost == 6


def test_what_is_too_old_is_deleted(told):
    told.announce(event(), event())
    one, _ = told.due("siem", SOON, 10)
    month = NOW + timedelta(days=30)
    told.retry([one.id], by="alice", now=month)
    assert told.bound("siem", most=100, before=SOON, now=month) == 1
    (left,) = told.deliveries()
    assert left.id == one.id
    assert told.queues()["siem"].lost == 1


def test_looking_for_some(told):
    told.subscribe([ALL, Subscription("cmdb", frozenset(EventType))])
    told.announce(event(), event())
    assert len([*told.deliveries()]) == 4
    assert [one.notification for one in told.deliveries(notification="cmdb")] == ["cmdb"] * 2
    assert len([*told.deliveries(limit=3)]) == 3
    assert [*told.deliveries(dead=True)] == []
    some = next(told.deliveries())
    assert told.delivery(some.delivery) == [some]
    assert told.delivery(some.delivery[:13]) == [some]
    assert told.delivery("%") == told.delivery("nothing") == []
    assert len(told.delivery("")) == 2
    assert sorted(told.notifications_with_rows()) == ["cmdb", "siem"]


# --- once -----------------------------------------------------------------------------------------


def test_something_is_told_once_until_it_is_over(told):
    failing, over = event(EventType.RULE_FAILING), event(EventType.RULE_RECOVERED)
    assert not told.announce_end(ALL, "rule/mdm", over)
    assert told.announce_once("siem", "rule/mdm", failing)
    assert not told.announce_once("siem", "rule/mdm", failing)
    assert told.announce_once("cmdb", "rule/mdm", failing)
    assert told.announce_end(ALL, "rule/mdm", over)
    assert not told.announce_end(ALL, "rule/mdm", over)
    assert told.announce_once("siem", "rule/mdm", failing)
    assert [one["event"] for one in bodies(told)] == [
        *("rule-failing", "rule-recovered", "rule-failing"),
    ]


def end(days, **changes):
    return make_issuance(not_after=NOW + timedelta(days=days), **changes)


def announce(store, now=NOW, days=30, subscription=ALL, size=500):
    while store.announce_expiring(subscription, timedelta(days=days), now, size):
        pass


def serials(store, now=NOW + timedelta(days=400)):
    """The serial numbers that were told to end, each time anew."""
    rows = [one for one in store.due("siem", now, 1000) if one.event == "expiring"]
    store.settle([one.id for one in rows], [], now)
    return [int(json.loads(one.body)["certificate"]["serial"], 16) for one in rows]


def test_certificates_that_end_are_told_once(told):
    gone, first, second, third = (end(days) for days in (-1, 10, 29, 60))
    for one in (third, second, first, gone):
        told.record(one).result()
    announce(told)
    assert serials(told) == [first.serial, second.serial]
    announce(told)
    announce(told, NOW + timedelta(days=29))
    assert serials(told) == []
    announce(told, NOW + timedelta(days=31))
    assert serials(told) == [third.serial]
    # Another number of days is told by itself.
    announce(told, days=7, now=NOW + timedelta(days=5))
    (row,) = (
        one for one in told.due("siem", NOW + timedelta(days=9), 99) if "expiring" in one.body
    )
    assert json.loads(row.body)["days"] == 7
    assert serials(told) == [first.serial]


def test_what_is_renewed_revoked_or_followed_is_not_told(told):
    renewed, revoked, followed, alone, other = (
        end(10),
        end(11),
        end(12, subject_digest=b"s" * 32),
        end(13),
        end(14, subject_digest=b"s" * 32, endpoint="other"),
    )
    for one in (renewed, revoked, followed, alone, other):
        told.record(one).result()
    told.record(end(300, renews=renewed.serial)).result()
    told.record(end(300, subject_digest=b"s" * 32)).result()
    told.revoke(revoked.serial, reason=1, by="alice", now=NOW)
    taken_back = end(300, renews=alone.serial)
    told.record(taken_back).result()
    told.revoke(taken_back.serial, reason=1, by="alice", now=NOW)
    announce(told)
    assert serials(told) == [alone.serial, other.serial]
    announce(
        told,
        days=20,
        subscription=Subscription("siem", frozenset(EventType), frozenset({"other"})),
    )
    assert serials(told) == [other.serial]


def test_many_ends_are_told_in_parts_and_none_twice(told):
    rows = [end(1 + n // 4) for n in range(30)]
    for promise in [told.record(one) for one in rows]:
        promise.result()
    assert told.announce_expiring(ALL, timedelta(days=30), NOW, 3)
    announce(told, size=3)
    assert sorted(serials(told)) == sorted(one.serial for one in rows)


def test_two_at_once_tell_it_once(url, told):
    for days in range(1, 20):
        told.record(end(days)).result()
    with Store.open(url) as other:
        other.subscribe([ALL])
        barrier = Barrier(2)

        def tell(store):
            barrier.wait()
            announce(store, size=4)

        threads = [Thread(target=tell, args=(one,)) for one in (told, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = serials(told)
    assert len(found) == len(set(found)) == 19


# --- a clock that was ahead, and is right again ---------------------------------------------------

YEAR = timedelta(days=365)


def test_what_was_put_there_meanwhile_is_due(told):
    told.announce(Event(EventType.TEST, NOW + YEAR, "", {"n": 1}))
    (row,) = told.due("siem", NOW, 10)
    # It fails as others do: again after its pause, and given up in time.
    told.settle([], [FailedTry(row.id, "HTTP 500", NOW + timedelta(minutes=30))], NOW)
    assert told.due("siem", NOW + timedelta(minutes=29), 10) == []
    (row,) = told.due("siem", NOW + timedelta(minutes=30), 10)
    assert told.give_up("siem", before=SOON, now=SOON) == 1


def test_ends_that_it_passed_over_are_told(told):
    passed, near, later = end(100), end(10), end(390)
    for one in (passed, near, later):
        told.record(one).result()
    announce(told)
    assert serials(told) == [near.serial]
    announce(told, NOW + YEAR)
    assert serials(told) == [later.serial]
    announce(told, NOW + timedelta(days=75))
    assert serials(told, NOW + YEAR) == [passed.serial]
    announce(told, NOW + timedelta(days=76))
    assert serials(told, NOW + YEAR) == []


def test_what_is_told_once_is_told_in_its_time_again(told):
    early = Event(EventType.CA_EXPIRING, NOW + YEAR, "", {})
    assert told.announce_once("siem", "ca/ab/30", early)
    assert told.announce_once("siem", "ca/ab/30", early._replace(at=NOW))
    assert not told.announce_once("siem", "ca/ab/30", early._replace(at=SOON))


# --- leases ---------------------------------------------------------------------------------------


def lease(store, holder, at, seconds=30):
    now = NOW + timedelta(seconds=at)
    return store.take_lease("outbox", holder, now=now, until=now + timedelta(seconds=seconds))


def test_a_lease_is_one_process_s_until_its_end(store):
    assert lease(store, "a", 0)
    assert not lease(store, "b", 29)
    assert lease(store, "a", 29)
    assert not lease(store, "b", 58)
    assert lease(store, "b", 59)
    assert not lease(store, "a", 60)
    store.end_lease("outbox", "a")
    assert not lease(store, "a", 61)
    store.end_lease("outbox", "b")
    assert lease(store, "a", 62)


def test_a_lease_of_a_clock_that_was_ahead_is_anybody_s(store):
    """Its holder may be gone; to wait for its end could take years."""
    assert lease(store, "gone", YEAR.total_seconds())
    assert lease(store, "b", 0)
    assert not lease(store, "c", 1)
    # Nor is it taken from a machine whose clock is a little ahead.
    assert lease(store, "b", 240)
    assert not lease(store, "c", 2)


def test_of_two_who_take_a_lease_one_gets_it(url, store):
    with Store.open(url) as other:
        for round_ in range(10):
            barrier, got = Barrier(2), []

            def take(one, name, at=round_ * 100, barrier=barrier, got=got):
                barrier.wait()
                if lease(one, name, at):
                    got.append(name)

            threads = [
                Thread(target=take, args=(one, name)) for one, name in ((store, "a"), (other, "b"))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(got) == 1


def test_a_certificate_s_key_names_it(told):
    row = make_issuance()
    told.record(row).result()
    told.revoke(CertificateKey(row.serial, CA), reason=1, by="alice", now=NOW)
    assert bodies(told)[-1]["certificate"]["issuer_key"] == CA.hex()
