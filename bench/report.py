"""The results of the bench as tables: on the screen, and in docs/performance.md.

    python bench/report.py FILE         writes the page's tables, and docs/performance.json
    python bench/report.py noifma=FILE  those of another run, as "noifma NAME"

A table of the page stands between two comments, `<!-- bench: NAME -->` and `<!-- bench end -->`;
nobody writes there by hand. What is not in FILE stays as it is, and what no run has measured says
so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "docs" / "performance.json"
QUIET = 0.5
"""The load average up to which a machine counts as idle before a run."""

_UNMEASURED = "Not measured yet.\n"
_BLOCK = re.compile(r"(<!-- bench: (?P<name>[a-z0-9 -]+) -->\n).*?(<!-- bench end -->)", re.DOTALL)
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Report:
    """A table."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return it as the page has it."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Say on what machine and with what a run is made."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "base": options.base,
        "cpu": cpu[1] if cpu else platform.machine(),
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "openssl": backend.openssl_version_text(),
        "openssl_ia32cap": os.environ.get("OPENSSL_ia32cap"),  # noqa: SIM112 - its name
        "load": float(Path("/proc/loadavg").read_text().split()[0]),
        "workers": options.workers,
        "connections": options.connections,
        "rounds": options.rounds,
        "requests": options.requests,
    }


def tables(results: dict[str, Any]) -> Iterator[Report]:
    """Yield the tables of what was measured."""
    if "conditions" in results:
        yield _conditions(results["conditions"])
    for part in ("enrolment", "renewal", "stored"):
        for one in results.get(part, ()):
            yield _load(part, one)
    if "ocsp" in results:
        yield _ocsp(results["ocsp"])
    if "memory" in results:
        yield _memory(results["memory"])
    if "help" in results:
        yield _help(results["help"])


def _conditions(found: dict[str, Any]) -> Report:
    noise = "" if found["load"] <= QUIET else ": other work ran beside it, the numbers are noisy"
    rows = (
        ("date", found["date"]),
        ("processor", found["cpu"]),
        ("CPython", found["python"]),
        ("OpenSSL of `cryptography`", found["openssl"]),
        *([("`OPENSSL_ia32cap`", f"`{cap}`")] if (cap := found["openssl_ia32cap"]) else []),
        ("load before", f"{found['load']:.1f}{noise}"),
        ("worker processes, connections", f"{found['workers']}, {found['connections']}"),
        ("turns of each server, requests of a turn", f"{found['rounds']}, {found['requests']}"),
    )
    return Report("conditions", "conditions", ("", ""), rows)


def _load(part: str, found: dict[str, Any]) -> Report:
    """Return the table of one kind of load on several servers."""
    database, layout, first = found["database"], found["layout"], found["servers"][0]
    has_database = first.get("database_cpu") is not None
    columns = ["server", "share", "a second", "p50 ms", "p99 ms", "CPU ms", "private keys ms"]
    columns += ["CPU ms of PostgreSQL"] if has_database else []
    columns += ["load generator ms", "refused", *_compared(part, first["server"])]
    rows = []
    for one in found["servers"]:
        if "cpu" not in one:
            rows.append((one["server"], *[""] * (len(columns) - 4), _bad(one), "", ""))
            continue
        cells = [one["server"], _share(one), f"{one['rate']:.0f}"]
        cells += [f"{one['p50']:.1f}", f"{one['p99']:.1f}"]
        cells += [_ms(one["cpu"]), _ms(one["private"])]
        cells += [_ms(one["database_cpu"])] if has_database else []
        cells += [_ms(one["generator"]), _bad(one)]
        pair = (one, first) if part == "stored" else (first, one)
        rows.append((*cells, _ratio("rates", *pair), _ratio("cpus", *pair)))
    name = f"{part} {layout} {database}"
    title = f"{part}, layout {layout}, {_DATABASES[database]}"
    return Report(name, title, tuple(columns), tuple(rows))


def _compared(part: str, first: str) -> tuple[str, str]:
    """Return the heads of the columns that compare servers."""
    if part == "stored":
        return f"rate / at {first}", f"CPU / at {first}"
    return f"{first}'s rate / its", f"{first}'s CPU / its"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1e3:.2f}"


def _share(one: dict[str, Any]) -> str:
    low, high = one["shares"]
    return f"{one['share']:.2f} ({low:.2f} to {high:.2f})"


def _bad(one: dict[str, Any]) -> str:
    return ", ".join(f"{count} {what}" for what, count in one["bad"].items()) or "none"


def _ratio(what: str, one: dict[str, Any], other: dict[str, Any]) -> str:
    """Return the median of the ratios within a round."""
    pairs = zip(one[what], other[what], strict=False)
    return f"{statistics.median(a / b for a, b in pairs):.2f}"


def _ocsp(found: list[dict[str, Any]]) -> Report:
    columns = ("key", "answers", "server", "a second", "p50 ms", "p99 ms", "CPU µs", "failed",
               "scepkit's CPU / its")  # fmt: skip
    rows = []
    for several in found:
        ours = several["servers"][0]
        for one in several["servers"]:
            cells = [several["key"], several["what"], one["server"], f"{one['rate']:.0f}"]
            cells += [f"{one['p50']:.1f}", f"{one['p99']:.1f}", f"{one['cpu']:.0f}", _bad(one)]
            rows.append((*cells, _ratio("cpus", ours, one)))
    return Report("ocsp", "OCSP", columns, tuple(rows))


def _memory(found: list[dict[str, Any]]) -> Report:
    rows = tuple((one["server"], str(one["workers"]), f"{one['mib']:.0f}") for one in found)
    return Report("memory", "memory, idle", ("server", "workers", "MiB (PSS)"), rows)


def _help(found: list[dict[str, Any]]) -> Report:
    columns = ("program", "CPU s", "least", "beyond the first")
    rows = tuple(
        (one["program"], f"{one['cpu']:.3f}", f"{one['least']:.3f}", f"{one['beyond']:.3f}")
        for one in found
    )
    return Report("help", "`scep enroll --help`", columns, rows)


def show(results: dict[str, Any]) -> None:
    """Print tables."""
    from rich.console import Console
    from rich.table import Table

    for one in tables(results):
        table = Table(*one.columns, title=one.title)
        for row in one.rows:
            table.add_row(*row)
        Console(width=140).print(table)


def rendered(page: str, runs: dict[str, dict[str, Any]]) -> str:
    """Return the page with its tables as the runs have them."""
    found = {
        f"{run} {one.name}".strip(): one.markdown()
        for run, results in runs.items()
        for one in tables(results)
    }

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{found.get(match['name'], _UNMEASURED)}\n{match[3]}"

    return _BLOCK.sub(table, page)


def main() -> None:
    """Write the page's tables."""
    runs = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for argument in sys.argv[1:]:
        run, _, file = argument.rpartition("=")
        runs[run] = runs.get(run, {}) | json.loads(Path(file).read_text())
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
    PAGE.write_text(rendered(PAGE.read_text(), runs))


if __name__ == "__main__":
    main()
