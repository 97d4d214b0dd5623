"""Refused requests: counted, bounded in two rings, found again, and forgotten."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from scepkit.errors import StoreError
from scepkit.store import LastSeen, Purged, Refusal, RefusalFilter, Store
from stored import ENDPOINT, NOW

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ALL = RefusalFilter()


def refused(name="1", **changes):
    values = {
        "endpoint": ENDPOINT,
        "is_entitled": False,
        "transaction_id": name,
        "message_type": "PKCS_REQ",
        "at": NOW,
        "fail_info": 2,
        "reason": "the subject's CN is missing (subject.CN.required of the profile 'vpn')",
        "rule": "subject.CN.required",
        "attribute": "CN",
        "subject": "O=Example",
        "key": b"K" * 32,
        "peer": "192.0.2.7",
    }
    return Refusal(**values | changes)


@pytest.fixture
def keep(store):
    def keep(*refusals, most=10):
        promise = Future()
        store.keep_refusals(refusals, promise, most=most)
        return promise.result()

    return keep


def names(store, **wanted):
    return [row.transaction_id for row in store.refusal_page(RefusalFilter(**wanted))]


def test_what_is_kept_is_read_back(store, keep):
    one = refused(serial=0xABC, challenge=7, length=65, is_entitled=True)
    assert keep(one) == 1
    (row,) = store.refusal_page(ALL)
    assert row.first_at == row.last_at == NOW
    assert (row.times, row.is_entitled, row.fail_info) == (1, True, 2)
    for name in ("transaction_id", "message_type", "reason", "rule", "attribute", "length"):
        assert getattr(row, name) == getattr(one, name)
    for name in ("endpoint", "subject", "key", "serial", "challenge", "peer"):
        assert getattr(row, name) == getattr(one, name)


def test_what_is_not_known_is_none(store, keep):
    keep(refused(rule="", attribute="", key=b"", peer="", subject=""))
    (row,) = store.refusal_page(ALL)
    assert (row.rule, row.attribute, row.key, row.peer) == (None, None, None, None)
    assert (row.length, row.serial, row.challenge, row.subject) == (None, None, None, "")


def test_equal_ones_are_counted_in_one_row(store, keep):
    assert keep(refused(), refused(at=NOW + SECOND, peer="192.0.2.8")) == 1
    assert keep(refused(at=NOW + DAY, reason="again", times=5)) == 0
    (row,) = store.refusal_page(ALL)
    assert (row.times, row.first_at, row.last_at) == (7, NOW, NOW + DAY)
    assert (row.reason, row.peer) == ("again", "192.0.2.7")


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": "2"},
        {"key": b"L" * 32},
        {"rule": "subject.O.max"},
        {"attribute": "O"},
        {"fail_info": 0},
        {"is_entitled": True},
        {"endpoint": "other"},
    ],
)
def test_another_request_or_rule_is_another_row(store, keep, change):
    assert keep(refused(), refused(**change)) == 2


def test_strangers_push_out_nobody_else(store, keep):
    """Not those who were entitled, not those of other endpoints: only what is older of theirs."""
    keep(refused("device", is_entitled=True), refused("elsewhere", endpoint="other"))
    for number in range(7):
        at = NOW + DAY + number * SECOND
        keep(*[refused(f"{number}-{n}", at=at) for n in range(3)], most=4)
    assert names(store, endpoint="other") == ["elsewhere"]
    kept = names(store, endpoint=ENDPOINT)
    assert kept[-1] == "device"
    assert sorted(kept[:3]) == ["6-0", "6-1", "6-2"]
    assert len(kept) == 5


def test_what_is_seen_again_stays(store, keep):
    for number in range(3):
        keep(refused(str(number), at=NOW + number * SECOND), most=3)
    keep(refused("0", at=NOW + DAY), most=3)
    keep(refused("3", at=NOW + DAY + SECOND), most=3)
    assert names(store) == ["3", "0", "2"]


def test_a_smaller_ring_loses_rows_with_the_next_one(store, keep):
    keep(*[refused(str(number), at=NOW + number * SECOND) for number in range(8)])
    keep(refused("8", at=NOW + DAY), most=2)
    assert names(store) == ["8", "7"]


def test_looked_for(store, keep):
    keep(
        refused("a", serial=17, subject="CN=Router1"),
        refused("b", at=NOW + SECOND, key=b"L" * 32),
        refused("c", at=NOW + 2 * SECOND, endpoint="other", subject="CN=100%"),
    )
    assert names(store) == ["c", "b", "a"]
    assert names(store, transaction_id="b") == ["b"]
    assert names(store, serial=17) == ["a"]
    assert names(store, key=b"L" * 32) == ["b"]
    assert names(store, subject="router") == ["a"]
    assert names(store, subject="0%") == ["c"]
    assert names(store, endpoint=ENDPOINT, seen_after=NOW + SECOND) == ["b"]
    assert names(store, seen_before=NOW + SECOND) == ["a"]


def test_page_by_page(store, keep):
    keep(*[refused(str(number), at=NOW + number // 2 * SECOND) for number in range(6)])
    found, place = [], None
    while rows := store.refusal_page(ALL, after=place, limit=2):
        found += [row.transaction_id for row in rows]
        place = LastSeen(rows[-1].last_at, rows[-1].id)
    assert sorted(found) == [str(number) for number in range(6)]
    assert [int(one) // 2 for one in found] == [2, 2, 1, 1, 0, 0]


def test_old_ones_are_purged(store, keep):
    keep(refused("old"), refused("seen again"))
    keep(refused("seen again", at=NOW + 2 * DAY))
    never = NOW - 9999 * DAY
    times = {"decided_before": NOW + DAY, "challenges_before": never, "certificates_before": never}
    assert store.would_purge(**times) == Purged(0, 0, 0, 0, 1)
    assert store.purge(**times, now=NOW) == Purged(0, 0, 0, 0, 1)
    assert names(store) == ["seen again"]


def test_two_processes_count_in_one_row(url, store):
    """Each with a connection of its own, as worker processes have, and both at once."""
    same = [refused(str(number)) for number in range(20)]

    def keep(one, refusals):
        promise = Future()
        one.keep_refusals(refusals, promise, most=100)
        return promise

    with Store.open(url) as other, ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            ahead = threads.submit(keep, store, same)
            behind = threads.submit(keep, other, same[::-1])
            ahead.result().result()
            behind.result().result()
    rows = store.refusal_page(ALL)
    assert [row.times for row in rows] == [10] * 20


def test_certificates_are_stored_whatever_becomes_of_refusals(store, sql, counts, hold, issuance):
    """A refusal that cannot be written fails alone."""
    sql("DROP TABLE refusals")
    promise = Future()
    with hold():
        first = store.record(issuance())
        store.keep_refusals([refused()], promise, most=10)
        second = store.record(issuance())
    assert first.result().outcome.certificate
    assert second.result().outcome.certificate
    with pytest.raises(StoreError):
        promise.result()
    assert counts()[0] == 2


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_locked_table_of_refusals_holds_up_no_certificate(store, beside, issuance):
    promise = Future()
    with beside() as connection:
        connection.execute("BEGIN; LOCK refusals IN EXCLUSIVE MODE")
        store.keep_refusals([refused()], promise, most=10)
        assert store.record(issuance()).result().outcome.certificate
        assert not promise.done()
        connection.execute("ROLLBACK")
    assert promise.result() == 1


def test_a_closed_store_takes_none(url):
    with Store.open(url) as store:
        queued = Future()
        store.keep_refusals([refused()], queued, most=10)
    assert queued.result() == 1
    with pytest.raises(StoreError, match="closed"):
        store.keep_refusals([refused()], Future(), most=10)


def test_many_at_once_are_bounded(store, keep, sql):
    keep(*[refused(os.urandom(8).hex()) for _ in range(50)], most=20)
    assert sql("SELECT count(*) FROM refusals") == [(20,)]
