"""Results of other threads reach the event loop, in order, with few wake-ups."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing

from scepkit.server.web.worker_pool import Handover, Promised
from scepkit.store import Recorded, Store
from stored import make_issuance
from waiting import PATIENCE


def test_many_results_share_a_wake_up():
    wake_ups = []

    async def session():
        loop = asyncio.get_running_loop()
        handover, steps = Handover(loop), [loop.create_future() for _ in range(100)]
        got = []
        for step in steps:
            step.add_done_callback(lambda step: got.append(step.result()))
        real = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *call: wake_ups.append(call) or real(*call)

        def work():
            for number, step in enumerate(steps):
                handover.put(step, number)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()  # the loop stands still meanwhile
        loop.call_soon_threadsafe = real
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return got

    assert asyncio.run(session()) == list(range(100))
    assert len(wake_ups) == 1


def test_none_is_lost():
    """Threads hand over while the loop fetches."""

    async def session():
        loop = asyncio.get_running_loop()
        handover, steps = Handover(loop), [loop.create_future() for _ in range(4000)]

        def work(mine):
            for step in mine:
                handover.put(step, None)

        for at in range(4):
            threading.Thread(target=work, args=[steps[at::4]]).start()
        await asyncio.wait_for(asyncio.gather(*steps), PATIENCE)

    asyncio.run(session())


def test_a_result_of_the_loop_needs_no_wake_up():
    async def session():
        loop = asyncio.get_running_loop()
        handover, step = Handover(loop), loop.create_future()
        handover.put(step, 1)
        assert step.done()
        cancelled = loop.create_future()
        cancelled.cancel()
        handover.put(cancelled, 2)  # nobody waits for it: the server stops
        return await step

    assert asyncio.run(session()) == 1


def test_a_result_for_a_loop_that_is_closed_is_dropped(tmp_path):
    """The store's thread gives it, and has to write for others still."""
    loop = asyncio.new_event_loop()
    promise = Promised(Handover(loop))
    with closing(Store.open(f"sqlite:///{tmp_path}/scep.db")) as store:
        loop.close()
        store.record(make_issuance(), promise)
        assert isinstance(store.record(make_issuance()).result(PATIENCE), Recorded)
