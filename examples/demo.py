"""`make demo`: a device gets a certificate over SCEP from a server that did not exist before.

Every step is a command that you could type; the demo shows it, runs it, and checks what came out.
Everything happens in a temporary directory and on 127.0.0.1.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from rich.console import Console

from scepkit.protocol.certificate import show_serial

# Plain text where there is no terminal, no line breaks inside commands anywhere.
console = Console(highlight=False, soft_wrap=True)
STARTUP_SECONDS = 60


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="scep-demo-") as name:
        directory = Path(name)
        try:
            demonstrate(directory)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            console.print(f"\n[bold red]the demo failed:[/] {error}")
            return 1
    console.print("\n[bold green]done:[/] the server is stopped, its directory is removed")
    return 0


def demonstrate(directory: Path) -> None:
    step(1, "A server starts. Its first start makes a CA, an RA and a database.")
    with server(directory) as (url, fingerprint):
        step(2, "The operator makes a one-time challenge for one device.")
        challenge = run(
            "admin", "challenge", "new", "--dir", "server", "--subject", "CN=router1,O=Example",
            "--san", "dns:router1.example", cwd=directory,
        ).strip()  # fmt: skip
        step(3, "The device makes a key and enrols over HTTP; it knows the CA by its fingerprint.")
        run(
            "enroll", url, "--fingerprint", fingerprint, "--subject", "CN=router1,O=Example",
            "--san", "dns:router1.example", "--challenge", challenge, "--out", "router1",
            cwd=directory,
        )  # fmt: skip
        step(4, "The certificate is what was asked for, and chains to the CA.")
        check(directory / "router1")
        step(5, "The challenge was good for one certificate: another device gets nothing for it.")
        refused(
            "enroll", url, "--fingerprint", fingerprint, "--subject", "CN=router1,O=Example",
            "--challenge", challenge, "--out", "thief", cwd=directory,
        )  # fmt: skip
        step(6, "The operator sees what was issued.")
        run("admin", "list", "--dir", "server", cwd=directory)
        step(7, "The server finishes what is under way and stops.")


def step(number: int, text: str) -> None:
    console.print(f"\n[bold]{number}. {text}[/]")


def command(*arguments: str) -> list[str]:
    console.print(f"   [cyan]$ scep {shlex.join(arguments)}[/]")
    return [sys.executable, "-m", "scepkit", *arguments]


def run(*arguments: str, cwd: Path) -> str:
    """Run a command that has to succeed, show what it says, return its stdout."""
    done = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False)
    show(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"scep {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def refused(*arguments: str, cwd: Path) -> None:
    """Run a command that has to be refused."""
    done = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False)
    show(done.stdout + done.stderr)
    if done.returncode != 1:
        raise RuntimeError(f"status {done.returncode} where a refusal (1) was expected")


def show(text: str) -> None:
    for line in text.splitlines():
        console.print(f"   {line}", markup=False)


@contextmanager
def server(directory: Path) -> Iterator[tuple[str, str]]:
    """Run `scep serve` on a free port; yield its URL and the CA's fingerprint."""
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command("serve", "--dir", "server", "--port", "0"),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        # A server that never says that it is ready must not hang the demo.
        guard = threading.Timer(STARTUP_SECONDS, process.kill)
        guard.start()
        try:
            lines = [process.stdout.readline() for _ in range(2)] if process.stdout else []
            guard.cancel()
            show("".join(lines))
            found = dict(line.split(maxsplit=1) for line in lines if line.strip())
            if not {"URL", "fingerprint"} <= found.keys():
                show((directory / "server.log").read_text())
                raise RuntimeError("the server did not start")
            yield found["URL"].strip(), found["fingerprint"].strip()
        finally:
            guard.cancel()
            process.send_signal(signal.SIGTERM)
            status = process.wait(STARTUP_SECONDS)
    console.print(f"   stopped with status {status}; what it logged about the enrolments:")
    for line in (directory / "server.log").read_text().splitlines():
        if "PKIOperation" in line:
            console.print(f"   {line}", markup=False)


def check(folder: Path) -> None:
    """Show the certificate and verify it up to the CA."""
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(ca)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    mode = (folder / "key.pem").stat().st_mode & 0o777
    for what, value in (
        ("subject", certificate.subject.rfc4514_string()),
        ("names", ", ".join(names.get_values_for_type(x509.DNSName))),
        ("issuer", certificate.issuer.rfc4514_string()),
        ("serial", show_serial(certificate.serial_number)),
        ("not after", f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"),
        ("verified", f"signed by {ca.subject.rfc4514_string()}"),
        ("key file", f"mode {mode:o}"),
    ):
        console.print(f"   {what:<10} {value}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
