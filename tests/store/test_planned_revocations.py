"""Revocations at a time to come: planned, cancelled, and done once when they are due."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from scepkit.errors import UsageError
from scepkit.protocol.certificate import show_serial
from scepkit.store import (
    Action,
    AuditAction,
    CertificateFilter,
    CertificateKey,
    CertificateStatus,
    Store,
)
from stored import CA, NOW, make_issuance
from waiting import PATIENCE

DAY = timedelta(days=1)
SUPERSEDED, HOLD = 4, 6


@pytest.fixture
def issued(store):
    """Store so many certificates; return their names."""

    def issued(count=1, **how):
        made = [make_issuance(**how) for _ in range(count)]
        for future in [store.record(one) for one in made]:
            future.result()
        return [CertificateKey(one.serial, one.issuer) for one in made]

    return issued


def plan(store, keys, *, days=3, by="alice", reason=SUPERSEDED, now=NOW, note="new keys"):
    return store.plan_revocations(
        keys, due_at=NOW + days * DAY, reason=reason, by=by, now=now, note=note
    )


def actions(store, *wanted):
    return [
        (one.members["action"], one.members["serial"])
        for one in store.audit_records()
        if one.members["action"] in wanted
    ]


def test_it_is_good_until_then_and_revoked_at_the_time(issued, store):
    (key,) = issued()
    (row,) = plan(store, [key])
    assert row.key == key
    assert store.revoke_due(NOW + 3 * DAY - timedelta(seconds=1)) == 0
    assert store.certificate(key).revoked_at is None
    before = store.crl_state(CA)
    assert store.revoke_due(NOW + 3 * DAY) == 1
    row = store.certificate(key)
    assert (row.revoked_at, row.revocation_reason) == (NOW + 3 * DAY, SUPERSEDED)
    assert row.revoked_by == "alice"
    (line,) = store.revocation_history(key)
    assert (line.action, line.by, line.note) == (Action.REVOKE, "alice", "new keys")
    assert store.planned_revocation(key) is None
    assert before is None
    assert store.revoke_due(NOW + 9 * DAY) == 0


def test_the_record_has_plan_and_revocation(issued, store):
    (key,) = issued()
    plan(store, [key])
    store.revoke_due(NOW + 3 * DAY)
    records = [*store.audit_records()]
    done, planned = (
        next(one.members for one in records if one.members["action"] == action)
        for action in (AuditAction.REVOKED, AuditAction.REVOCATION_PLANNED)
    )
    assert planned["details"]["crl_reason"] == SUPERSEDED
    assert planned["details"]["issuer_key"] == CA.hex()
    assert datetime.fromisoformat(planned["details"]["due"]) == NOW + 3 * DAY
    assert (planned["actor"], planned["reason"]) == ("alice", "new keys")
    assert (done["actor"], done["serial"]) == ("alice", show_serial(key.serial))


def test_what_is_cancelled_is_not_done(issued, store):
    first, second = issued(2)
    plan(store, [first, second])
    (row,) = store.cancel_revocations([first, first], by="bob", now=NOW + DAY)
    assert row.key == first
    assert store.cancel_revocations([first], by="bob", now=NOW + DAY) == []
    assert store.revoke_due(NOW + 9 * DAY) == 1
    assert store.certificate(first).revoked_at is None
    assert actions(store, "revocation-cancelled") == [
        ("revocation-cancelled", show_serial(first.serial))
    ]


def test_the_last_plan_stands(issued, store):
    (key,) = issued()
    plan(store, [key], days=3)
    plan(store, [key], days=9, by="bob", reason=5)
    found = store.planned_revocation(key)
    assert (found.due_at, found.by, found.reason) == (NOW + 9 * DAY, "bob", 5)
    assert store.revoke_due(NOW + 4 * DAY) == 0
    assert store.revoke_due(NOW + 9 * DAY) == 1


def test_what_is_revoked_stays_and_what_is_on_hold_may_be_planned(issued, store):
    revoked, held, later = issued(3)
    store.revoke(revoked, reason=1, by="bob", now=NOW)
    store.revoke(held, reason=HOLD, by="bob", now=NOW)
    unknown = CertificateKey(5, CA)
    assert [row.key for row in plan(store, [revoked, held, later, unknown])] == sorted(
        [held, later]
    )
    store.revoke(later, reason=1, by="bob", now=NOW + DAY)
    assert store.revoke_due(NOW + 3 * DAY) == 1
    assert store.certificate(held).revocation_reason == SUPERSEDED
    assert store.certificate(later).revocation_reason == 1


def test_they_are_found_by_their_state(issued, store):
    keys = issued(3)
    plan(store, keys[:2])
    wanted = CertificateFilter(status=CertificateStatus.PLANNED)
    assert {row.key for row in store.certificate_page(wanted).rows} == set(keys[:2])
    store.revoke(keys[0], reason=HOLD, by="bob", now=NOW)
    assert len(store.certificate_page(wanted).rows) == 2
    store.revoke(keys[0], reason=1, by="bob", now=NOW)
    assert [row.key for row in store.certificate_page(wanted).rows] == [keys[1]]


def test_a_time_without_a_zone(store):
    naive = datetime(2026, 12, 1)  # noqa: DTZ001
    for call in (
        lambda: store.plan_revocations([], due_at=naive, reason=4, by="a", now=NOW),
        lambda: store.cancel_revocations([], by="a", now=naive),
        lambda: store.revoke_due(naive),
    ):
        with pytest.raises(UsageError):
            call()


def test_old_certificates_go_with_their_plans(issued, store, sql):
    keys = issued(3, not_after=NOW)
    plan(store, keys)
    store.purge(
        decided_before=NOW,
        challenges_before=NOW,
        certificates_before=NOW + DAY,
        now=NOW + 2 * DAY,
    )
    assert sql("SELECT count(*) FROM planned_revocations") == [(0,)]
    assert sql("SELECT count(*) FROM certificates") == [(0,)]


@pytest.fixture
def patient(url):
    """Return two stores that wait for each other's turns for as long as a busy machine takes."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Store.open(url, node=f"test/{one}", patience=PATIENCE))
            for one in (2, 3)
        ]


def test_two_threads_do_each_once(issued, store, patient):
    keys = issued(250)
    plan(store, keys)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(one.revoke_due, NOW + 3 * DAY) for one in 2 * patient]
        assert sum(future.result() for future in futures) == 250
    done = actions(store, "revoked")
    assert len(done) == len(set(done)) == 250


def test_threads_plan_cancel_and_revoke_the_same(issued, store, patient):
    """Whoever is last, nobody waits for ever, and none is revoked twice."""
    keys = issued(20)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(plan, one, keys) for one in 4 * patient]
        futures += [
            pool.submit(one.cancel_revocations, keys, by="b", now=NOW) for one in 4 * patient
        ]
        futures += [pool.submit(one.revoke_due, NOW + 3 * DAY) for one in 4 * patient]
        for future in futures:
            future.result()
    revoked = actions(store, "revoked")
    assert len(revoked) == len(set(revoked))
    done = [one[0] for one in actions(store, "revocation-planned", "revocation-cancelled")]
    assert done.count("revocation-cancelled") <= done.count("revocation-planned")
    for key in keys:
        store.planned_revocation(key)


def test_kill_9_in_the_midst_of_it(issued, store, url, spawn):
    """Each is planned still or revoked, and the next process does the rest, each once."""
    keys = issued(300)
    plan(store, keys)
    child = spawn("revoke due")
    for _ in range(150):
        child.stdout.readline()
    child.kill()
    child.wait()
    with Store.open(url, node="test/2") as again:
        left = {key for key in keys if again.planned_revocation(key) is not None}
        revoked = {key for key in keys if again.certificate(key).revoked_at is not None}
        assert left | revoked == set(keys)
        assert not left & revoked
        assert again.revoke_due(NOW + 3 * DAY) == len(left)
        assert all(again.certificate(key).revoked_at is not None for key in keys)
        done = actions(again, "revoked")
        assert len(done) == len(set(done)) == 300


def test_what_is_planned_anew_or_cancelled_meanwhile_is_not_revoked(issued, store, monkeypatch):
    """Between the look at what is due and the transaction that revokes it."""
    later, cancelled = issued(2)
    plan(store, [later, cancelled])
    writing = store._writing

    def late(action):
        monkeypatch.setattr(store, "_writing", writing)
        plan(store, [later], days=9)
        store.cancel_revocations([cancelled], by="bob", now=NOW)
        return writing(action)

    monkeypatch.setattr(store, "_writing", late)
    assert store.revoke_due(NOW + 3 * DAY) == 0
    assert store.planned_revocation(later).due_at == NOW + 9 * DAY
    assert store.certificate(cancelled).revoked_at is None
