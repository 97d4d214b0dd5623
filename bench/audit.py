"""What does the audit record cost? The CPU of an enrolment with it, and without.

    python bench/audit.py
    python bench/audit.py --rounds 40 --together 16

One process, two endpoints on two SQLite databases that differ in nothing else; they take turns, so
that whatever disturbs one disturbs the other. Each round is some enrolments, sent by as many
threads as share a commit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from enrolments import devices, make, minted

from scepkit.protocol.certificate import Certificate
from scepkit.server.directory import data_directory
from scepkit.server.directory.data_directory import challenges_of
from scepkit.server.directory.database import open_store
from scepkit.server.endpoints.assembly import assemble

EACH = 64  # enrolments in a turn


def main() -> None:
    """Take turns, and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--together", type=int, default=8, help="enrolments that share a commit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        servers = {
            on: _Server(Path(directory) / str(on), options.rounds + 1, audit=on)
            for on in (True, False)
        }
        spent: dict[bool, list[float]] = {True: [], False: []}
        with ThreadPoolExecutor(options.together) as pool:
            for number in range(options.rounds + 1):
                for on in (True, False) if number % 2 else (False, True):
                    seconds = servers[on].turn(pool)
                    if number:  # the first one warms up
                        spent[on].append(seconds / EACH * 1e3)
        on, off = (_undisturbed(spent[on]) for on in (True, False))
        print(f"with    {on:.3f} ms of CPU an enrolment")
        print(f"without {off:.3f} ms")
        print(f"ratio   {on / off:.3f}")


def _undisturbed(values: Sequence[float]) -> float:
    """Return the mean of the lower half: what else the machine does only adds."""
    return statistics.mean(sorted(values)[: max(1, len(values) // 2)])


class _Server:
    """A server without its HTTP, and the requests that it will get."""

    def __init__(self, directory: Path, rounds: int, *, audit: bool) -> None:
        now = datetime.now(UTC)
        home = data_directory.prepare(directory, now=now, layout="single", audit=audit)
        self._store = open_store(home.settings, "1")
        self._service = assemble(home, self._store)["default"].scep
        secrets = minted(challenges_of(home, self._store), rounds * EACH, now=now)
        recipient = home.material.ra.certificate
        self._requests = iter([*make(devices(4), secrets, Certificate.of(recipient))])

    def turn(self, pool: ThreadPoolExecutor) -> float:
        """Enrol; return the seconds of CPU."""
        several = [next(self._requests) for _ in range(EACH)]
        begun = time.process_time()
        for _ in pool.map(self._enrol, several):
            pass
        return time.process_time() - begun

    def _enrol(self, message: bytes) -> None:
        self._store.begin_request()
        decision = self._service.decide(message, "192.0.2.7")
        recorded = self._service.record(decision)
        self._store.end_request()
        if recorded is None:
            raise AssertionError("an enrolment was refused")
        self._service.conclude(decision, recorded.result())


if __name__ == "__main__":
    main()
