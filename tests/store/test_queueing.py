"""How many requests may wait, for one address and for one endpoint, over all that write."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta

import pytest
from alembic import command

from scepkit.store import AlreadyAnswered, QueueFull, Recorded, Store, schema
from scepkit.store.connections import ConnectionPool, transaction
from scepkit.store.engine import connect
from store.test_races import at_once
from stored import NOW, make_grant

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def wait(store, queued):
    """Queue a request of an address, two of which may wait."""

    def wait(peer=HERE, **changes):
        changes = {"most_of_peer": 2, **changes}
        return store.queue(queued(peer=peer, **changes)).result()

    return wait


def test_the_address_is_kept(store, queued, issuance):
    """Of requests that are granted at once, too; None where nobody knows it."""
    store.queue(queued(peer="2001:db8::/64")).result()
    store.queue(queued()).result()
    store.record(issuance(peer=HERE)).result()
    assert [row.peer for row in store.requests(status=None)] == ["2001:db8::/64", None, HERE]


def test_so_many_of_one_address_wait(wait):
    """One more is not written, and says that it is the address; others are not held up."""
    assert [type(wait()) for _ in range(2)] == [Recorded, Recorded]
    assert wait() == QueueFull(of_peer=True)
    assert isinstance(wait(THERE), Recorded)


def test_so_many_wait_in_all(wait):
    """Whatever their addresses are, known or not."""
    assert isinstance(wait(HERE, most=2), Recorded)
    assert isinstance(wait("", most=2), Recorded)
    assert wait(THERE, most=2) == QueueFull(of_peer=False)


def test_what_is_full_leaves_nothing_behind(wait, counts):
    wait(most=1)
    before = counts()
    wait(most=1)
    assert counts() == before


def test_no_bound_counts_nobody(wait):
    answers = [wait(most_of_peer=None) for _ in range(5)]
    assert {type(one) for one in answers} == {Recorded}


def test_an_unknown_address_is_nobodys(wait):
    """Whoever gives no addresses gets the bound of all alone."""
    assert {type(wait("")) for _ in range(5)} == {Recorded}


def test_each_endpoint_counts_for_itself(wait):
    for _ in range(2):
        wait(most=2)
    assert isinstance(wait(endpoint="vpn", most=2), Recorded)


def test_the_same_request_again_is_not_counted(wait, store, queued):
    """It goes on being answered as what waits, though the queue is full."""
    first = queued(peer=HERE, most_of_peer=1, most=1)
    store.queue(first).result()
    for _ in range(3):
        again = store.queue(first).result()
        assert isinstance(again, AlreadyAnswered)
        assert again.outcome.status == "pending"
    assert isinstance(wait(), Recorded)


@pytest.mark.parametrize("end", ["approve", "reject", "expire"])
def test_what_no_longer_waits_leaves_its_place(wait, store, end):
    """An operator has decided, or its time is over though nobody has written so yet."""
    waiting = [wait(most=2).outcome.request_id for _ in range(2)]
    now = NOW
    if end == "approve":
        store.approve(waiting[0], make_grant(store.request(waiting[0])), by="alice")
    elif end == "reject":
        store.reject(waiting[0], fail_info=2, reason="no", by="alice", now=NOW)
    else:
        now += timedelta(days=8)
    assert isinstance(wait(most=2, now=now, expires_at=now + timedelta(days=7)), Recorded)


def test_a_batch_is_counted_one_by_one(store, queued, issuance, hold):
    """Of several in one transaction the first ones wait, and what else is in it is written."""
    with hold():
        pending = [store.queue(queued(peer=HERE, most_of_peer=3)) for _ in range(6)]
        certificate = store.record(issuance())
    kinds = Counter(type(one.result()) for one in pending)
    assert kinds == {Recorded: 3, QueueFull: 3}
    assert isinstance(certificate.result(), Recorded)


@pytest.mark.parametrize("bound", ["most_of_peer", "most"])
def test_nobody_passes_the_bound_in_threads(url, queued, bound):
    """Four stores have four writers, as four processes have; exactly as many wait as may."""
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(url)) for _ in range(4)]
        for attempt in range(5):
            new = [
                queued(peer=f"192.0.2.{attempt}", endpoint=f"e{attempt}", **{bound: 3})
                for _ in range(12)
            ]
            answers = at_once([lambda s=stores[n % 4], q=q: s.queue(q) for n, q in enumerate(new)])
            assert Counter(map(type, answers)) == {Recorded: 3, QueueFull: 9}


def test_nobody_passes_the_bound_in_processes(store, spawn):
    """Two processes that queue at once share the bound."""
    children = [spawn("queue", 6, 5) for _ in range(2)]
    answers = Counter()
    for _ in range(6):
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers.update(child.stdout.readline().strip() for child in children)
    assert answers == {"Recorded": 5, "QueueFull": 7}


def test_what_waited_before_there_were_bounds_is_counted(url, database, sql, queued):
    """A database of revision 0003 has no queues yet."""
    engine = connect(url)
    kept = ConnectionPool(engine, writing=True)
    with kept.connection() as connection, transaction(connection):
        command.upgrade(schema.alembic_config(connection), "0003")
    kept.close()
    engine.dispose()
    digest = {"sqlite": "X'{}'", "postgresql": "'\\x{}'"}[database].format("aa" * 32)
    time = f"'{NOW:%Y-%m-%d %H:%M:%S.%f}{'+00' if database == 'postgresql' else ''}'"
    sql(f"INSERT INTO transactions VALUES (1, 'main', {digest}, {digest})")
    sql(
        "INSERT INTO requests (id, transaction_row, fingerprint, message_type, csr, status,"
        f" created_at) VALUES (1, 1, {digest}, 19, {digest}, 'pending', {time})"
    )
    with Store.open(url) as store:
        assert store.request(1).peer is None
        # PostgreSQL does not know of the number that was given by hand.
        other = {"transaction_id": b"\xaa" * 32, "signer_key": b"\xaa" * 32}
        assert store.queue(queued(most=1, **other)).result() == QueueFull(of_peer=False)
