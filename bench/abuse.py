"""What a stranger can make the server hold, and what an honest fleet gets meanwhile.

    make bench-abuse                    every kind of abuse, one at a time
    python bench/abuse.py silent garbage --seconds 5 --rest 10 --workers 2 --json FILE

For each kind a fresh server is started. An honest fleet enrols at an even rate, on connections of
its own from 127.0.0.1: for half of `--seconds` alone, for `--seconds` beside the hostile clients
(hostile.py, from 127.0.0.2 on), for half of `--seconds` alone again. Then everything rests.
Memory is the sum of the resident sets of the server's processes, descriptors theirs together.
Server, fleet and hostile clients share the machine's cores. All of it is on loopback.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import crl
import enrolments
import fleet
import load
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from servers import announced_port, process
from watching import MIB, Watch

from hostile import KINDS
from scepkit.ca.extensions import CRL_PATH, ca_id
from scepkit.protocol.certificate import Certificate
from scepkit.server.directory import data_directory as directory
from scepkit.server.web.executors import cores
from scepkit.store import Store

HERE = Path(__file__).parent
# Entries of the CRL that is asked for and never read: about a MiB.
REVOKED = 20_000
# What the server may take before the hostile clients are stopped, for the machine's sake.
TOO_MUCH = 2048 * MIB
console = Console(stderr=True)


@dataclass(frozen=True)
class Phase:
    """What an honest fleet got for some seconds.

    Attributes:
        granted: enrolments a second.
        p99: milliseconds of an enrolment, its connection included; None if none was granted.
        capabilities: the same of a GetCACaps.
        failed: how many failed, by what happened.
    """

    granted: float
    p99: float | None
    capabilities: float | None
    failed: dict[str, int]


@dataclass(frozen=True)
class Measured:
    """What one kind of abuse did; memory (in MiB) before, at the peak and after the rest."""

    kind: str
    memory: tuple[float, float, float]
    descriptors: tuple[int, int, int]
    calm: Phase
    abused: Phase
    after: Phase
    hostile: dict[str, int]
    answers: dict[str, int]
    hostile_cpu: float
    server_cpu: float
    seconds: float
    note: str


@dataclass(frozen=True)
class Prepared:
    """A data directory to copy, and requests for it."""

    home: Path
    requests: Path
    crl: str


def prepare(scratch: Path, count: int) -> Prepared:
    """Make a CA with revoked certificates, and requests with a challenge each."""
    now = datetime.now(UTC)
    home = directory.prepare(scratch / "home", now=now, port=0)
    with Store.open(home.settings.database_url) as store:
        crl.fill(store, home.material.ca, REVOKED)
        challenges = enrolments.minted(
            directory.challenges_of(home, store), count, now=now, lifetime=timedelta(hours=12)
        )
    recipient = Certificate.of(home.material.ra.certificate)
    file = scratch / "requests"
    load.write(file, enrolments.make(enrolments.devices(), challenges, recipient))
    path = CRL_PATH.format(ca_id(home.material.ca.key_hash))
    return Prepared(scratch / "home", file, path)


def measure(kind: str, prepared: Prepared, options: argparse.Namespace, scratch: Path) -> Measured:
    """Measure one kind of abuse against a server of its own."""
    home = scratch / kind
    shutil.copytree(prepared.home, home)
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(home), "--port", "0"]
    command += ["--workers", str(options.workers)]
    file = scratch / f"{kind}.log"
    with file.open("wb") as log, process(command, log) as server:
        port = announced_port(server, file)
        with Watch(server.pid) as watch:
            _settle(port, watch)
            return _watched(kind, port, watch, prepared, options)


def _settle(port: int, watch: Watch) -> None:
    """Wait until the server answers and its memory stands still: all its workers have started."""
    fleet.ask(port)
    seen = 0
    while (now := watch.now().memory) > seen * 1.01:
        seen = now
        time.sleep(1)


def _watched(
    kind: str, port: int, watch: Watch, prepared: Prepared, options: argparse.Namespace
) -> Measured:
    console.log(f"{kind}: the fleet alone")
    honest = [sys.executable, str(HERE / "fleet.py"), str(port), str(options.rate)]
    honest += [str(options.connections), str(prepared.requests)]
    with subprocess.Popen(honest, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as devices:
        time.sleep(options.seconds / 2)
        before = watch.now()
        console.log(f"{kind}: beside {KINDS[kind].connections} hostile connections")
        started, used = time.monotonic(), watch.cpu()
        said, note = _abuse(kind, port, watch, prepared.crl, options)
        ended, used = time.monotonic(), watch.cpu() - used
        time.sleep(options.seconds / 2)
        over = time.monotonic()
        output, _ = devices.communicate()
    console.log(f"{kind}: {options.rest:g} seconds of rest")
    time.sleep(options.rest)
    after, peak = watch.now(), watch.peak(since=started)
    results = json.loads(output)
    answers = said.pop("answers")
    return Measured(
        kind=kind,
        memory=(before.memory / MIB, peak.memory / MIB, after.memory / MIB),
        descriptors=(before.descriptors, peak.descriptors, after.descriptors),
        calm=phase(results, min((one[1] for one in results), default=0.0), started),
        abused=phase(results, started, ended),
        after=phase(results, ended, over),
        hostile_cpu=said.pop("cpu"),
        hostile=said,
        answers=answers,
        server_cpu=used,
        seconds=ended - started,
        note=note if after.memory else "the server is gone",
    )


def _abuse(
    kind: str, port: int, watch: Watch, crl_path: str, options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """Let hostile clients at the server; return what they report, and why they were stopped."""
    command = [sys.executable, str(HERE / "hostile.py"), kind, str(port), str(options.seconds)]
    command += [str(options.addresses), crl_path]
    note = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hostile:
        started = time.monotonic()
        while hostile.poll() is None:
            if not note and watch.now().memory > TOO_MUCH:
                note = f"stopped at {TOO_MUCH // MIB} MiB after {time.monotonic() - started:.0f} s"
                console.log(f"{kind}: {note}")
                hostile.terminate()
            time.sleep(0.05)
        output, _ = hostile.communicate()
    return json.loads(output), note


def phase(results: list[tuple[str, float, float, str]], start: float, end: float) -> Phase:
    """Return what was granted from start to end, and how those did that began there."""

    def p99(kind: str) -> float | None:
        good = sorted(ms for what, at, ms, how in begun if what == kind and how == "SUCCESS")
        return good[len(good) * 99 // 100] if good else None

    begun = [one for one in results if start <= one[1] < end]
    granted = [
        at
        for what, at, ms, how in results
        if what == "enrolment" and how == "SUCCESS" and start <= at + ms / 1000 < end
    ]
    failed = Counter(f"{how} ({what})" for what, _, _, how in begun if how != "SUCCESS")
    return Phase(
        granted=len(granted) / (end - start),
        p99=p99("enrolment"),
        capabilities=p99("capabilities"),
        failed=dict(failed),
    )


def run(options: argparse.Namespace) -> Iterator[Measured]:
    """Measure each kind in turn."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        count = int(options.rate * (2.2 * options.seconds + 5))
        console.log(f"making {count} requests and {REVOKED} revoked certificates")
        prepared = prepare(scratch, count)
        for kind in options.kinds or KINDS:
            yield measure(kind, prepared, options, scratch)


# --- what is said about it ------------------------------------------------------------------------


def held(measured: list[Measured]) -> Table:
    """Return what the server held, and the hostile clients."""
    columns = ("MiB", "descriptors", "made", "held", "at the end", "refused", "closed")
    table = Table("abuse", *columns, "requests", "CPU s", "server CPU s", "note", box=MARKDOWN)
    for one in measured:
        hostile = Counter(one.hostile)
        table.add_row(
            one.kind,
            " / ".join(f"{mib:.0f}" for mib in one.memory),
            " / ".join(map(str, one.descriptors)),
            *(str(hostile[name]) for name in ("made", *columns[3:], "requests")),
            f"{one.hostile_cpu:.1f}",
            f"{one.server_cpu:.1f}",
            one.note,
        )
    return table


def honest(measured: list[Measured]) -> Table:
    """Return what the honest fleet got."""
    table = Table("abuse", "enrolments/s", "p99 ms", "GetCACaps p99 ms", "failed", box=MARKDOWN)
    for one in measured:
        phases = (one.calm, one.abused, one.after)
        failed: Counter[str] = sum((Counter(each.failed) for each in phases), Counter())
        table.add_row(
            one.kind,
            " / ".join(f"{each.granted:.0f}" for each in phases),
            " / ".join(_milliseconds(each.p99) for each in phases),
            " / ".join(_milliseconds(each.capabilities) for each in phases),
            ", ".join(f"{count} {what}" for what, count in failed.items()) or "none",
        )
    return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="|".join(KINDS), default=[])
    parser.add_argument("--seconds", type=float, default=20, help="of abuse, for each kind")
    parser.add_argument("--rest", type=float, default=60, help="seconds, before memory is judged")
    parser.add_argument("--rate", type=float, default=100, help="enrolments a second of the fleet")
    parser.add_argument("--connections", type=int, default=16, help="of the fleet, at most")
    parser.add_argument("--addresses", type=int, default=1, help="of the hostile clients")
    parser.add_argument("--workers", type=int, default=1, help="the server's processes")
    parser.add_argument("--json", type=Path, default=None, help="where to put all figures")
    parser.add_argument("--scratch", type=Path, default=None, help="where the databases go")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if not 1 <= options.addresses <= 65_000:
        parser.error("--addresses: 1 to 65000")
    measured = []
    for one in run(options):
        measured.append(one)
        if options.json:
            figures = {"options": vars(options), "measured": [asdict(each) for each in measured]}
            options.json.write_text(json.dumps(figures, indent=1, default=str))
    output = Console(width=170)
    output.print("held: before / peak / after the rest", held(measured))
    output.print("the fleet: alone / beside the abuse / alone again", honest(measured))
    console.print(
        f"{cores()} cores, {options.workers} worker process(es), "
        f"{options.rate:g} enrolments a second offered over {options.connections} connections, "
        f"{options.seconds:g} seconds of abuse from {options.addresses} address(es)"
    )


if __name__ == "__main__":
    main()
