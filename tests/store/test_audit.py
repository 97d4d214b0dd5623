"""The chains of audit records: written with what they tell of, and every damage is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest

from scepkit.operations.audit import AuditCheck, export
from scepkit.store import AlreadyAnswered, AuditAction, AuditEvent, AuditRecord, Recorded, Store
from scepkit.store.audit import trail as audit_trail
from stored import NOW, make_challenge, make_grant, make_issuance, make_queued, put_challenge


@pytest.fixture
def stores(url):
    """Two processes' stores on one database."""
    with ExitStack() as stack:
        nodes = ("host/1", "host/2")
        yield [stack.enter_context(Store.open(url, node=node)) for node in nodes]


def note(store, times=1, now=NOW):
    for number in range(times):
        store.write_audit(AuditEvent(AuditAction.STARTED, f"a{number}", now))


def kinds(store):
    return [(one.node, one.number, one.kind) for one in AuditCheck().database(store)]


def chain(store, node="test/1"):
    return [*store.audit_chain(node, after=0, until=10**6)]


# --- what is written ------------------------------------------------------------------------------


def test_each_action_has_its_record(store):
    challenge = put_challenge(store)
    issued = make_issuance(challenge_id=challenge.id, peer="192.0.2.7")
    store.record(issued).result()
    renewed = make_issuance(renews=issued.serial)
    store.record(renewed).result()
    waiting = [make_queued(subject=f"CN={n}", expires_at=NOW + timedelta(n)) for n in range(1, 4)]
    ids = [store.queue(one).result().outcome.request_id for one in waiting]
    store.approve(ids[0], make_grant(store.request(ids[0])), by="alice")
    store.reject(ids[1], fail_info=2, reason="not ours", by="bob", now=NOW)
    store.expire(NOW + timedelta(days=9))
    for reason in (6, 6, 1, 1):
        store.revoke(issued.serial, reason=reason, by="alice", now=NOW, note="why")
    store.revoke(renewed.serial, reason=6, by="alice", now=NOW)
    store.release(renewed.serial, by="bob", now=NOW, note="found")
    numbers = store.add_challenges([make_challenge(label="x") for _ in range(3)], by="carol")
    list(store.void_challenges(numbers[:1], by="dave", now=NOW))
    list(store.void_challenges(numbers, by="dave", now=NOW))
    list(store.void_challenges(numbers, by="dave", now=NOW))
    assert [(one.members["action"], one.members["actor"]) for one in chain(store)] == [
        ("challenge-minted", "unknown"),
        ("issued", "192.0.2.7"),
        ("issued", "unknown"),
        ("queued", "unknown"),
        ("queued", "unknown"),
        ("queued", "unknown"),
        ("approved", "alice"),
        ("rejected", "bob"),
        ("lapsed", "server"),
        ("held", "alice"),
        ("revoked", "alice"),
        ("held", "alice"),
        ("released", "bob"),
        ("challenges-minted", "carol"),
        ("challenge-voided", "dave"),
        ("challenges-voided", "dave"),
    ]
    first = chain(store)[1].members
    assert first["transaction_id"] == issued.transaction_id.decode()
    assert int(first["serial"], 16) == issued.serial
    assert (first["challenge"], first["subject"]) == (challenge.id, "CN=device")
    assert chain(store)[7].members["reason"] == "not ours"
    assert chain(store)[8].members["details"] == {"request": ids[2]}
    assert chain(store)[10].members["reason"] == "why"
    assert kinds(store) == []


def test_a_purge_is_recorded_and_spares_the_record(store):
    store.record(make_issuance(not_after=NOW)).result()
    later = NOW + timedelta(days=1)
    before = dict.fromkeys(("decided_before", "challenges_before", "certificates_before"), later)
    store.purge(**before, now=later, by="alice", reason="too old")
    assert [one.members["action"] for one in chain(store)] == ["issued", "purged", "purged"]
    assert chain(store)[1].members["details"]["requests"] == 1
    assert [one.members.get("reason") for one in chain(store)] == [None, "too old", "too old"]
    assert kinds(store) == []


def test_reasons_are_kept_with_what_they_are_for(store):
    (number,) = store.add_challenges([make_challenge()], by="carol", reason="a new phone")
    list(store.void_challenges([number], by="dave", now=NOW, reason="went astray"))
    waiting = store.queue(make_queued()).result().outcome.request_id
    grant = make_grant(store.request(waiting))
    store.approve(waiting, grant, by="alice", reason="ticket 17")
    told = {one.members["action"]: one.members.get("reason") for one in chain(store)}
    assert told == {
        "challenge-minted": "a new phone",
        "challenge-voided": "went astray",
        "queued": None,
        "approved": "ticket 17",
    }
    assert store.challenge(number).void_reason == "went astray"
    row = store.request(waiting)
    assert (row.approval_reason, row.reason) == ("ticket 17", None)
    assert kinds(store) == []


def test_text_that_no_database_holds_is_written_all_the_same(store):
    odd = "a\0b\ud800"
    store.write_audit(AuditEvent(AuditAction.REVOKED, odd, NOW, subject=odd, reason=odd))
    assert [one.members["reason"] for one in chain(store)] == [r"a\x00b\ud800"]
    assert kinds(store) == []


def test_what_leaves_nothing_behind_leaves_no_record(store, put):
    issued = make_issuance()
    store.record(issued).result()
    again = make_issuance(
        **{name: getattr(issued, name) for name in ("transaction_id", "signer_key", "fingerprint")}
    )
    assert isinstance(store.record(again).result(), AlreadyAnswered)
    assert len(chain(store)) == 1


def test_a_record_is_not_there_without_what_it_tells_of(store, monkeypatch):
    """The commit of a batch fails: its records are gone with it, and the chain goes on."""
    store.record(make_issuance()).result()
    with monkeypatch.context() as context:
        for name in ("audit_event", "IssuanceRow.record"):
            context.setattr(
                f"scepkit.store.committing.group_commit.{name}",
                lambda *_: (_ for _ in ()).throw(OSError("disk")),
            )
        with pytest.raises(Exception, match="disk"):
            store.record(make_issuance()).result()
    assert len(chain(store)) == 1
    assert len(list(store.certificates())) == 1
    store.record(make_issuance()).result()
    assert kinds(store) == []


def lose(store):
    """Write a record, and roll it back."""
    with store._writing("test") as connection:
        store._audit.append(connection, [AuditEvent(AuditAction.JOINED, "lost", NOW)])
        raise ValueError("no")


def test_a_batch_leaves_no_gap_where_an_end_was_rolled_back(store, issuance):
    """Nothing else has the number that it would give its record."""
    note(store)
    with pytest.raises(ValueError, match="no"):
        lose(store)
    assert isinstance(store.record(issuance()).result(), Recorded)
    assert [one.number for one in chain(store)] == [1, 2]
    assert kinds(store) == []


def test_an_end_that_was_rolled_back_is_read_again(store):
    """Even where another record has its number by then."""
    note(store)
    with pytest.raises(ValueError, match="no"):
        lose(store)
    with Store.open(store._engine.url, node="test/1") as other:
        note(other)
    note(store)
    assert [one.members["actor"] for one in chain(store)] == ["a0"] * 3
    assert kinds(store) == []


def test_a_batch_shares_one_end(store, hold):
    """Whether it is written as a whole or, because of a conflict, one by one."""
    spent = put_challenge(store)
    with hold():
        entries = [make_issuance(challenge_id=spent.id) for _ in range(2)]
        entries += [make_issuance() for _ in range(8)]
        futures = [store.record(entry) for entry in entries]
    done = [isinstance(future.result(), Recorded) for future in futures]
    assert sum(done) == 9
    assert len(chain(store)) == 1 + 9
    assert kinds(store) == []


def test_without_a_node_nothing_is_written(url, sql):
    with Store.open(url) as store:
        store.record(make_issuance()).result()
        note(store)
        store.join_audit(NOW)
    assert sql("SELECT count(*) FROM audit") == [(0,)]


def test_two_processes_with_one_name_write_one_chain(url, spawn):
    """No worker should, but two commands of scep admin at once do."""
    children = [spawn("audit", "host/admin", 60) for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        assert child.wait() == 0
    with Store.open(url) as store:
        assert len(chain(store, "host/admin")) == 180
        assert kinds(store) == []


def test_a_batch_finds_the_end_that_another_process_has_moved(url, issuance):
    """It follows the end that it remembers, and learns only before its commit that it is none."""
    with Store.open(url, node="host/1") as ours, Store.open(url, node="host/1") as other:
        issued = [issuance() for _ in range(5)]
        for writer, entry in zip([ours, ours, other, ours, other], issued, strict=True):
            assert isinstance(writer.record(entry).result(), Recorded)
        told = [int(record.members["serial"], 16) for record in chain(ours, "host/1")]
        assert told == [entry.serial for entry in issued]
        assert kinds(ours) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_no_chain_waits_for_another(stores):
    """A transaction that has written to one chain is open while another one is written."""
    note(stores[0])
    note(stores[1])
    with stores[0]._writing("test") as connection:
        stores[0]._audit.append(connection, [AuditEvent(AuditAction.STARTED, "slow", NOW)])
        with ThreadPoolExecutor(1) as pool:
            pool.submit(note, stores[1]).result(timeout=10)
        assert len(chain(stores[1], "host/2")) == 2
    assert kinds(stores[0]) == []


@pytest.mark.parametrize("answered", [1, 100])
def test_kill_9_leaves_records_and_certificates_in_step(url, spawn, sql, answered):
    child = spawn("record for ever", "host/1")
    printed = [child.stdout.readline() for _ in range(answered)]
    child.kill()
    printed += child.stdout.readlines()
    child.wait()
    with Store.open(url) as store:
        assert kinds(store) == []
        told = {
            int(one.members["serial"], 16)
            for one in chain(store, "host/1")
            if one.members["action"] == "issued"
        }
        assert told == {row.serial for row in store.certificates()}
        assert {int(line, 16) for line in printed} <= told


# --- joins ----------------------------------------------------------------------------------------


def joins(store):
    return [(one.node, one.number, one.heads) for one in store.audit_joins()]


def test_a_record_carries_the_ends_of_other_chains_from_time_to_time(stores, monkeypatch):
    monkeypatch.setattr(audit_trail, "JOIN_RECORDS", 10)
    one, other = stores
    event = AuditEvent(AuditAction.PURGED, "server", NOW)
    one.write_audit(event)
    other.write_audit(event, event)
    assert [(node, number) for node, number, _ in joins(one)] == [("host/2", 1)]
    for _ in range(25):
        one.write_audit(event)
    assert [(node, number) for node, number, _ in joins(one)] == [
        *(("host/1", 12), ("host/1", 23), ("host/2", 1))
    ]
    one.write_audit(event._replace(at=NOW + timedelta(minutes=11)))
    assert joins(one)[2][:2] == ("host/1", 27)
    heads = {node: head for node, head in one.audit_heads().items() if node == "host/2"}
    assert joins(one)[2][2] == heads
    assert kinds(one) == []


def test_an_idle_server_joins_what_is_new_and_then_is_silent(stores):
    one, other = stores
    note(one)
    note(other, now=NOW + timedelta(minutes=1))
    for minutes in range(10, 100, 10):
        for store in stores:
            store.join_audit(NOW + timedelta(minutes=minutes))
    assert len(chain(one, "host/1")) + len(chain(one, "host/2")) <= 6
    assert one.audit_heads()["host/2"][0] >= 1
    assert joins(one)[-1][2] or joins(one)[0][2]
    before = one.audit_heads()
    one.join_audit(NOW + timedelta(days=1))
    assert one.audit_heads() == before


# --- damage ---------------------------------------------------------------------------------------

OF = "node = 'host/1' AND number"


@pytest.fixture
def damaged(stores, sql):
    """Five records in host/1; host/2 has carried the end of host/1 at its third record."""
    note(stores[0], 3)
    note(stores[1])
    stores[0].write_audit(*[AuditEvent(AuditAction.PURGED, "server", NOW)] * 2)
    assert kinds(stores[0]) == []

    def damage(*statements):
        for statement in statements:
            sql(statement)
        return kinds(stores[0])

    return damage


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'mallory'",
        "action = 'joined'",
        "at = '2026-11-05T12:00:00.123457Z'",
        "subject = 'CN=x'",
        "details = '{'",
        "details = '{\"a\":1}'",
        "details = '{} '",
        "challenge = 1",
        "heads = NULL, reason = ''",
    ],
)
def test_a_changed_record_is_found(damaged, change):
    assert damaged(f"UPDATE audit SET {change} WHERE {OF} = 2") == [("host/1", 2, "changed")]


def test_a_record_whose_hash_was_changed_too_is_found_at_the_next_one(damaged, stores, sql):
    (row,) = [one for one in chain(stores[0], "host/1") if one.number == 2]
    forged = AuditRecord({**row.members, "actor": "mallory"}, "")
    digest = audit_digest(forged)
    value = f"X'{digest}'" if "sqlite" in str(stores[0]._engine.url) else f"'\\x{digest}'"
    assert damaged(f"UPDATE audit SET actor = 'mallory', hash = {value} WHERE {OF} = 2") == [
        ("host/1", 3, "changed")
    ]


def audit_digest(record):
    from scepkit.store.audit.format import digest

    return digest(record.members).hex()


def test_missing_records_are_found(damaged):
    assert damaged(f"DELETE FROM audit WHERE {OF} IN (2, 4)") == [
        *(("host/1", 2, "missing"), ("host/1", 4, "missing"))
    ]


def test_a_missing_beginning_is_found(damaged):
    assert damaged(f"DELETE FROM audit WHERE {OF} = 1") == [("host/1", 1, "missing")]


def test_reordered_records_are_found(damaged):
    assert damaged(
        f"UPDATE audit SET number = 99 WHERE {OF} = 2",
        f"UPDATE audit SET number = 2 WHERE {OF} = 4",
        f"UPDATE audit SET number = 4 WHERE {OF} = 99",
    ) == [("host/1", 2, "reordered"), ("host/1", 4, "reordered")]


def test_a_cut_end_is_found_by_its_row(damaged):
    assert damaged(f"DELETE FROM audit WHERE {OF} > 3") == [("host/1", 4, "truncated")]


def cut_to(number):
    hash_of = f"(SELECT hash FROM audit WHERE {OF} = {number})"
    return (
        f"UPDATE audit_heads SET number = {number}, hash = {hash_of} WHERE node = 'host/1'",
        f"DELETE FROM audit WHERE {OF} > {number}",
    )


def test_an_end_that_was_cut_with_its_row_is_found_by_another_chain(damaged):
    assert damaged(*cut_to(2)) == [("host/1", 3, "truncated")]


def test_an_end_after_the_last_join_is_found_only_by_an_export(damaged, stores):
    records = [*export(stores[0], since={}, heads_only=True)]
    assert damaged(*cut_to(3)) == []
    check = AuditCheck()
    assert list(check.database(stores[0])) == []
    found = check.against(stores[0], records)
    assert [(one.node, one.number, one.kind) for one in found] == [("host/1", 5, "truncated")]


def test_a_chain_that_is_gone_as_a_whole_is_found(damaged):
    gone = ["DELETE FROM audit WHERE node = 'host/1'"]
    gone.append("DELETE FROM audit_heads WHERE node = 'host/1'")
    assert damaged(*gone) == [("host/1", 1, "truncated")]


def test_a_row_of_the_end_that_was_changed_or_deleted_is_found(damaged):
    assert damaged("UPDATE audit_heads SET number = 3 WHERE node = 'host/1'") == [
        *(("host/1", 3, "changed"), ("host/1", 5, "changed"))
    ]
    assert damaged("DELETE FROM audit_heads WHERE node = 'host/1'") == [
        *(("host/1", 1, "missing"), ("host/1", 1, "truncated"))
    ]


def test_a_chain_that_was_written_anew_is_found_by_another_chain(damaged, stores, sql, url):
    """Every hash fits, but they are not those that the other chain has carried."""
    sql("DELETE FROM audit WHERE node = 'host/1'")
    sql("DELETE FROM audit_heads WHERE node = 'host/1'")
    with Store.open(url, node="host/1") as forger:
        forger.write_audit(*[AuditEvent(AuditAction.STARTED, "mallory", NOW)] * 5)
    assert damaged() == [("host/1", 3, "changed")]


def test_enrolments_go_on_where_the_end_was_set_back_or_deleted(damaged, stores, issuance):
    damaged("UPDATE audit_heads SET number = 3 WHERE node = 'host/1'")
    assert isinstance(stores[0].record(issuance()).result(), Recorded)
    damaged("DELETE FROM audit_heads WHERE node = 'host/1'")
    assert isinstance(stores[0].record(issuance()).result(), Recorded)
    damaged(f"DELETE FROM audit WHERE {OF} = 7")
    assert isinstance(stores[0].record(issuance()).result(), Recorded)
    assert kinds(stores[0]) == [("host/1", 7, "missing")]


def planted(node, number):
    """Return the statement that puts a record there that nobody wrote."""
    columns = "node, number, at, actor, action, previous, hash"
    others = columns.removeprefix("node, number")
    return (
        f"INSERT INTO audit ({columns}) SELECT '{node}', {number}{others} FROM audit WHERE {OF} = 1"
    )


@pytest.mark.parametrize(
    ("node", "number", "kind"),
    [
        ("host/1", 0, "reordered"),
        ("host/1", -5, "reordered"),
        ("host/1", 9, "changed"),
        ("", 1, "missing"),
        ("other", 1, "missing"),
    ],
)
def test_a_record_that_was_put_in_is_found_wherever_it_is(damaged, node, number, kind):
    assert damaged(planted(node, number)) == [(node, number, kind)]


def test_a_false_witness_does_not_hide_what_another_chain_knows(damaged, sql, url):
    """The chain written anew, and one more whose name comes first and that knows the false hash."""
    sql("DELETE FROM audit WHERE node = 'host/1'")
    sql("DELETE FROM audit_heads WHERE node = 'host/1'")
    with Store.open(url, node="host/1") as forger, Store.open(url, node="a") as witness:
        note(forger, 3)
        note(witness)
        forger.write_audit(*[AuditEvent(AuditAction.PURGED, "mallory", NOW)] * 2)
    assert ("host/1", 3, "changed") in damaged()


def test_enrolments_go_on_where_a_record_was_put_behind_the_end(damaged, stores, issuance):
    damaged(planted("host/1", 6))
    assert isinstance(stores[0].record(issuance()).result(), Recorded)
    assert [one[1:] for one in kinds(stores[0])] == [(6, "changed")]


@pytest.mark.parametrize("value", ["'x'", "x'00'", "1e99", "5.5"])
def test_what_only_sqlite_lets_in_is_found(damaged, database, stores, value):
    if database != "sqlite":
        pytest.skip("it has types")
    assert damaged(f"UPDATE audit_heads SET number = {value} WHERE node = 'host/1'")
    assert damaged(f"UPDATE audit SET actor = {value} WHERE {OF} = 2")
    assert damaged(f"UPDATE audit SET details = {value} WHERE {OF} = 3")
    assert all(one.line() for one in stores[0].audit_records())


def test_a_number_that_is_none_does_not_stop_the_reading(damaged, database, stores, monkeypatch):
    """It is the last one of a page: what follows it has to come next, and not the same page."""
    if database != "sqlite":
        pytest.skip("it has types")
    monkeypatch.setattr("scepkit.store.database.PAGE", 2)
    found = damaged(planted("host/1", 1.5))
    assert found == [("host/1", 0, "reordered")]
    assert len(chain(stores[0], "host/1")) == 6


# --- exports --------------------------------------------------------------------------------------


def check(records):
    lines = [one.line() for one in records]
    found = AuditCheck().export(lambda: map(AuditRecord.of_line, lines))
    return [(one.node, one.number, one.kind) for one in found]


def test_an_export_is_checked_alone(damaged, stores):
    records = [*export(stores[0], since={}, heads_only=False)]
    assert len(records) == 6
    assert check(records) == []
    assert check([one for one in records if one.number != 2]) == [("host/1", 2, "missing")]
    assert check([records[1], records[0], *records[2:]])[0] == ("host/1", 1, "reordered")
    changed = AuditRecord({**records[1].members, "actor": "mallory"}, records[1].hash)
    assert check([records[0], changed, *records[2:]]) == [("host/1", 2, "changed")]
    cut = [one for one in records if one.node != "host/1" or one.number < 3]
    assert check(cut) == [("host/1", 3, "truncated")]


def test_an_export_may_begin_anywhere(damaged, stores):
    since = {"host/1": 2}
    records = [*export(stores[0], since=since, heads_only=False)]
    assert (records[0].node, records[0].number) == ("host/1", 3)
    assert check(records) == []
    assert list(AuditCheck().against(stores[0], records)) == []


def test_a_database_is_held_to_an_export(damaged, stores, sql):
    records = [*export(stores[0], since={}, heads_only=False)]
    assert list(AuditCheck().against(stores[0], records)) == []
    forged = AuditRecord(records[3].members, "00" * 32)
    found = [*AuditCheck().against(stores[0], [*records[:3], forged])]
    assert [(one.node, one.number, one.kind) for one in found] == [("host/1", 4, "changed")]
    sql(f"DELETE FROM audit WHERE {OF} = 2")
    found = [*(one := AuditCheck()).database(stores[0]), *one.against(stores[0], records)]
    assert [(one.node, one.number, one.kind) for one in found] == [("host/1", 2, "missing")] * 2


@pytest.mark.parametrize(
    ("node", "number"), [("host/1", 10**30), ("host/1", -1), ("host/\udcff", 1), ("host/\0", 1)]
)
def test_what_no_database_can_have_is_not_there(stores, node, number):
    note(stores[0])
    exported = AuditRecord({"node": node, "number": number}, "00" * 32)
    found = [*AuditCheck().against(stores[0], [exported])]
    assert [(one.node, one.number) for one in found] == [(node, number)]


def test_records_are_found_by_what_they_tell_of(store):
    issued = [make_issuance(now=NOW + timedelta(minutes=n)) for n in range(5)]
    for one in issued:
        store.record(one).result()
    store.revoke(issued[2].serial, reason=1, by="alice", now=NOW)

    def numbers(**wanted):
        return [one.number for one in store.audit_records(**wanted)]

    assert numbers() == [5, 4, 3, 2, 6, 1]
    assert numbers(limit=2) == [5, 4]
    (_, second) = store.audit_records(limit=2)
    assert numbers(after=second, limit=2) == [3, 2]
    assert numbers(action="revoked") == numbers(actor="alice") == [6]
    assert numbers(transaction_id=issued[3].transaction_id.decode()) == [4]
    assert numbers(serial=chain(store)[2].members["serial"]) == [3, 6]
    assert numbers(since=NOW + timedelta(minutes=3)) == [5, 4]
    assert numbers(until=NOW + timedelta(minutes=1)) == [6, 1]
    assert numbers(endpoint="other") == numbers(node="host/1") == []
