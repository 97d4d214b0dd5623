"""Where requests are worked on: the rule, and taking turns on the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from types import SimpleNamespace

import pytest
import uvloop

from enrolment import devices
from scepkit.server.web import executors
from scepkit.server.web.executors import Turns
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.services.scep import SCEPService
from server import socketless
from server.test_app import post, recipient
from server.test_deciding import Expecting

SQLITE = "sqlite:///scep.db"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run(main):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main())

    return run


@pytest.mark.parametrize(
    ("cores", "workers", "database", "on_the_loop"),
    [
        (1, 1, SQLITE, True),
        (2, 2, SQLITE, True),
        (2, 4, SQLITE, True),
        (2, 1, SQLITE, False),
        (3, 2, SQLITE, False),
        (2, 2, "postgresql+psycopg://host/scep", False),
    ],
)
def test_the_rule(monkeypatch, cores, workers, database, on_the_loop):
    """On the event loop where each core has a process, and no look-up waits for a network."""
    monkeypatch.setattr(executors, "cores", lambda: cores)
    settings = SimpleNamespace(workers=workers, database_url=database)
    assert executors.is_done_on_the_loop(settings) is on_the_loop
    chosen = executors.executors(settings)
    assert all(isinstance(one, Turns) is on_the_loop for one in chosen)
    for one in chosen:
        one.shutdown()


def test_the_network_is_looked_at_between_two(run):
    """What arrives is taken after the work that is being done, and not after all that waits."""

    async def main():
        loop, order, over = asyncio.get_running_loop(), [], asyncio.Event()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def arrived():
            loop.remove_reader(ours)
            order.append("arrived")

        loop.add_reader(ours, arrived)
        turns = Turns()
        turns.submit(theirs.send, b"x")
        for number in range(20):
            turns.submit(order.append, number)
        turns.submit(over.set)
        await over.wait()
        ours.close()
        theirs.close()
        return order

    order = run(main)
    assert [one for one in order if one != "arrived"] == list(range(20))
    assert order.index("arrived") < 3


def test_two_take_turns(run):
    """OCSP waits for one enrolment, and not for all that wait."""

    async def main():
        order, over = [], asyncio.Event()
        one, other = Turns(), Turns()
        for number in range(20):
            one.submit(order.append, number)
        other.submit(order.append, "other")
        one.submit(over.set)
        await over.wait()
        return order

    assert run(main).index("other") < 3


def test_work_that_submits_more(run):
    """It comes once, and after what has waited longer."""

    async def main():
        order, over, turns = [], asyncio.Event(), Turns()

        def first():
            order.append(1)
            turns.submit(order.append, 3)
            turns.submit(over.set)

        turns.submit(first)
        turns.submit(order.append, 2)
        await over.wait()
        return order

    assert run(main) == [1, 2, 3]


def test_a_failure_is_raised_where_it_is_awaited(run):
    async def main():
        workers = WorkerPool(Turns(), Expecting())
        one = asyncio.ensure_future(workers.run(lambda: 1 // 0))
        other = asyncio.ensure_future(workers.run(threading.get_ident))
        with pytest.raises(ZeroDivisionError):
            await one
        assert await other == threading.get_ident()

    run(main)


@pytest.mark.parametrize("takes_long", [False, True])
def test_what_takes_long_is_done_beside_the_loop(app, challenges, monkeypatch, takes_long):
    monkeypatch.setattr(executors, "cores", lambda: 1)
    application, path = app()
    endpoints = application.in_force.endpoints
    endpoints.served = {
        name: dataclasses.replace(one, takes_long=takes_long)
        for name, one in endpoints.served.items()
    }
    decide, threads = SCEPService.decide, []

    def noting(*arguments):
        threads.append(threading.get_ident())
        return decide(*arguments)

    monkeypatch.setattr(SCEPService, "decide", noting)
    (secret,) = challenges(path)
    message = devices.pkcs_req(secret, to=recipient(path))

    async def session():
        async with socketless.lifespan(application):
            return await socketless.ask(application, **post(message))

    answer = asyncio.run(session())
    assert devices.read(answer.body, recipient(path)).certificate
    assert (threads != [threading.get_ident()]) is takes_long
