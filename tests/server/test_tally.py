"""Counting connections over the worker processes of a machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scepkit.server.http import tally
from scepkit.server.http.tally import Tally
from waiting import wait_until

# Another worker: it counts two at first, one when told, and then waits to be killed.
WORKER = """
import sys
from pathlib import Path
from scepkit.server.http.tally import Tally
counts = Tally(Path(sys.argv[1]), bytes(32))
counts.connect("192.0.2.1")
counts.connect(None)
print("ready", flush=True)
sys.stdin.readline()
counts.disconnect("192.0.2.1")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Start another worker process."""
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_other_workers_count(tmp_path, other, monkeypatch):
    """What another process counts is seen at once, and forgotten when it is killed."""
    counts = Tally(tmp_path, bytes(32))
    counts.connect("192.0.2.1")
    assert (counts.total, counts.of("192.0.2.1"), counts.of("192.0.2.2")) == (3, 2, 0)
    other.stdin.write("go\n")
    other.stdin.flush()
    assert other.stdout.readline() == "ready\n"
    assert (counts.total, counts.of("192.0.2.1")) == (2, 1)
    other.kill()
    other.wait()
    monkeypatch.setattr(tally, "_LOOK_AGAIN", 0.0)
    wait_until(lambda: counts.total == 1, "the end of the other")
    assert not (tmp_path / str(other.pid)).exists()


def test_a_process_alone():
    counts = Tally()
    for n in range(300):
        counts.connect(f"192.0.2.{n}")
    counts.enter("192.0.2.1")
    assert counts.total == 300
    assert counts.of("192.0.2.1") >= 2
    for n in range(300):
        counts.disconnect(f"192.0.2.{n}")
    counts.leave("192.0.2.1")
    assert counts.total == counts.of("192.0.2.1") == 0


def test_a_directory_that_is_gone(tmp_path, monkeypatch):
    """Somebody tidied up: each process counts for itself, and nobody is refused for that."""
    monkeypatch.setattr(tally, "_LOOK_AGAIN", 0.0)
    counts = Tally(tmp_path / "gone", bytes(32))
    counts.connect("192.0.2.1")
    assert (counts.total, counts.of("192.0.2.1")) == (1, 1)


def test_what_a_process_of_the_same_number_left(tmp_path):
    (tmp_path / str(os.getpid())).write_bytes(b"\1" * tally._SIZE)
    assert Tally(tmp_path, bytes(32)).total == 0
