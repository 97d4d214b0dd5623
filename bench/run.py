"""Enrolments per second beside what this machine's private-key operations allow.

    make bench                          every layout, and Debian's scepserver where it is installed
    python bench/run.py single --requests 2000 --connections 8 --workers 1

For each server: requests are made beforehand, each with a challenge of its own; a load generator
in another process posts them over kept connections; both share the machine's cores.
The ceiling is measured in the same run on the same machine:

    cores / (sum of the private-key operations that one enrolment needs)
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import enrolments
import load
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from rich.console import Console
from rich.table import Table

from scepkit.protocol.certificate import Certificate
from scepkit.server import app
from scepkit.server import data_directory as directory
from scepkit.store import Store

HERE = Path(__file__).parent
LAYOUTS = ("single", "default", "ec")
console = Console(stderr=True)


@dataclass(frozen=True)
class Measured:
    """How one server did."""

    name: str
    per_second: float
    p50: float
    p99: float
    ceiling: float
    refused: str


# --- the ceiling ----------------------------------------------------------------------------------


def operation_seconds(layout: str) -> float:
    """Return the seconds of private-key work in one enrolment: decrypt, issue, sign the CertRep."""
    ra = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encrypted = ra.public_key().encrypt(b"0123456789abcdef", padding.PKCS1v15())
    decrypt = _median(lambda: ra.decrypt(encrypted, padding.PKCS1v15()))
    reply = _median(lambda: ra.sign(b"x", padding.PKCS1v15(), hashes.SHA256()))
    if layout == "ec":
        key = ec.generate_private_key(ec.SECP256R1())
        return decrypt + reply + _median(lambda: key.sign(b"x", ec.ECDSA(hashes.SHA256())))
    size = 3072 if layout == "default" else 2048
    ca = rsa.generate_private_key(public_exponent=65537, key_size=size)
    return decrypt + reply + _median(lambda: ca.sign(b"x", padding.PKCS1v15(), hashes.SHA256()))


def _median(operation: Callable[[], object], times: int = 200) -> float:
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


# --- servers --------------------------------------------------------------------------------------


@contextmanager
def scepkit_server(
    scratch: Path, layout: str, count: int, workers: int
) -> Iterator[tuple[int, str, Certificate, list[str]]]:
    """Start our server; yield port, path, the certificate to encrypt to, and challenges."""
    now = datetime.now(UTC)
    home = directory.prepare(scratch / layout, now=now, layout=layout, port=0, workers=workers)
    with Store.open(home.settings.database_url) as store:
        challenges = enrolments.minted(directory.challenges_of(home, store), count, now=now)
    log = (scratch / f"{layout}.log").open("wb")
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(scratch / layout)]
    with _process([*command, "--port", "0"], log) as process:
        port = _announced_port(process)
        yield port, "/scep", Certificate.of(home.material.ra.certificate), challenges


def _announced_port(process: subprocess.Popen[bytes]) -> int:
    for line in process.stdout or ():
        text = line.decode()
        if "http://" in text:
            return int(text.split("http://")[1].split("/")[0].rpartition(":")[2])
    raise SystemExit("the server did not start; its log says why")


@contextmanager
def micromdm_server(scratch: Path, count: int) -> Iterator[tuple[int, str, Certificate, list[str]]]:
    """Start Debian's scepserver, with one static challenge."""
    depot = str(scratch / "depot")
    subprocess.run(
        ["scepserver", "ca", "-init", "-depot", depot, "-keySize", "2048"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    port = _free_port()
    # It listens on every address; only loopback is spoken to here.
    command = ["scepserver", "-depot", depot, "-port", str(port), "-challenge", "secret"]
    with _process([*command, "-allowrenew", "0"], subprocess.DEVNULL):
        _wait_for(port)
        pem = (scratch / "depot" / "ca.pem").read_bytes()
        ca = Certificate.of(x509.load_pem_x509_certificate(pem))
        yield port, "/scep", ca, ["secret"] * count


@contextmanager
def _process(command: list[str], log: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            load.Connection("127.0.0.1", port, "/scep").post(b"")
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("scepserver did not start")


# --- one measurement ------------------------------------------------------------------------------


def measure(
    name: str,
    server: tuple[int, str, Certificate, list[str]],
    ceiling: float,
    options: argparse.Namespace,
    fleet: list[enrolments.Credential],
    scratch: Path,
) -> Measured:
    port, path, recipient, challenges = server
    console.log(f"{name}: making {len(challenges)} requests")
    file = scratch / "requests"
    load.write(file, enrolments.make(fleet, challenges, recipient))
    console.log(f"{name}: posting them over {options.connections} connections")
    command = [sys.executable, str(HERE / "load.py"), "127.0.0.1", str(port), path]
    done = subprocess.run(
        [*command, str(options.connections), str(file)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=600,
    )
    result = json.loads(done.stdout)
    good = sorted(ms for ms, outcome in result["results"] if outcome == "SUCCESS")
    bad = Counter(outcome for _, outcome in result["results"] if outcome != "SUCCESS")
    return Measured(
        name=name,
        per_second=len(good) / result["seconds"],
        p50=good[len(good) // 2] if good else 0.0,
        p99=good[len(good) * 99 // 100] if good else 0.0,
        ceiling=ceiling,
        refused=", ".join(f"{n} {what}" for what, n in bad.items()) or "none",
    )


def run(options: argparse.Namespace) -> Iterator[Measured]:
    fleet = enrolments.devices()
    for layout in options.layouts:
        # A fresh directory each: on the disk, since the fsync is part of what is measured.
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            scratch = Path(name)
            keys = "single" if layout == "scepserver" else layout
            ceiling = app.cores() / operation_seconds(keys)
            server = (
                micromdm_server(scratch, options.requests)
                if layout == "scepserver"
                else scepkit_server(scratch, layout, options.requests, options.workers)
            )
            with server as ready:
                label = layout if layout == "scepserver" else f"scepkit {layout}"
                yield measure(label, ready, ceiling, options, fleet, scratch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = [*LAYOUTS, "scepserver"]
    parser.add_argument("layouts", nargs="*", metavar="|".join(known), default=[])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=app.cores(), help="default: one a core")
    parser.add_argument("--scratch", type=Path, default=None, help="where the databases go")
    options = parser.parse_args()
    if unknown := set(options.layouts) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not options.layouts:
        options.layouts = known if shutil.which("scepserver") else list(LAYOUTS)
        if "scepserver" not in options.layouts:
            console.log(
                "scepserver (Debian's package scep) is not installed: only ours is measured"
            )
    columns = ("server", "enrolments/s", "p50 ms", "p99 ms", "ceiling/s", "of ceiling", "refused")
    table = Table(*columns)
    for m in run(options):
        table.add_row(
            m.name,
            f"{m.per_second:.0f}",
            f"{m.p50:.1f}",
            f"{m.p99:.1f}",
            f"{m.ceiling:.0f}",
            f"{m.per_second / m.ceiling:.0%}",
            m.refused,
        )
    Console(width=100).print(table)
    console.print(
        f"{app.cores()} cores, {options.requests} requests, {options.connections} connections, "
        f"{options.workers} worker process(es) of ours"
    )


if __name__ == "__main__":
    main()
