"""Run by the tests here as processes of their own: CAs made and changed under fire.

children.py race OPERATION DIR        six processes at once; prints what each one got
children.py kill OPERATION DIR KEYS EVERY
                                      a directory a kill point: process N dies by SIGKILL at the
                                      Nth thing that it does to the file system, in DIR/N, which
                                      begins as a copy of DIR/base, for 1 and each EVERYth N after
                                      it; prints the first N that is one too many
children.py turn COUNT DIR KEYS       a CA that rolls over and rotates COUNT times, without pause

New keys come out of KEYS.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepkit.ca.directory import (
    adoption,
    founding,
    material,
    requesting,
    rollover,
    rotation,
)
from scepkit.errors import SettingsError
from scepkit.keys import pem as keys
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import sha256_fingerprint
from scepkit.operations import authorities
from scepkit.operations.authorities import Operator
from scepkit.server.directory.key_protection import protect
from scepkit.server.settings import Settings

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)
# What Python's audit hooks tell of, and fsync, which they do not.
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "fsync"}


class NoRecord:
    """Takes audit events, and writes none."""

    def write_audit(self, event: object) -> None:
        pass


def change_passphrase(directory: Path, old: str | None, new: str | None) -> None:
    """Change what the keys of a server are encrypted under, with little work in it."""
    before, after = (text and Passphrase(text, rounds=1) for text in (old, new))
    protect(
        Settings(directory=directory), NoRecord(), old=before, new=after, by="operator", now=NOW
    )


def adopt(directory: Path) -> None:
    """Take what is in `incoming/` of the directory for its CA."""
    place = directory / "incoming"
    certificate, *above = keys.read_certificates(place / "ca.pem")
    adoption.adopt(directory, certificate, keys.read_key(place / "key.pem"), above, now=NOW)


def install(directory: Path, *, at_once: bool = False) -> None:
    """Install what is in `incoming/` of the directory, as the answer to the request there."""
    operator = Operator(
        by="operator", ca="default", directory=directory, store=None, passphrase=None, now=NOW
    )
    certificates = keys.read_certificates(directory / "incoming/ca.pem")
    authorities.install(operator, certificates, at_once=at_once)


def request(directory: Path) -> None:
    """Make a key and a PKCS#10 for a CA."""
    subject = founding.ca_name("Requested CA")
    requesting.make(directory, subject=subject, key="ec:p256")


OPERATIONS = {
    "adopt": adopt,
    "install": install,
    "request": request,
    "drop-request": requesting.drop,
    "create": partial(founding.create, layout="ec", now=NOW),
    "load_or_create": partial(founding.load_or_create, layout="ec", now=NOW),
    "prepare": partial(rollover.prepare, now=NOW),
    "activate": partial(rollover.activate, now=NOW),
    "cancel": rollover.cancel,
    # An RA that lives two years ends within three.
    "rotate": partial(
        rotation.rotate_ra, now=NOW, before=timedelta(days=1000), validity=timedelta(days=1100)
    ),
    "make-ra": partial(rotation.make_ra, now=NOW),
    "ocsp": partial(rotation.rotate_ocsp, now=NOW),
    "protect": partial(change_passphrase, old=None, new="new passphrase"),
    "change": partial(change_passphrase, old="old passphrase", new="new passphrase"),
    "unprotect": partial(change_passphrase, old="old passphrase", new=None),
}


def race(operation: str, directory: str) -> None:
    for _ in range(6):
        if os.fork() == 0:
            try:
                said = OPERATIONS[operation](Path(directory))
                if isinstance(said, material.Material):
                    said = sha256_fingerprint(said.ca.certificate)
            except SettingsError as error:
                said = error.message
            os.write(1, f"{said}\n".encode())
            os._exit(0)
    for _ in range(6):
        if os.wait()[1]:
            sys.exit("a child failed")


def kill(operation: str, directory: str, pool: str, every: str) -> None:
    """Kill at a step in turn, until a process lives to the end."""
    use_keys(pool)
    for step in range(1, 1000, int(every)):
        place = Path(directory, str(step))
        if Path(directory, "base").exists():
            shutil.copytree(Path(directory, "base"), place)
        if os.fork() == 0:
            _die_at(step, directory)
            OPERATIONS[operation](place)
            os._exit(0)
        status = os.wait()[1]
        if status == 0:
            sys.stdout.write(f"{step}\n")
            return
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"step {step}: status {status}")


def turn(count: str, directory: str, pool: str) -> None:
    use_keys(pool)
    for _ in range(int(count)):
        OPERATIONS["prepare"](Path(directory))
        if not OPERATIONS["rotate"](Path(directory)):
            sys.exit("nothing was rotated")
        OPERATIONS["activate"](Path(directory))


def use_keys(pool: str) -> None:
    """Take the keys of the tests, and do not prove their primes once more."""
    quick = partial(load_pem_private_key, password=None, unsafe_skip_rsa_key_validation=True)
    keys.load_pem_private_key = lambda pem, **_: quick(pem)
    ready = sorted(Path(pool).iterdir())

    def generate(spec: str) -> object:
        if spec.startswith("ec:"):
            return keys.generate(spec)
        # One key serves many generations if they are more than the keys.
        ready.append(ready.pop(0))
        return quick(ready[-1].read_bytes())

    founding.generate = generate


def _die_at(step: int, directory: str) -> None:
    count = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal count
        if event in EVENTS and (event == "fsync" or _changes(event, args, directory)):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def fsync(descriptor: int) -> None:
        # A kill, unlike a power cut, takes nothing back that was written; waiting shows nothing.
        sys.audit("fsync")

    os.fsync = fsync
    sys.addaudithook(hook)


def _changes(event: str, args: tuple[object, ...], directory: str) -> bool:
    if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return False
    # rmtree names what it removes relative to an open directory.
    path = str(args[0])
    return path.startswith(directory) or not Path(path).is_absolute()


if __name__ == "__main__":
    {"race": race, "kill": kill, "turn": turn}[sys.argv[1]](*sys.argv[2:])
