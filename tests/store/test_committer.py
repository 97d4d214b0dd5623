"""The committer: one process writes what several decide, and each hears of its own entries."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.errors import StoreError
from scepkit.server.reloading.channel import connected, listen
from scepkit.store import (
    AlreadyAnswered,
    CertificateKey,
    ChallengeSpent,
    Recorded,
    SameSubject,
    Store,
)
from scepkit.store.committing import committer, group_commit, remote_writer
from scepkit.store.committing.committer import Committer
from scepkit.store.committing.entry_channel import EntryChannel, packed, unpacked
from scepkit.store.committing.group_commit import Step, missing
from scepkit.store.requests.issuance_row import row_of
from stored import NOW, make_issuance, put_challenge
from waiting import PATIENCE, wait_until


@pytest.fixture
def place(tmp_path):
    """Return where the committer listens: further away than the name of a socket may be long."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    return directory / "committer"


@contextmanager
def committing(store, place):
    """Run a committer in a thread; yield the sizes of its commits."""
    sizes, real = [], store.commit

    def commit(entries):
        sizes.append(len(entries))
        return real(entries)

    store.commit = commit
    serving = Committer(listen(place), store)
    thread = threading.Thread(target=serving.serve)
    thread.start()
    try:
        yield sizes
    finally:
        serving.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        store.commit = real


@pytest.fixture
def sizes(store, place):
    with committing(store, place) as sizes:
        yield sizes


@pytest.fixture
def workers(url, sizes, place):
    """Return two stores whose entries the committer writes."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Store.open(url, committer=partial(connected, place)))
            for _ in range(2)
        ]


@pytest.fixture
def patient(monkeypatch):
    """Let a commit wait for what is to come, however long that takes."""
    for module in (group_commit, committer):
        monkeypatch.setattr(module, "GATHER_SECONDS", 2.0 * PATIENCE)


def test_entries_of_several_workers_share_a_commit(workers, sizes, counts, patient):
    for store in workers:
        for _ in range(3):
            store.begin_request()
    futures = []
    for store in workers:
        for _ in range(3):
            futures.append(store.record(make_issuance()))
            store.end_request()
    assert all(isinstance(one.result(PATIENCE), Recorded) for one in futures)
    assert counts()[0] == 6
    # Five of six are enough to begin with.
    assert sum(sizes) == 6
    assert len(sizes) <= 2


def test_each_worker_hears_of_its_own_entries(workers, store):
    first, second = (put_challenge(store).id for _ in range(2))
    taken = [make_issuance(challenge_id=first) for _ in range(2)]
    mine = workers[0].record(taken[0])
    assert isinstance(mine.result(PATIENCE), Recorded)
    late = workers[1].record(taken[1])
    free = workers[1].record(make_issuance(challenge_id=second))
    again = workers[0].record(taken[0])
    assert isinstance(late.result(PATIENCE), ChallengeSpent)
    assert isinstance(free.result(PATIENCE), Recorded)
    assert isinstance(again.result(PATIENCE), AlreadyAnswered)


def test_what_is_decided_without_an_entry_is_not_waited_for(workers, patient):
    for _ in range(3):
        workers[0].begin_request()
    future = workers[0].record(make_issuance())
    for _ in range(3):
        workers[0].end_request()
    assert isinstance(future.result(PATIENCE), Recorded)


def test_who_does_not_come_is_waited_for_only_a_moment(workers):
    for _ in range(5):
        workers[0].begin_request()
    assert isinstance(workers[1].record(make_issuance()).result(PATIENCE), Recorded)


def test_a_worker_that_is_gone_is_not_waited_for(workers, url, place, patient):
    leaving = Store.open(url, committer=partial(connected, place))
    for _ in range(5):
        leaving.begin_request()
    stored = leaving.record(make_issuance())
    leaving.close()
    assert isinstance(stored.result(0), Recorded)
    assert isinstance(workers[0].record(make_issuance()).result(PATIENCE), Recorded)


def test_what_fails_fails_for_all_of_a_commit(workers, sizes, store, monkeypatch):
    monkeypatch.setattr(group_commit, "_write", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    for one in workers:
        with pytest.raises(StoreError, match="cannot store the certificate: disk"):
            one.record(make_issuance()).result(PATIENCE)


def test_a_damaged_database_is_known_to_the_workers(workers, store, monkeypatch):
    error = StoreError("cannot use the database: database disk image is malformed")
    monkeypatch.setattr(store, "damage", lambda: error)
    workers[0].record(make_issuance()).result(PATIENCE)
    with pytest.raises(StoreError, match="malformed"):
        workers[0].ping()
    workers[1].ping()


def test_too_much_that_waits_is_refused(workers, monkeypatch, hold):
    monkeypatch.setattr(remote_writer, "QUEUE_LIMIT", 3)
    with hold():
        futures = [workers[0].record(make_issuance()) for _ in range(3)]
        with pytest.raises(StoreError, match="3 certificates wait to be stored already"):
            workers[0].record(make_issuance())
        other = workers[1].record(make_issuance())
    assert all(isinstance(one.result(PATIENCE), Recorded) for one in [*futures, other])


def test_a_future_that_is_cancelled_stores_nothing(workers, counts):
    future = Future()
    future.cancel()
    workers[0].record(make_issuance(), future)
    workers[0].record(make_issuance()).result(PATIENCE)
    assert counts()[0] == 1


def test_a_store_that_is_closed_takes_nothing(workers):
    workers[0].close()
    workers[0].close()
    with pytest.raises(StoreError, match="closed"):
        workers[0].record(make_issuance())
    with pytest.raises(StoreError, match="closed"):
        workers[0].ping()
    assert isinstance(workers[1].record(make_issuance()).result(PATIENCE), Recorded)


def test_without_a_committer_a_worker_does_not_start(place):
    with pytest.raises(StoreError, match="the process that commits is gone"):
        remote_writer.await_committer(partial(connected, place), seconds=0.1)


def test_a_committer_that_is_killed_is_replaced(spawn, store, url, place, hold, *, counts):
    """What it has not answered fails; what it has answered is stored; then all is as before."""
    first = spawn("commit", place)
    answered = make_issuance()
    remote_writer.await_committer(partial(connected, place))
    with Store.open(url, committer=partial(connected, place)) as worker:
        assert isinstance(worker.record(answered).result(PATIENCE), Recorded)
        with hold():
            lost = worker.record(make_issuance())
            first.kill()  # while it waits for the lock
            with pytest.raises(StoreError, match="the process that commits is gone"):
                lost.result(PATIENCE)
            # Its socket may outlive the connection for an instant.
            first.wait()
            wait_until(lambda: worker._writer._channel is None, "the end")
            with pytest.raises(StoreError, match="the process that commits is gone"):
                worker.ping()
        spawn("commit", place)
        wait_until(lambda: worker._writer._channel is not None, "the next one")
        assert isinstance(worker.record(make_issuance()).result(PATIENCE), Recorded)
        assert isinstance(worker.record(answered).result(PATIENCE), AlreadyAnswered)
        assert counts()[0] == 2


def test_who_reads_no_answers_holds_nobody_up(workers, store, place):
    """As a worker that was stopped: its answers are kept until it goes on."""
    dialect = store._engine.dialect.name
    stopped = connected(place)
    stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    count = 300
    with stopped:
        silent = EntryChannel(stopped)
        for number in range(count):
            silent.send((0, number + 1, packed(row_of(make_issuance(), dialect))))
        while silent.is_behind:
            silent.flush()
            time.sleep(0)
        for worker in workers:
            assert isinstance(worker.record(make_issuance()).result(PATIENCE), Recorded)
        told, end = [], time.monotonic() + PATIENCE
        while len(told) < count and time.monotonic() < end:
            for _, _, body in silent.receive():
                written, others, _ = pickle.loads(body)
                assert others == []
                told += written
        assert told == [*range(1, count + 1)]


def test_every_step_travels(store):
    """What is submitted to a writer is data alone, whatever step it is."""
    from scepkit.store.third_parties import intune_requests, signed_certificates

    kinds = {one for one in Step.__subclasses__() if one.__module__.startswith("scepkit.")}
    assert {one.__module__.rpartition(".")[2] for one in kinds} == {
        *("group_commit", "assents", "signed_certificates", "intune_requests", "refusals"),
    }
    steps = [
        group_commit.OneOfSubject(make_issuance(same_subject=SameSubject.REFUSED)),
        signed_certificates._Delivering("a", "b", NOW),
        intune_requests._Noting("a", {"b": NOW}),
    ]
    for step in steps:
        assert type(unpacked(packed(step))) is type(step)


def test_an_entry_that_depends_on_others_is_written_too(workers):
    first = make_issuance(same_subject=SameSubject.REFUSED)
    assert isinstance(workers[0].record(first).result(PATIENCE), Recorded)
    assert workers[1].certificate(CertificateKey(first.serial, first.issuer)) is not None


# --- what is due ----------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(0, 200))
def test_a_commit_waits_only_for_what_is_to_come(waiting, coming):
    wanted = missing(waiting, coming)
    assert 0 <= wanted <= coming
    assert missing(waiting, 0) == missing(group_commit.BATCH_LIMIT, coming) == 0
    # Whether one has come, or comes no more: so much less is waited for.
    if wanted:
        assert missing(waiting + 1, coming - 1) == wanted - 1
        assert missing(waiting, coming - 1) <= wanted
    # With what is missing it is enough.
    assert missing(waiting + wanted, coming - wanted) == 0


@pytest.mark.parametrize(
    ("waiting", "coming", "wanted"),
    [(1, 0, 0), (1, 1, 0), (1, 2, 1), (1, 3, 2), (2, 3, 2), (12, 4, 0), (20, 12, 5), (1, 500, 63)],
)
def test_four_in_five_are_waited_for(waiting, coming, wanted):
    assert missing(waiting, coming) == wanted


# --- the channel ----------------------------------------------------------------------------------

frames = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=300))


@given(st.lists(frames, max_size=8), st.data())
def test_frames_come_out_as_they_went_in_wherever_they_are_cut(sent, data):
    near, far = socket.socketpair()
    with near, far:
        whole, sender = bytearray(), EntryChannel(near)
        for frame in sent:
            sender.send(frame)
            whole += far.recv(4096)
        cut_near, cut_far = socket.socketpair()
        with cut_near, cut_far:
            receiver, received = EntryChannel(cut_far), []
            while whole:
                size = data.draw(st.integers(1, len(whole)))
                cut_near.sendall(whole[:size])
                del whole[:size]
                received += receiver.receive()
            assert received == sent
            assert receiver.receive() == []


def test_what_has_no_room_is_kept():
    near, far = socket.socketpair()
    with near, far:
        sender, receiver = EntryChannel(near), EntryChannel(far)
        sent = [(number, number, bytes(100_000)) for number in range(20)]
        for frame in sent:
            sender.send(frame)
        assert sender.is_behind
        received = []
        while len(received) < len(sent):
            received += receiver.receive()
            sender.flush()
        assert received == sent
        assert not sender.is_behind
        sender.end()
        with pytest.raises(ConnectionError):
            receiver.receive()
