"""Seconds, memory and octets of a CRL by its number of entries.

    make bench-crl
    python bench/crl.py 1000 100000 --layout ec

For each number of revoked certificates, in a process of its own: the CRL is signed from entries
that are there already (`signed`), and from an SQLite database, as a server does it, with the new
CRL stored in it (`made`). Memory is the peak of the process above what it had before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert

from scepkit.ca.authority import Authority
from scepkit.ca.crl import CRLEntry, sign_crl
from scepkit.ca.directory import founding, layouts, material
from scepkit.operations import revocation
from scepkit.store import Store
from scepkit.store.tables.certificates import certificates

SIZES = (1_000, 100_000, 1_000_000)
LIFETIME = timedelta(hours=24)
NOW = datetime.now(UTC)
_CHUNK = 10_000

console = Console(stderr=True)


def entries(count: int) -> Iterator[CRLEntry]:
    """Yield revoked certificates: serial numbers of 16 octets, all reasons, a year of times."""
    for number in range(count):
        serial = 2**126 + number * 0x9E3779B97F4A7C15
        yield CRLEntry(serial, NOW - timedelta(seconds=31 * number % 31_536_000), number % 7)


def fill(store: Store, authority: Authority, count: int) -> None:
    """Put revoked certificates into a database; not what is measured, so not by its front door."""
    rows = entries(count)
    common = {
        "endpoint": "default",
        "subject": "CN=device",
        "not_before": NOW - timedelta(days=366),
        "not_after": NOW + timedelta(days=366),
        "der": b"",
        "public_key": bytes(32),
        "issued_at": NOW,
        "issuer": authority.key_hash,
    }
    while chunk := list(islice(rows, _CHUNK)):
        with store._writing("fill the database") as connection:  # noqa: SLF001
            connection.execute(
                insert(certificates),
                [
                    common
                    | {
                        "serial": one.serial,
                        "revoked_at": one.revoked_at,
                        "revocation_reason": one.reason,
                    }
                    for one in chunk
                ],
            )


def signed(authority: Authority, count: int) -> int:
    """Sign a CRL and return its size."""
    until = NOW + LIFETIME
    return len(sign_crl(authority, entries(count), number=1, this_update=NOW, next_update=until))


def made(authority: Authority, store: Store) -> int:
    """Make a CRL from a database, store it, and return its size."""
    return len(revocation.make_crl(store, authority, None, now=NOW, lifetime=LIFETIME).der)


def memory(what: str) -> int:
    """Return octets of this process's memory: VmRSS now, or VmHWM at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith(what)]
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Begin anew: a process begins with the peak of the one that started it."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(what: str, directory: Path, count: int) -> dict[str, float]:
    """Measure one of both, in this process."""
    authority = material.load(directory, now=datetime.now(UTC)).ca
    with Store.open(f"sqlite:///{directory / 'scep.db'}") as store:
        forget_peak()
        before, started, used = memory("VmRSS"), time.perf_counter(), time.process_time()
        octets = signed(authority, count) if what == "signed" else made(authority, store)
        return {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - used,
            "memory": memory("VmHWM") - before,
            "octets": octets,
        }


def in_a_process(what: str, directory: Path, count: int) -> dict[str, float]:
    """Measure in a process of its own, as the peak of a process never goes down."""
    command = [sys.executable, __file__, "--inside", what, str(directory), str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=1800)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), metavar="ENTRIES")
    parser.add_argument("--layout", choices=sorted(layouts.LAYOUTS), default="default")
    parser.add_argument("--scratch", type=Path, default=None, help="where the databases go")
    options = parser.parse_args()
    table = Table("entries", "", "seconds", "CPU s", "peak MiB", "octets")
    for count in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            directory = Path(name) / "data"
            authority = founding.create(directory, options.layout, now=datetime.now(UTC)).ca
            console.log(f"{count:,} entries: filling the database")
            with Store.open(f"sqlite:///{directory / 'scep.db'}") as store:
                fill(store, authority, count)
            for what in ("signed", "made"):
                console.log(f"{count:,} entries: {what}")
                result = in_a_process(what, directory, count)
                table.add_row(
                    f"{count:,}",
                    what,
                    f"{result['seconds']:.2f}",
                    f"{result['cpu']:.2f}",
                    f"{result['memory'] / 2**20:.0f}",
                    f"{result['octets']:,.0f}",
                )
    Console(width=100).print(table)
    console.print(f"{os.cpu_count()} cores, layout {options.layout}, SQLite")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        _, _, kind, place, size = sys.argv
        print(json.dumps(measure(kind, Path(place), int(size))))
    else:
        main()
