"""The servers that are measured: ours, of any sources, and two in Go that `make peers` builds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO

from cryptography import x509

from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

# The tests know how those are built.
from interop import building  # noqa: E402

SECRET = "bench-secret"


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        pid: its process, whose children are its as well.
        port: on 127.0.0.1.
        path: of SCEP.
        certificates: what GetCACert shows.
        recipient: whom requests are encrypted to.
        challenges: gives so many.
    """

    pid: int
    port: int
    path: str
    certificates: Sequence[Certificate]
    recipient: Certificate
    challenges: Callable[[int], list[str]]

    @property
    def url(self) -> str:
        """Where SCEP is."""
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True)
class Sources:
    """scepkit's sources.

    Attributes:
        name: for tables.
        directory: `src`.
        packages: what they need and this environment has not.
    """

    name: str
    directory: Path = ROOT / "src"
    packages: Path | None = None

    def environment(self, database: str | None = None) -> dict[str, str]:
        """Return the variables of a process that runs them."""
        places = [self.directory, *([self.packages] if self.packages else [])]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}
        return variables | ({"SCEP_DATABASE": database} if database else {})


def scep(*arguments: object) -> list[str]:
    """Return a command of ours."""
    return [sys.executable, "-m", "scepkit", *map(str, arguments)]


@contextmanager
def ours(
    home: Path,
    sources: Sources,
    *,
    layout: str | None = None,
    workers: int = 1,
    database: str | None = None,
) -> Iterator[Running]:
    """Start our server with a data directory, which is made if it is not there."""
    variables = sources.environment(database)
    command = scep("serve", "--dir", home, "--port", 0, "--workers", workers)
    command += ["--layout", layout] * (layout is not None)
    home.parent.mkdir(parents=True, exist_ok=True)
    log = home.with_suffix(".log")
    with log.open("wb") as file, process(command, file, variables) as server:
        port = announced_port(server, log)

        def challenges(count: int) -> list[str]:
            new = scep("admin", "challenge", "new", "--dir", home, "--count", count)
            command = [*new, "--expires", "6h"]
            said = subprocess.run(
                command, env=variables, check=True, stdout=subprocess.PIPE, text=True
            )
            return said.stdout.split()

        yield running(server.pid, port, "/scep", challenges)


@contextmanager
def step_ca(home: Path) -> Iterator[Running]:
    """Start step-ca: one RSA-2048 key certifies and decrypts, as in our `single`."""
    home.mkdir(parents=True)
    root, issuer = _stepca_authority(home)
    port = free_port()
    provisioner = {
        "type": "SCEP",
        "name": "devices",
        "challenge": SECRET,
        "includeRoot": True,
        "minimumPublicKeyLength": 2048,
        "encryptionAlgorithmIdentifier": 2,  # AES-256-CBC; 0 would be single DES
    }
    settings = {
        "root": str(root),
        "crt": str(issuer),
        "key": str(home / "issuer-key.pem"),
        "address": f"127.0.0.1:{free_port()}",
        "insecureAddress": f"127.0.0.1:{port}",
        "dnsNames": ["127.0.0.1"],
        "db": {"type": "badgerv2", "dataSource": str(home / "db")},
        "authority": {"provisioners": [provisioner]},
    }
    (home / "ca.json").write_text(json.dumps(settings))
    program = building.place(building.STEP_CA) / "step-ca"
    with (home / "log").open("wb") as log, process([program, home / "ca.json"], log) as server:
        yield running(server.pid, port, "/scep/devices", _static)


def _stepca_authority(home: Path) -> tuple[Path, Path]:
    usages = {"root": "keyCertSign,cRLSign"}
    usages["issuer"] = f"{usages['root']},digitalSignature,keyEncipherment"
    by = ["-CA", home / "root.pem", "-CAkey", home / "root-key.pem"]
    for name, signer in (("root", []), ("issuer", by)):
        (home / f"{name}.cnf").write_text(
            "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n"
            f"basicConstraints=critical,CA:TRUE\nkeyUsage=critical,{usages[name]}\n"
        )
        files = ["-keyout", home / f"{name}-key.pem", "-out", home / f"{name}.pem"]
        command = ["openssl", "req", "-x509", "-new", "-nodes", "-newkey", "rsa:2048", *files]
        command += ["-config", home / f"{name}.cnf", "-subj", f"/CN=step-ca {name}", *signer]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return home / "root.pem", home / "issuer.pem"


@contextmanager
def scepserver(home: Path) -> Iterator[Running]:
    """Start micromdm's scepserver, with one static challenge."""
    home.mkdir(parents=True)
    program = str(building.place(building.MICROMDM) / "scepserver")
    depot = str(home / "depot")
    made = [program, "ca", "-init", "-depot", depot, "-keySize", "2048"]
    subprocess.run(made, check=True, capture_output=True)
    port = free_port()
    # It listens on every address; only loopback is spoken to here.
    command = [program, "-depot", depot, "-port", str(port), "-challenge", SECRET]
    with (home / "log").open("wb") as log, process([*command, "-allowrenew", "0"], log) as server:
        yield running(server.pid, port, "/scep", _static)


def _static(count: int) -> list[str]:
    return [SECRET] * count


PEERS = {
    f"step-ca {building.STEP_CA.version}": (building.STEP_CA, step_ca),
    f"micromdm scepserver {building.MICROMDM.version}": (building.MICROMDM, scepserver),
}


def built_peers() -> list[str]:
    """Return the names of those that have been built."""
    return [name for name, (peer, _) in PEERS.items() if building.place(peer).exists()]


def running(pid: int, port: int, path: str, challenges: Callable[[int], list[str]]) -> Running:
    """Return a server that runs, once it answers."""
    url = f"http://127.0.0.1:{port}{path}?operation=GetCACert"
    certificates = ca_certificates.parse(_answer(url))
    top = ca_certificates.top(certificates)
    recipient = ca_certificates.trust(certificates, top, datetime.now(UTC)).recipient
    return Running(pid, port, path, certificates, recipient, challenges)


def _answer(url: str, patience: float = 30) -> bytes:
    """Return what a server answers once it listens."""
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def process(
    command: Sequence[object], log: IO[bytes], variables: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, and end it."""
    words = [str(one) for one in command]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, env=variables)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            running.kill()


def announced_port(server: subprocess.Popen[bytes], log: Path) -> int:
    """Return the port that our server says it listens on."""
    for line in server.stdout or ():
        text = line.decode()
        if "http://" in text:
            return int(text.split("http://")[1].split("/")[0].rpartition(":")[2])
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sources_of(commit: str, scratch: Path) -> Sources:
    """Lay out scepkit's sources as they were at a commit."""
    place = scratch / f"base-{commit}"
    place.mkdir()
    archive = subprocess.run(
        ["git", "archive", commit, "src", "requirements"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    subprocess.run(["tar", "-x"], cwd=place, input=archive.stdout, check=True)
    name = ["git", "rev-parse", "--short", commit]
    short = subprocess.run(name, cwd=ROOT, check=True, capture_output=True, text=True)
    packages = _missing(place / "requirements" / "run.txt", place)
    return Sources(f"scepkit {short.stdout.strip()}", place / "src", packages)


def _missing(locked: Path, place: Path) -> Path | None:
    """Install what a lock file names and this environment has not; return where."""
    wanted = []
    for one in re.split(r"\n(?=[A-Za-z0-9])", locked.read_text()):
        name = one.partition("==")[0]
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            wanted.append(one)
    if not wanted:
        return None
    file, packages = place / "missing.txt", place / "packages"
    file.write_text("\n".join(wanted) + "\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--disable-pip-version-check", "--target", packages, "-r", file]
    subprocess.run(command, check=True)
    return packages


def is_issued_by(certificate: bytes, running: Running) -> bool:
    """Say whether one of a server's CA certificates signed a certificate."""
    issued = x509.load_der_x509_certificate(certificate)
    for one in running.certificates:
        authority = x509.load_der_x509_certificate(one.der)
        with contextlib.suppress(Exception):
            issued.verify_directly_issued_by(authority)
            return True
    return False
