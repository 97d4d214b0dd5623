"""How fast scepkit is, beside other servers and beside itself as it was.

    make bench                          every part
    make bench BASE=f7e0514             and scepkit as it was at that commit
    python bench/run.py enrolment --layouts single --databases sqlite --json FILE
    python bench/report.py FILE         the tables of docs/performance.md, from such a file

Parts: enrolment, renewal, ocsp, stored (with a million certificates), memory, help (the command
line). The servers of a part run at the same time and take turns under load; between the turns the
private-key operations of an enrolment are measured, on all cores. The figure is the share: what
those take of all the CPU time of the server's processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import enrolments
import idle
import load
import report
import servers
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, Hash
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from servers import Running, Sources
from turns import SLICE, WARM_UP, Contestant, alternate, console, load_average

import postgresql
import stored
from scepkit.protocol.cms.enveloped import Credential
from scepkit.server.web.executors import cores

LAYOUTS = ("single", "default", "ec")
DATABASES = ("sqlite", "postgresql")
OCSP_CERTIFICATES = 1000
OCSP_FACTOR = 5
"""Times as many requests in a turn as enrolments."""
QUICK = {
    "rounds": 1,
    "requests": 20,
    "connections": 4,
    "warm_up": 4,
    "private_seconds": 0.02,
    "stored": 200,
    "workers": 1,
    "repeat": 1,
}

Result = dict[str, Any]


class Bench:
    """The parts, with what they have in common.

    Args:
        options: of the command line.
        scratch: on the disk, since the fsync is part of what is measured.
        sources: ours, and those of the commit to compare with.
    """

    def __init__(self, options: argparse.Namespace, scratch: Path, sources: list[Sources]) -> None:
        self._options = options
        self._scratch = scratch
        self._sources = sources
        self._fleet = enrolments.devices()
        self._places = iter(range(10_000))

    def _place(self) -> Path:
        """Return a path where nothing is yet."""
        return self._scratch / f"place{next(self._places)}"

    @property
    def _count(self) -> int:
        """How many requests a contestant gets altogether."""
        options = self._options
        return options.rounds * options.requests + 2 * options.connections + options.warm_up

    # --- enrolment ---------------------------------------------------------------------------

    def enrolment(self) -> Iterator[Result]:
        """Measure first enrolments: layouts, databases, other servers."""
        for database in self._options.databases:
            for layout in self._options.layouts:
                if database == "postgresql" and layout != self._options.layouts[0]:
                    continue
                peers = database == "sqlite" and layout == "single" and self._options.peers
                yield self._enrolment(layout, database, peers=peers)

    def _enrolment(self, layout: str, database: str, *, peers: bool) -> Result:
        with ExitStack() as stack:
            contestants = [
                stack.enter_context(self._ours(one, layout, database)) for one in self._sources
            ]
            for name in servers.built_peers() if peers else ():
                start = servers.PEERS[name][1]
                running = stack.enter_context(start(self._place()))
                contestants.append(self._enrolling(name, running))
            return self._measured(contestants, layout, layout=layout, database=database)

    @contextmanager
    def _ours(
        self,
        sources: Sources,
        layout: str,
        database: str = "sqlite",
        *,
        renewing: bool = False,
        filled: int = 0,
    ) -> Iterator[Contestant]:
        """Start our server, with so many certificates in its database."""
        home = self._place()
        with ExitStack() as stack:
            url, pid = None, None
            if database == "postgresql":
                cluster = stack.enter_context(postgresql.running("-c max_connections=200"))
                url, pid = stack.enter_context(cluster.fresh_database()), cluster.pid
            if filled:
                console.log(f"{filled:,} certificates: minutes for a million, SQLite's are kept")
            if filled and url:
                stored.enrol_two(home, sources, layout, url)
                stored.fill_postgresql(url, filled)
            elif filled:
                shutil.copytree(stored.prepared(filled, sources), home)
            workers = self._options.workers
            running = stack.enter_context(
                servers.ours(home, sources, layout=layout, workers=workers, database=url)
            )
            contestant = self._enrolling(sources.name, running, renewing=renewing)
            contestant.database = pid
            yield contestant

    def _enrolling(self, name: str, running: Running, *, renewing: bool = False) -> Contestant:
        """Make requests for a server."""
        fleet, count, file = self._fleet, self._count, self._place()
        console.log(f"{name}: making {count} requests")
        if renewing:
            challenges = running.challenges(len(fleet))
            fleet = enrolments.enrolled(fleet, running.url, challenges, running.recipient)
            requests = enrolments.renewals(fleet, running.recipient, count)
        else:
            requests = enrolments.make(fleet, running.challenges(count), running.recipient)
        load.write(file, requests)
        return Contestant(
            name,
            running,
            file,
            connections=self._options.connections,
            warm_up=self._options.warm_up,
            check=_checking(fleet, running),
        )

    def _measured(
        self, contestants: list[Contestant], operations: str | None, **facts: object
    ) -> Result:
        before = load_average()
        options = self._options
        found = alternate(
            contestants, operations, options.rounds, options.requests, options.private_seconds
        )
        return facts | {"servers": found, "load": [before, load_average()]}

    def renewal(self) -> Iterator[Result]:
        """Measure renewals: signed by the certificate, without a challenge."""
        for layout in self._options.layouts[:1]:
            with ExitStack() as stack:
                contestants = [
                    stack.enter_context(self._ours(one, layout, renewing=True))
                    for one in self._sources
                ]
                yield self._measured(contestants, layout, layout=layout, database="sqlite")

    def stored(self) -> Iterator[Result]:
        """Measure enrolments with very many certificates stored, and with none."""
        for database in self._options.databases:
            with ExitStack() as stack:
                contestants = []
                for count in (0, self._options.stored):
                    start = self._ours(self._sources[0], "single", database, filled=count)
                    one = stack.enter_context(start)
                    one.name = f"{count:,} stored"
                    contestants.append(one)
                yield self._measured(contestants, "single", layout="single", database=database)

    # --- OCSP --------------------------------------------------------------------------------

    def ocsp(self) -> Iterator[Result]:
        """Measure OCSP answers: signed for their question, and kept."""
        for layout, key in (("ec", "EC P-256"), ("default", "RSA-2048")):
            with ExitStack() as stack:
                homes = {
                    one.name: self._home_with_certificates(one, layout) for one in self._sources
                }
                running = {
                    one.name: stack.enter_context(
                        servers.ours(homes[one.name], one, workers=self._options.workers)
                    )
                    for one in self._sources
                }
                for what in ("signed", "cached"):
                    contestants = [
                        self._asking(name, server, homes[name], what)
                        for name, server in running.items()
                    ]
                    count, before = self._options.requests * OCSP_FACTOR, load_average()
                    found = alternate(contestants, None, self._options.rounds, count)
                    yield {
                        "key": key,
                        "what": what,
                        "servers": found,
                        "load": [before, load_average()],
                    }

    def _home_with_certificates(self, sources: Sources, layout: str) -> Path:
        home = self._place()
        stored.enrol_two(home, sources, layout)
        stored.fill_sqlite(home / "scep.db", min(OCSP_CERTIFICATES, self._options.stored))
        return home

    def _asking(self, name: str, running: Running, home: Path, what: str) -> Contestant:
        with closing(sqlite3.connect(home / "scep.db")) as connection:
            rows = connection.execute("SELECT serial FROM certificates").fetchall()
        ca, file = next(one for one in running.certificates if one.is_ca), self._place()
        load.write(file, _questions(ca.der, [int(one, 16) for (one,) in rows], what))
        # What can be kept is, in every worker, before it counts.
        is_kept = what == "cached"
        return Contestant(
            name,
            running,
            file,
            kind="ocsp",
            path="/ocsp/default",
            connections=self._options.connections,
            warm_up=4 * self._options.workers * len(rows) if is_kept else self._options.warm_up,
        )

    # --- memory, command line ----------------------------------------------------------------

    def memory(self) -> Iterator[Result]:
        """Measure the memory of an idle server, at its second start: the first makes the tables."""
        for one in self._sources:
            home = self._place()
            with servers.ours(home, one, layout="single"):
                pass
            for workers in (1, 2):
                with servers.ours(home, one, workers=workers) as running:
                    octets = idle.settled(running.pid)
                yield {"server": one.name, "workers": workers, "mib": octets / 2**20}

    def help(self) -> Iterator[Result]:
        """Measure the start of the command line."""
        yield from idle.starts(self._sources, self._scratch, self._options.repeat)


def _checking(fleet: list[Credential], running: Running) -> Callable[[int, bytes], None]:
    """Return what opens a reply, and verifies the certificate in it."""

    def check(number: int, reply: bytes) -> None:
        certificate = enrolments.opened(reply, fleet[number % len(fleet)])
        if not servers.is_issued_by(certificate, running):
            raise SystemExit("a server gave a certificate that its CA did not sign")

    return check


def _questions(ca: bytes, serials: list[int], what: str) -> Iterator[bytes]:
    """Yield OCSP requests with a CertID of SHA-1, as most clients write it."""
    certificate = x509.load_der_x509_certificate(ca)
    name = Hash(SHA1())
    name.update(certificate.subject.public_bytes())
    hashed = name.finalize()
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    random.Random(1).shuffle(serials)
    for serial in serials:
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(hashed, key, serial, SHA1())
        if what == "signed":
            builder = builder.add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
        yield builder.build().public_bytes(Encoding.DER)


PARTS = {
    "enrolment": Bench.enrolment,
    "renewal": Bench.renewal,
    "ocsp": Bench.ocsp,
    "stored": Bench.stored,
    "memory": Bench.memory,
    "help": Bench.help,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="|".join(PARTS), default=[])
    add(
        "--base",
        metavar="COMMIT",
        nargs="+",
        default=[],
        help="compare with scepkit as it was there",
    )
    add("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    add("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    add("--no-peers", dest="peers", action="store_false", help="only scepkit")
    add("--rounds", type=int, default=6, help="turns of each server (default: 6)")
    add("--requests", type=int, default=500, help="of a turn (default: 500)")
    add("--connections", type=int, default=32)
    add("--workers", type=int, default=cores(), help="processes of ours (default: one a core)")
    add("--stored", type=int, default=1_000_000, help="certificates in the generated database")
    add("--repeat", type=int, default=15, help="starts of the command line")
    add("--quick", action="store_true", help="each part once and tiny: does it work?")
    add("--json", type=Path, metavar="FILE", help="write the results there")
    add("--scratch", type=Path, help="where the databases go")
    parser.set_defaults(warm_up=WARM_UP, private_seconds=SLICE)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.quick:
        vars(options).update(QUICK)
    options.parts = options.parts or list(PARTS)
    return options


def main() -> None:
    options = _options()
    results: Result = {"conditions": report.conditions(options)}
    if options.peers and "enrolment" in options.parts:
        for name in servers.PEERS.keys() - set(servers.built_peers()):
            console.log(f"{name} is not built, and not measured: make peers")
    if "postgresql" in options.databases and not postgresql.installed():
        console.log("PostgreSQL is not installed (Debian: postgresql), and not measured")
        options.databases.remove("postgresql")
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        sources = [Sources("scepkit")]
        sources += [servers.sources_of(one, scratch) for one in options.base]
        bench = Bench(options, scratch, sources)
        for part in options.parts:
            console.log(f"part {part}")
            results[part] = list(PARTS[part](bench))
            report.show({part: results[part]})
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
