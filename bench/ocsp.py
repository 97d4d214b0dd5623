"""OCSP answers per second, signed and kept, beside what openssl signs with the same kind of key.

    make bench-ocsp                     EC and RSA responders
    python bench/ocsp.py ec --seconds 10 --connections 8 --workers 2

For each kind of key a server is started on a fresh database of 1000 certificates. A load generator
in another process asks over kept connections, one certificate in a request, POST:

    signed      each request has a nonce, so each answer is signed for it
    kept        without a nonce: signed once, but the database is asked each time all the same
    100 in one  a nonce and a hundred certificates: one signature, one look into the database

Beside it stands `openssl speed` of the responder's kind of key, on all cores, in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import load
from cryptography import x509
from rich.console import Console
from rich.table import Table
from run import _announced_port, _process

from scepkit.protocol.algorithms import SHA1
from scepkit.protocol.asn1 import der
from scepkit.server import app
from scepkit.server import data_directory as directory
from scepkit.store import Issuance, Store

HERE = Path(__file__).parent
CERTIFICATES = 1000
SEVERAL = 100
KEYS = {"ec": "ecdsap256", "default": "rsa2048"}
"""By key layout: what `openssl speed` calls the responder's kind of key."""
_NONCE = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.2")
_SUCCESSFUL = b"\x0a\x01\x00\xa0"
console = Console(stderr=True)


@dataclass(frozen=True)
class Measured:
    """How one kind of request did with one kind of key."""

    key: str
    what: str
    per_second: float
    p50: float
    p99: float
    openssl: float
    failed: str


# --- requests -------------------------------------------------------------------------------------


def cert_id(ca: x509.Certificate, serial: int) -> bytes:
    """Return a CertID with SHA-1, as most clients write it."""
    key = x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest
    name = hashlib.sha1(ca.subject.public_bytes()).digest()
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return der.sequence(
        der.algorithm(SHA1.oid),
        der.octet_string(name),
        der.octet_string(key),
        der.element(2, octets),
    )


def request(cert_ids: Sequence[bytes], *, nonce: bool) -> bytes:
    """Return an OCSPRequest."""
    listed = der.sequence(*(der.sequence(one) for one in cert_ids))
    if not nonce:
        return der.sequence(der.sequence(listed))
    value = der.octet_string(der.octet_string(os.urandom(32)))
    extension = der.sequence(der.oid(_NONCE), value)
    return der.sequence(der.sequence(listed, der.tagged(2, der.sequence(extension))))


def kinds(ids: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield each kind of request with enough of them to go round."""
    yield "signed", [request([one], nonce=True) for one in ids]
    yield "kept", [request([one], nonce=False) for one in ids]
    yield (
        f"{SEVERAL} in one",
        [request(random.sample(ids, SEVERAL), nonce=True) for _ in range(100)],
    )


# --- the load -------------------------------------------------------------------------------------


class Connection(load.Connection):
    """A kept connection to an OCSP responder."""

    def __init__(self, host: str, port: int, path: str) -> None:
        super().__init__(host, port, path)
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n"
        )


def ask(port: int, connections: int, seconds: float, file: Path) -> None:
    """Ask for so many seconds, and print what came as JSON; the other process."""
    waiting, lock = cycle(load.read(file)), threading.Lock()
    results: list[tuple[float, str]] = []
    end = time.perf_counter() + seconds

    def run() -> None:
        connection = Connection("127.0.0.1", port, "/ocsp/default")
        while (started := time.perf_counter()) < end:
            with lock:
                body = next(waiting)
            status, answer = connection.post(body)
            is_good = status == 200 and _SUCCESSFUL in answer[:12]
            result = "good" if is_good else f"HTTP {status} {answer[:5].hex()}"
            results.append(((time.perf_counter() - started) * 1000, result))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(results))


# --- one measurement ------------------------------------------------------------------------------


def openssl_speed(key: str, seconds: int) -> float:
    """Return how many signatures a second openssl makes on all cores."""
    command = ["openssl", "speed", "-mr", "-seconds", str(seconds), "-multi", str(app.cores()), key]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # +F2 (RSA) or +F4 (ECDSA): number, bits, seconds for one signature, and for one verification.
    line = [one for one in done.stdout.splitlines() if one.startswith(("+F2:", "+F4:"))][-1]
    value = float(line.split(":")[3])
    return value if value > 1 else 1 / value


def put_certificates(home: directory.Home, count: int) -> list[int]:
    """Store rows as of certificates that the CA issued, and return their serial numbers."""
    now = datetime.now(UTC)
    serials = [random.getrandbits(126) + 1 for _ in range(count)]
    with Store.open(home.settings.database_url) as store:
        pending = [
            store.record(
                Issuance(
                    endpoint="default",
                    transaction_id=b"%x" % serial,
                    signer_key=os.urandom(32),
                    fingerprint=os.urandom(32),
                    message_type=19,
                    csr=os.urandom(600),
                    csr_digest=os.urandom(32),
                    certificate=os.urandom(900),
                    serial=serial,
                    subject="CN=device",
                    not_before=now,
                    not_after=now + timedelta(days=365),
                    public_key=os.urandom(32),
                    issuer=home.material.ca.key_hash,
                    challenge_id=None,
                    now=now,
                )
            )
            for serial in serials
        ]
        for one in pending:
            one.result()
    return serials


def measure(layout: str, options: argparse.Namespace, scratch: Path) -> Iterator[Measured]:
    home = directory.prepare(
        scratch / "data", now=datetime.now(UTC), layout=layout, port=0, workers=options.workers
    )
    serials = put_certificates(home, CERTIFICATES)
    ids = [cert_id(home.material.ca.certificate, one) for one in serials]
    speed = openssl_speed(KEYS[layout], 3)
    command = [sys.executable, "-m", "scepkit", "serve", "--dir", str(scratch / "data")]
    with (scratch / "log").open("wb") as log, _process([*command, "--port", "0"], log) as process:
        port = _announced_port(process)
        for what, requests in kinds(ids):
            console.log(f"{KEYS[layout]}: {what}, {options.seconds} seconds")
            file = scratch / "requests"
            load.write(file, requests)
            asking = [sys.executable, __file__, "--load", str(port), "--file", str(file)]
            asking += ["--connections", str(options.connections)]
            # Once before it counts, so that what can be kept is.
            for seconds in (2, options.seconds):
                done = subprocess.run(
                    [*asking, "--seconds", str(seconds)], check=True, capture_output=True
                )
            results = json.loads(done.stdout)
            good = sorted(ms for ms, result in results if result == "good")
            bad = Counter(result for _, result in results if result != "good")
            yield Measured(
                key=KEYS[layout],
                what=what,
                per_second=len(good) / options.seconds,
                p50=good[len(good) // 2] if good else 0.0,
                p99=good[len(good) * 99 // 100] if good else 0.0,
                openssl=speed,
                failed=", ".join(f"{n} {result}" for result, n in bad.items()) or "none",
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("layouts", nargs="*", metavar="|".join(KEYS), default=[])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=app.cores())
    parser.add_argument("--scratch", type=Path, default=None, help="where the databases go")
    parser.add_argument("--load", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        ask(options.load, options.connections, options.seconds, options.file)
        return
    if unknown := set(options.layouts) - set(KEYS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    columns = ("key", "requests", "answers/s", "p50 ms", "p99 ms", "openssl speed/s", "failed")
    table = Table(*columns)
    for layout in options.layouts or KEYS:
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            for m in measure(layout, options, Path(name)):
                table.add_row(
                    m.key,
                    m.what,
                    f"{m.per_second:.0f}",
                    f"{m.p50:.1f}",
                    f"{m.p99:.1f}",
                    f"{m.openssl:.0f}",
                    m.failed,
                )
    Console(width=100).print(table)
    console.print(
        f"{app.cores()} cores, {options.connections} connections, "
        f"{options.workers} worker process(es)"
    )


if __name__ == "__main__":
    main()
