"""The store is told what is being decided, and is told when that is over, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from scepkit.errors import Malformed, StoreError
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.store import Recorded, Status, StoredOutcome
from waiting import PATIENCE


class Expecting:
    """As much of a store as is told what comes."""

    def __init__(self):
        self.coming = 0
        self.gave_up = float("-inf")

    def check_patience(self, since):
        if self.gave_up > since:
            raise StoreError("the database is locked")

    def begin_request(self):
        self.coming += 1

    def end_request(self):
        self.coming -= 1


class Endpoint:
    """Decides as it is told to; notes how many were to come meanwhile."""

    def __init__(self, store, *, decided=None, recorded=None):
        self._store = store
        self._decided = decided
        self._recorded = recorded
        self.seen = []

    def decide(self, message, peer=""):
        self.seen.append(self._store.coming)
        if self._decided is not None:
            raise self._decided
        return message

    def record(self, decision, promise):
        self.seen.append(self._store.coming)
        if isinstance(self._recorded, Exception):
            raise self._recorded
        if self._recorded is None:
            return None
        promise.set_result(self._recorded)
        return promise


def decide(store, endpoint, messages):
    async def run(pool):
        all_are_there = threading.Event()
        pool.submit(all_are_there.wait)
        workers = WorkerPool(pool, store)
        tasks = [asyncio.create_task(workers.decide(one, endpoint)) for one in messages]
        await asyncio.sleep(0)  # each of them runs as far as it can without a thread
        all_are_there.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with ThreadPoolExecutor(1) as pool:
        return asyncio.run(run(pool))


@pytest.mark.parametrize("recorded", [None, Recorded(StoredOutcome(Status.ISSUED))])
def test_who_waits_for_a_thread_is_expected_until_what_it_stores_is_submitted(recorded):
    store = Expecting()
    endpoint = Endpoint(store, recorded=recorded)
    assert decide(store, endpoint, [b"1", b"2", b"3"]) == [b"1", b"2", b"3"]
    assert endpoint.seen == [3, 3, 2, 2, 1, 1]
    assert store.coming == 0


@pytest.mark.parametrize(
    "how", [{"decided": Malformed("no message")}, {"recorded": StoreError("closed")}]
)
def test_who_fails_is_not_expected_any_more(how):
    store = Expecting()
    (error,) = decide(store, Endpoint(store, **how), [b"1"])
    assert error in how.values()
    assert store.coming == 0


def test_a_second_event_loop_is_refused():
    """The first one would hear of the result, and whoever waits on the second would hang."""
    store = Expecting()
    with ThreadPoolExecutor(1) as pool:
        workers = WorkerPool(pool, store)
        assert asyncio.run(workers.decide(b"1", Endpoint(store))) == b"1"
        with pytest.raises(RuntimeError, match="one event loop"):
            asyncio.run(asyncio.wait_for(workers.decide(b"2", Endpoint(store)), PATIENCE))
    assert store.coming == 0


def test_who_waited_behind_a_wait_in_vain_is_not_decided():
    """Each would wait for the lock as long as the one before it."""

    class Locked(Expecting):
        def begin_request(self):
            # The lock was waited for in vain after this was asked for, and before its turn.
            super().begin_request()
            self.gave_up = float("inf")

    store = Locked()
    endpoint = Endpoint(store)
    (error,) = decide(store, endpoint, [b"1"])
    assert isinstance(error, StoreError)
    assert endpoint.seen == []
    assert store.coming == 0


def test_what_was_refused_is_let_go_of_at_once():
    """A large message does not wait for the collector, which comes seldom."""

    class Message:
        pass

    class Refusing:
        def decide(self, message, peer=""):
            raise Malformed("no message")

    async def run():
        with ThreadPoolExecutor(1) as pool:
            message = Message()
            kept = weakref.ref(message)
            with contextlib.suppress(Malformed):
                await WorkerPool(pool, Expecting()).decide(message, Refusing())
            del message
            # The thread may have it in its hands still.
            await asyncio.to_thread(pool.shutdown)
            return kept

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run())() is None
    finally:
        gc.enable()
