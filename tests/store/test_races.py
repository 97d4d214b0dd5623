"""Several at once, from threads, from stores and from processes: one certificate each time."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest

from scepkit.store import AlreadyAnswered, ChallengeSpent, Recorded, Store


def at_once(calls):
    """Run every call in a thread of its own, all let go together; the answers in order."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call().result()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.fixture(params=[1, 2], ids=["one store", "two stores"])
def stores(request, url):
    """Two stores on one file have two writers, as two processes have."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Store.open(url)) for _ in range(request.param)]
        yield [opened[n % request.param] for n in range(20)]


@pytest.mark.rfc("P-50")
def test_one_challenge_and_two_keys_in_threads(stores, store, issuance, put, counts):
    """Of two threads that spend one challenge at once, exactly one gets a certificate."""
    for number in range(1, 11):
        challenge = put()
        new = [issuance(challenge_id=challenge.id) for _ in range(2)]
        answers = at_once([lambda s=s, i=i: s.record(i) for s, i in zip(stores, new, strict=False)])
        assert {type(answer) for answer in answers} == {Recorded, ChallengeSpent}
        assert counts() == (number,) * 4


@pytest.mark.rfc("P-50")
def test_one_challenge_and_two_keys_in_processes(store, put, spawn, counts):
    """Of two processes that spend one challenge at once, exactly one gets a certificate."""
    challenges = [put().id for _ in range(10)]
    children = [spawn("spend", *challenges) for _ in range(2)]
    for _ in challenges:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = Counter(child.stdout.readline().strip() for child in children)
        assert answers == {"Recorded": 1, "ChallengeSpent": 1}
    assert counts() == (10, 10, 10, 10)


@pytest.mark.rfc("P-43")
def test_the_same_request_twenty_times_at_once(stores, store, issuance, put, counts):
    """One request sent twenty times at once gets one certificate and twenty equal answers."""
    first = issuance(challenge_id=put().id)
    same = {
        "transaction_id": first.transaction_id,
        "signer_key": first.signer_key,
        "fingerprint": first.fingerprint,
        "challenge_id": first.challenge_id,
    }
    calls = [lambda s=s: s.record(issuance(**same)) for s in stores]
    answers = at_once(calls)
    kinds = Counter(type(answer) for answer in answers)
    assert kinds == {Recorded: 1, AlreadyAnswered: 19}
    assert len({answer.outcome for answer in answers}) == 1
    assert counts() == (1, 1, 1, 1)


def test_processes_that_open_a_fresh_directory_at_once(spawn, sql):
    children = [spawn("open") for _ in range(4)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.stdout.readline() for child in children] == ["opened\n"] * 4
    assert sql("SELECT count(*) FROM alembic_version") == [(1,)]
