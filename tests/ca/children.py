"""Run by test_layout.py as a process of its own: CAs made under fire.

children.py race DIR             six processes at once; prints the fingerprint each one got
children.py kill DIR KEYS        one CA a kill point: process N dies by SIGKILL at the Nth
                                 thing that it does to the file system, in DIR/N
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepkit.ca import layout
from scepkit.ca.certificates import sha256_fingerprint

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)
# What Python's audit hooks tell of, and fsync, which they do not.
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "fsync"}


def race(directory: Path) -> None:
    for _ in range(6):
        if os.fork() == 0:
            material = layout.load_or_create(directory, "ec", now=NOW)
            line = f"{sha256_fingerprint(material.ca.certificate)}\n"
            os.write(1, line.encode())
            os._exit(0)
    for _ in range(6):
        os.wait()


def kill(directory: Path, keys: Path) -> None:
    """Kill at every step in turn, until a process lives to the end."""
    ready = {path.stem: load_pem_private_key(path.read_bytes(), None) for path in keys.iterdir()}
    layout.generate = lambda spec: ready[spec.replace(":", "-")]
    for step in range(1, 1000):
        if os.fork() == 0:
            _die_at(step, str(directory))
            layout.create(directory / str(step), "default", now=NOW)
            os._exit(0)
        status = os.wait()[1]
        if status == 0:
            sys.stdout.write(f"{step}\n")
            return
        if os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"step {step}: status {status}")


def _die_at(step: int, directory: str) -> None:
    count = 0
    real = os.fsync

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        if event in EVENTS and (event == "fsync" or str(args[0]).startswith(directory)):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def fsync(descriptor: int) -> None:
        sys.audit("fsync")
        real(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)


if __name__ == "__main__":
    {"race": race, "kill": kill}[sys.argv[1]](*map(Path, sys.argv[2:]))
