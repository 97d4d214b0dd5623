"""What do requests that wait cost the others? Enrolments beside 500 waiting ones, and alone.

    python bench/waiting_step.py
    python bench/waiting_step.py --waiting 2000 --rounds 20

One process, one event loop, one database. At one endpoint a referee never answers; the other one
has none. With and without requests that wait at the first, some enrolments at the second take
turns, so that whatever disturbs one disturbs the other.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from enrolments import devices, make, minted

from scepkit.enrolment.third_parties import Question, ThirdParties, Verdict
from scepkit.protocol.certificate import Certificate
from scepkit.server import data_directory
from scepkit.server.app import cores
from scepkit.server.assembly import assemble
from scepkit.server.data_directory import challenges_of, open_store
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.server.web.waiting_room import WaitingRoom
from scepkit.server.web.worker_pool import WorkerPool
from scepkit.services.scep_decision import Waiting

EACH = 64  # enrolments in a turn
TOGETHER = 8


class Silent:
    """A referee that never answers."""

    name = "silent"

    async def judge(self, question: Question) -> Verdict:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError(question)


class Server:
    """A server without its HTTP, and the requests that it will get."""

    def __init__(self, directory: Path, turns: int, waiting: int) -> None:
        now = datetime.now(UTC)
        endpoints = {"default": EndpointSettings(), "silent": EndpointSettings()}
        home = data_directory.prepare(directory, now=now, layout="single", endpoint=endpoints)
        store = open_store(home.settings, "1")
        parties = {"silent": ThirdParties(referee=Silent())}
        served = assemble(home, store, third_parties=parties)
        self.ordinary, self.silent = served["default"].scep, served["silent"].scep
        recipient = Certificate.of(home.material.ra.certificate)
        secrets = {}
        for name, count in (("default", turns * EACH), ("silent", waiting)):
            secrets[name] = minted(challenges_of(home, store, name), count, now=now)
        self.requests = iter([*make(devices(4), secrets["default"], recipient)])
        self.waiting = [*make(devices(4), secrets["silent"], recipient)]
        threads = ThreadPoolExecutor(cores())
        self.workers = WorkerPool(threads, store)
        self.room = WaitingRoom(self.workers, ThreadPoolExecutor(2), most=waiting, seconds=3600)
        self.silent_count = 0

    async def turn(self, *, beside: bool) -> float:
        """Enrol; return the seconds of an enrolment."""
        tasks = [asyncio.create_task(self._wait(one)) for one in self.waiting] if beside else []
        while self.silent_count < len(tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        several = [next(self.requests) for _ in range(EACH)]
        begun = time.perf_counter()
        await asyncio.gather(*(self._enrol(several[at::TOGETHER]) for at in range(TOGETHER)))
        seconds = (time.perf_counter() - begun) / EACH
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.silent_count = 0
        return seconds

    async def _wait(self, message: bytes) -> None:
        step = await self.workers.decide(message, self.silent)
        if not isinstance(step, Waiting):
            raise AssertionError("a request did not wait")  # noqa: TRY004
        self.silent_count += 1
        await self.room.decide(step, self.silent, asyncio.Event().wait)

    async def _enrol(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            step = await self.workers.decide(message, self.ordinary)
            if isinstance(step, Waiting) or step.serial is None:
                raise AssertionError("an enrolment was refused")


async def compare(server: Server, rounds: int) -> tuple[float, float]:
    """Return the median seconds of an enrolment beside those that wait, and alone."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for beside in (True, False) if number % 2 else (False, True):
            seconds = await server.turn(beside=beside)
            if number:  # the first one warms up
                spent[beside].append(seconds)
    return statistics.median(spent[True]), statistics.median(spent[False])


def main() -> None:
    """Take turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--waiting", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "data", 2 * (options.rounds + 1), options.waiting)
        beside, alone = asyncio.run(compare(server, options.rounds))
    print(f"beside {options.waiting} that wait  {beside * 1e3:.3f} ms an enrolment")
    print(f"alone {alone * 1e3:.3f} ms")
    print(f"ratio {beside / alone:.3f}")


if __name__ == "__main__":
    main()
