"""Group commit: many share one commit, none is answered before it, and one cannot harm another."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from sqlalchemy import event

from scepkit.errors import StoreError
from scepkit.store import ChallengeSpent, Recorded, Store, prepared
from scepkit.store.committing import group_commit
from scepkit.store.requests import issuances as recording
from waiting import PATIENCE


def test_what_waits_shares_one_commit(store, issuance, hold):
    commits = []
    event.listen(store._engine, "commit", commits.append)
    with hold():  # the writer stands at BEGIN, with the first one or more in its hands
        futures = [store.record(issuance()) for _ in range(40)]
    assert all(isinstance(future.result(), Recorded) for future in futures)
    assert 1 <= len(commits) <= 2


@pytest.fixture
def batches(monkeypatch):
    """The sizes of what the writer takes at a time."""
    sizes = []
    real = group_commit.Writer._settle
    monkeypatch.setattr(
        group_commit.Writer,
        "_settle",
        lambda self, batch: sizes.append(len(batch)) or real(self, batch),
    )
    return sizes


def test_a_commit_waits_until_no_more_are_to_come_than_wait(
    store, issuance, batches, *, monkeypatch
):
    looked = threading.Event()
    real = group_commit.Writer._is_due

    def is_due(self):
        due = real(self)
        if threading.current_thread() is self._thread:
            looked.set()
        return due

    monkeypatch.setattr(group_commit.Writer, "_is_due", is_due)
    monkeypatch.setattr(group_commit, "GATHER_SECONDS", 2.0 * PATIENCE)
    for _ in range(5):
        store.begin_request()
    futures = []
    for _ in range(5):
        futures.append(store.record(issuance()))
        store.end_request()
        assert looked.wait(PATIENCE)  # from here on the writer could have gone without the others
    assert all(isinstance(future.result(PATIENCE), Recorded) for future in futures)
    # Two wait and three are to come: not yet. Three and two: now, with what arrives meanwhile.
    assert batches[0] >= 3
    assert sum(batches) == 5


def test_what_is_decided_without_an_entry_is_not_waited_for(store, issuance, monkeypatch):
    monkeypatch.setattr(group_commit, "GATHER_SECONDS", 2.0 * PATIENCE)
    for _ in range(3):
        store.begin_request()
    future = store.record(issuance())
    store.end_request()  # two are still to come
    store.end_request()  # now one is, so that there is no more to wait for
    assert isinstance(future.result(PATIENCE), Recorded)


def test_who_does_not_come_is_waited_for_only_a_moment(store, issuance):
    for _ in range(3):
        store.begin_request()
    assert isinstance(store.record(issuance()).result(PATIENCE), Recorded)


@pytest.mark.parametrize(("coming", "moments"), [(0, 1), (1, 2), (3, 4), (100, 5)])
def test_another_moment_is_waited_where_one_has_come(coming, moments):
    """On a busy machine few come in one moment, and a commit for each costs it the most."""
    waited = []

    def wait_for(_is_due, seconds):
        if len(waited) < coming:
            writer._waiting.append("another one")
        waited.append(seconds)
        return False

    changed = SimpleNamespace(wait_for=wait_for)
    writer = SimpleNamespace(_waiting=["the first one"], _changed=changed, _is_due=None)
    group_commit.Writer._gather(writer)
    assert waited == [group_commit.GATHER_SECONDS] * moments


def test_nobody_is_waited_for_at_the_end(store, issuance, monkeypatch):
    monkeypatch.setattr(group_commit, "GATHER_SECONDS", 2.0 * PATIENCE)
    for _ in range(3):
        store.begin_request()
    future = store.record(issuance())
    store.close()
    assert isinstance(future.result(0), Recorded)


def test_a_batch_is_bounded(store, issuance, hold, batches, monkeypatch):
    monkeypatch.setattr(group_commit, "BATCH_LIMIT", 5)
    with hold():
        futures = [store.record(issuance()) for _ in range(23)]
    for future in futures:
        future.result()
    assert max(batches) == 5
    assert sum(batches) == 23


def test_a_future_is_resolved_only_after_its_commit(store, issuance, hold, counts):
    """The callbacks run as the futures resolve; another connection then sees all of the batch."""
    seen = []
    with hold():
        futures = [store.record(issuance()) for _ in range(10)]
        for future in futures:
            future.add_done_callback(lambda _: seen.append(counts()[0]))
    store.close()
    assert len(seen) == 10
    assert all(count >= number for number, count in enumerate(seen, start=1))
    assert seen[-1] == 10


def test_if_the_commit_fails_so_does_every_future_and_nothing_is_stored(
    store, issuance, put, hold, counts, *, monkeypatch
):
    challenge = put()

    def fail(_connection):
        raise store._engine.dialect.loaded_dbapi.OperationalError("disk I/O error")

    with hold():
        monkeypatch.setattr(store._engine.dialect, "do_commit", fail)
        futures = [store.record(issuance(challenge_id=challenge.id)) for _ in range(3)]
    errors = [future.exception() for future in futures]
    monkeypatch.undo()
    assert [str(error) for error in errors] == ["cannot store the certificate: disk I/O error"] * 3
    assert all(isinstance(error, StoreError) and error.hint for error in errors)
    assert counts() == (0, 0, 0, 0)
    assert isinstance(store.record(issuance(challenge_id=challenge.id)).result(), Recorded)


def test_a_value_that_cannot_be_stored_harms_nobody_else(store, issuance, hold, counts):
    with hold():
        good = [store.record(issuance())]
        bad = [store.record(issuance(csr=None)), store.record(issuance(message_type=2**70))]
        good += [store.record(issuance())]
    assert all(isinstance(future.result(), Recorded) for future in good)
    assert isinstance(bad[0].exception(), StoreError)
    assert isinstance(
        bad[1].exception(), OverflowError | StoreError
    )  # SQLite's driver | PostgreSQL
    assert counts() == (2, 2, 2, 0)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_error_in_the_middle_fails_the_whole_batch(
    store, issuance, put, hold, counts, monkeypatch
):
    """SQLite may have taken back the whole transaction (disk full), so nobody may be answered."""
    poison = issuance(challenge_id=put().id)
    real = recording.SPEND

    class Spend:
        def run(self, connection, *rows):
            done = real.run(connection, *rows)
            if f"{poison.serial:x}" in [row.serial for row in rows]:
                # As SQLite does by itself when the disk is full.
                connection.exec_driver_sql("ROLLBACK")
                connection.exec_driver_sql("SELECT no_such_column")
            return done

    monkeypatch.setattr(recording, "SPEND", Spend())
    with hold():
        # The first keeps the writer busy, so that the others are one batch.
        store.record(issuance())
        while store._writer._waiting:
            pass
        futures = [store.record(item) for item in (issuance(), poison, issuance())]
    assert all(isinstance(future.exception(), StoreError) for future in futures)
    assert counts() == (1, 1, 1, 0)


def test_a_cancelled_future_is_not_stored_and_the_writer_goes_on(store, issuance, hold, counts):
    with hold():
        first = store.record(issuance())
        while not first.running():
            pass
        assert not first.cancel()  # it is being written
        cancelled = [store.record(issuance()) for _ in range(3)]
        assert all(future.cancel() for future in cancelled)
        last = store.record(issuance())
    assert isinstance(first.result(), Recorded)
    assert isinstance(last.result(), Recorded)
    assert counts() == (2, 2, 2, 0)


def test_too_much_waiting_is_refused(store, issuance, hold, monkeypatch):
    monkeypatch.setattr(group_commit, "QUEUE_LIMIT", 3)
    with hold():
        first = store.record(issuance())
        while not first.running():
            pass
        futures = [first, *(store.record(issuance()) for _ in range(3))]
        with pytest.raises(StoreError, match="3 certificates wait") as caught:
            store.record(issuance())
    assert "503" in caught.value.hint
    assert all(isinstance(future.result(), Recorded) for future in futures)


def test_close_stores_what_waits_and_refuses_the_rest(store, issuance, hold, counts):
    with hold():
        futures = [store.record(issuance()) for _ in range(100)]
        closer = threading.Thread(target=store.close)
        closer.start()
    closer.join()
    assert all(future.done() and isinstance(future.result(), Recorded) for future in futures)
    assert counts()[0] == 100
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.record(issuance())
    with pytest.raises(StoreError, match="closed"):
        store.ping()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_lock_that_nobody_gives_back_is_a_store_error(url, issuance, hold):
    with Store.open(url, patience=0.001) as store:
        with hold():
            with pytest.raises(StoreError, match="locked") as caught:
                store.record(issuance()).result()
            with pytest.raises(StoreError, match="locked"):
                store.ping()
        assert "another program" in caught.value.hint
        store.ping()


def test_all_that_waits_is_over_with_one_wait_in_vain(url, issuance, hold, monkeypatch):
    """Each batch would else wait as long as the one before it, and so longer and longer."""
    waits, begun, queued = [], threading.Event(), threading.Event()
    real = group_commit._write

    def write(connection, entries, audit):
        waits.append(len(entries))
        begun.set()
        assert queued.wait(PATIENCE)
        return real(connection, entries, audit)

    monkeypatch.setattr(group_commit, "_write", write)
    Store.open(url).close()
    with Store.open(url, patience=0.01) as store:
        with hold():
            first = store.record(issuance())
            assert begun.wait(PATIENCE)
            behind = [store.record(issuance()) for _ in range(3)]
            queued.set()
            for future in (first, *behind):
                with pytest.raises(StoreError, match="lock") as caught:
                    future.result()
                assert "another program" in caught.value.hint
        assert waits == [1]
        assert isinstance(store.record(issuance()).result(), Recorded)


def test_an_asyncio_server_waits_without_a_thread(store, issuance):
    async def serve():
        futures = [asyncio.wrap_future(store.record(issuance())) for _ in range(5)]
        return await asyncio.gather(*futures)

    assert all(isinstance(answer, Recorded) for answer in asyncio.run(serve()))


def test_a_conflict_in_a_batch_is_the_conflict_of_one(store, issuance, put, hold):
    """A batch with one spent challenge in it issues all the others, each with its own answer."""
    challenge = put()
    store.record(issuance(challenge_id=challenge.id)).result()
    good, loser = [issuance(), issuance()], issuance(challenge_id=challenge.id)
    with hold():
        store.record(issuance())
        while store._writer._waiting:
            pass
        futures = [store.record(item) for item in (good[0], loser, good[1])]
    assert [type(future.result()) for future in futures] == [Recorded, ChallengeSpent, Recorded]
    assert store.certificate(loser.serial) is None
    assert all(store.certificate(item.serial) for item in good)


def test_a_batch_without_conflicts_takes_one_statement_a_table(
    store, issuance, put, hold, monkeypatch
):
    """Twenty issuances cost a handful of statements, not a hundred."""
    statements = []
    real = prepared._Form.execute

    def execute(form, driver, bound):
        statements.append(form.text)
        return real(form, driver, bound)

    monkeypatch.setattr(prepared._Form, "execute", execute)
    items = [issuance(challenge_id=put().id) for _ in range(20)]
    with hold():
        store.record(issuance())
        while store._writer._waiting:
            pass
        statements.clear()
        futures = [store.record(item) for item in items]
    assert all(isinstance(future.result(), Recorded) for future in futures)
    # Of two batches: up to four for the tables of each, and two for its audit records.
    assert 6 <= sum(text.startswith(("INSERT", "UPDATE")) for text in statements) <= 12


def test_a_promise_is_kept_after_its_commit(store, issuance, counts):
    """Whoever hands results on by other means than a future pays for none."""
    kept = threading.Event()

    class Promise:
        def set_running_or_notify_cancel(self):
            return True

        def set_result(self, answer):
            self.answer, self.stored = answer, counts()[0]
            kept.set()

    promise = Promise()
    assert store.record(issuance(), promise) is promise
    assert kept.wait(PATIENCE)
    assert isinstance(promise.answer, Recorded)
    assert promise.stored == 1


def test_a_promise_that_nobody_wants_is_not_written(store, issuance, counts):
    class Unwanted:
        def set_running_or_notify_cancel(self):
            return False

    store.record(issuance(), Unwanted())
    assert isinstance(store.record(issuance()).result(PATIENCE), Recorded)
    assert counts()[0] == 1


def test_nothing_is_taken_once_the_thread_has_ended(store, issuance, monkeypatch):
    """It would never be written, and whoever waits for it would wait for ever."""

    def end(*_):
        raise SystemExit

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(group_commit.Writer, "_settle", end)
    store.record(issuance())
    store._writer._thread.join(PATIENCE)
    with pytest.raises(StoreError, match="closed"):
        store.record(issuance())
