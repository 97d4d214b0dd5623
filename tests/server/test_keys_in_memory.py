"""Private keys in memory: those who sign have them, and no other process of a server.

All memory of each process is searched for a prime of RSA keys and the scalar of EC keys, in either
order of octets, and for a line of their PEM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import is_encrypted, read_key
from server.live import children_of
from waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")

WORKERS = 2
PASSPHRASE = "a passphrase of the keys"


def traces_of(directory: Path) -> dict[str, list[bytes]]:
    """Return what tells of the keys of a server, by their files."""
    return {
        str(path.relative_to(directory)): _traces(path)
        for path in sorted(directory.rglob("*-key.pem"))
        if path.name != "api-tls-key.pem"
    }


def _traces(path: Path) -> list[bytes]:
    key = read_key(path, Passphrase(PASSPHRASE) if is_encrypted(path) else None)
    numbers = key.private_numbers()
    secret = numbers.p if isinstance(key, rsa.RSAPrivateKey) else numbers.private_value
    octets = secret.to_bytes((secret.bit_length() + 7) // 8)
    traces = [octets, octets[::-1]]
    if not is_encrypted(path):
        lines = path.read_bytes().splitlines()
        # Of an RSA key that is its private exponent; the modulus, before it, is public.
        traces.append(lines[len(lines) * 3 // 5] if len(lines) > 5 else lines[2])
    return traces


def found_in(pid: int, traces: dict[str, list[bytes]]) -> set[str]:
    """Return the keys that a process has a trace of in its memory; none, if it is gone."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for octets in memory_of(pid):
            missing = {name: every for name, every in traces.items() if name not in found}
            found |= {k for k, every in missing.items() if any(one in octets for one in every)}
    return found


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield the memory of a process, piece by piece, but for what is the content of a file."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions, _, _, inode, *name = line.split()
            is_file = inode != "0" and "w" not in permissions
            if "r" not in permissions or is_file or name in (["[vvar]"], ["[vsyscall]"]):
                continue
            start, end = (int(one, 16) for one in span.split("-"))
            memory.seek(start)
            # It may be gone by now, or be longer than its file.
            with contextlib.suppress(OSError):
                while octets := memory.read(end - memory.tell()):
                    yield octets


class Watched:
    """A server with several workers and an API, whose processes are searched.

    Args:
        server: it runs.
    """

    def __init__(self, server):
        self.server = server

    def holders(self) -> list[int]:
        """Wait until all workers have all keys; return them. Nobody else has any.

        Those who sign are the only ones that may have one, and each of them has to have all.
        """
        traces = traces_of(self.server.directory)
        keys = set(traces)
        assert {"ca-key.pem", "ra-key.pem"} <= keys

        def search():
            running = [self.server.pid, *children_of(self.server.pid), *self.server.forked]
            # Beside the workers: the supervisor, who forks, who commits, and the API.
            if len(running) != WORKERS + 4:
                return None
            found = {pid: found_in(pid, traces) for pid in running}
            return found if sum(one == keys for one in found.values()) >= WORKERS else None

        found = wait_until(search, "workers with all keys")
        with_keys = [pid for pid, one in found.items() if one]
        assert len(with_keys) == WORKERS, found
        assert set(with_keys) <= set(self.server.forked), found
        return with_keys


@pytest.fixture
def watched(serve):
    pytest.importorskip("fastapi", reason="pip install 'scepkit[api]'")

    def watched(directory, *how, **env):
        options = ("--workers", str(WORKERS), *how)
        return Watched(serve(directory, *options, SCEP_API="127.0.0.1:0", **env))

    return watched


def test_from_the_first_start_to_a_replaced_worker(watched, tmp_path, scep):
    """At the start that makes the CA, at the next one, after reloads, and after kill -9."""
    path = tmp_path / "new"
    first = watched(path, "--layout", "default")
    first.holders()
    assert first.server.stop() == 0
    later = watched(path)
    before = later.holders()
    settings = path / "scep.toml"
    more = '[endpoint.other]\nca = "other"\nlayout = "ec"\n'
    settings.write_text(f"{settings.read_text()}\n{more}")
    assert scep("admin", "reload", "--dir", path)[0] == 0
    assert (path / "ca-other" / "ca-key.pem").exists()
    assert later.holders() == before
    os.kill(later.server.pid, signal.SIGHUP)
    wait_until(lambda: later.server.log.count("the settings were read again") == 2)
    assert later.holders() == before
    os.kill(before[0], signal.SIGKILL)
    after = later.holders()
    assert before[0] not in after
    assert before[1] in after
    assert later.server.stop() == 0
    assert "Traceback" not in later.server.log


@pytest.mark.long
def test_keys_under_a_passphrase(watched, tmp_path):
    """The supervisor has the passphrase, for the workers to come, and no key."""
    path = tmp_path / "new"
    one = watched(path, "--layout", "ec", SCEP_KEY_PASSPHRASE=PASSPHRASE)
    killed, _ = one.holders()
    assert is_encrypted(path / "ca-key.pem")
    os.kill(killed, signal.SIGKILL)
    assert killed not in one.holders()
    assert one.server.stop() == 0


def test_one_process_signs(serve, directory):
    """It has the keys, and there is no other one."""
    server = serve(directory())
    traces = traces_of(server.directory)
    wait_until(lambda: found_in(server.pid, traces) == set(traces), "the keys")
    assert children_of(server.pid) == []
