"""The process that forks the workers, and the supervisor of workers that end or hang."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from scepkit.errors import StoreError
from scepkit.server.processes import committing, worker, workers
from scepkit.server.processes.shared import Heartbeats, share
from scepkit.server.processes.workers import STARTUP_FAILURE, WorkerProcesses
from scepkit.server.reloading import key_reading
from server.live import environment
from waiting import PATIENCE, wait_until


def run(program, *arguments):
    """Run a program in a process of its own: one that forks has no other threads."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=PATIENCE,
    )


FORKS = """
import signal, sys
from scepkit.server.processes.fork_server import ForkServer

def work(number):
    if number == 1:
        return 7
    if number == 2:
        sys.exit(3)
    if number == 3:
        raise ZeroDivisionError
    while True:
        signal.pause()

forks = ForkServer(lambda: None, work, lambda number: None)
for number in (1, 2, 3):
    forks.start(number)
    print(forks.ended())
for _ in range(50):
    forks.start(4)
    forks.send(4, signal.SIGTERM)
    assert forks.ended() == (4, -signal.SIGTERM)
forks.close()
print("closed")
"""


def test_starts_and_ends():
    """Each end is told with its status; a signal is not lost that comes right after the fork."""
    done = run(FORKS)
    assert done.stdout.splitlines() == ["(1, 7)", "(2, 3)", "(3, 1)", "closed"], done.stderr
    assert done.stderr.count("Traceback") == 1


# A fork that fails, and one whose child gets a signal before it has a handler of its own.
UNLUCKY = """
import os, signal
from scepkit.server.processes.fork_server import ForkServer

real = os.fork

def signalled():
    os.fork = failing
    pid = real()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid

def failing():
    os.fork = real
    raise BlockingIOError(11, "Resource temporarily unavailable")

def stop(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, stop)
os.fork = signalled
forks = ForkServer(lambda: None, lambda number: 7, lambda number: None)
for _ in range(2):
    forks.start(1)
    print(forks.ended())
forks.close()
"""


def test_a_signal_at_the_fork_and_a_fork_that_fails():
    """Neither ends the process that forks; a worker that could not be made may be made later."""
    done = run(UNLUCKY)
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-2:] == ["(1, 1)", "(1, 7)"], done.stderr


# A worker in the middle of its start, which waits and listens to nobody; or in the first moment
# of its life.
ORPHAN = """
import os, signal, sys
from scepkit.server.processes.fork_server import ForkServer

reading, writing = os.pipe()
real = os.fork
forks = 0

def fork():
    global forks
    forks += 1
    pid = real()
    if pid == 0 and forks == 2 and sys.argv[1] == "at once":
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            pass
    return pid

def start_for_ever(number):
    os.write(writing, b"%d" % os.getppid())
    while True:
        signal.pause()

os.fork = fork
server = ForkServer(lambda: None, start_for_ever, lambda number: None)
os.close(writing)
server.start(1)
if sys.argv[1] == "later":
    os.kill(int(os.read(reading, 100)), signal.SIGKILL)
while os.read(reading, 100):
    pass  # until nobody has the other end
print("gone")
"""


@pytest.mark.parametrize("killed", ["at once", "later"])
def test_a_worker_ends_when_the_process_that_forks_is_gone(killed):
    """Else it would keep the port for as long as it waits for others that never come."""
    done = run(ORPHAN, killed)
    assert done.stdout == "gone\n", done.stderr


@pytest.mark.parametrize(("number", "module"), [(0, key_reading), (3, committing)])
def test_a_process_that_does_not_serve_lets_go_of_the_ports(monkeypatch, number, module):
    """Of two workers, the one that commits and the one that reads keys at a reload."""
    monkeypatch.setattr(module, "work", lambda *_: 7)
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        work = workers._Work(2, 3, SimpleNamespace(key_reader=None), one, other)
        assert work(number) == 7
        assert one.fileno() == other.fileno() == -1


class Forks:
    """As much of a ForkServer as is told what to do."""

    def __init__(self, _load, _work, _beat):
        self.did = []

    def start(self, number):
        self.did.append(number)

    def send(self, number, sent):
        self.did.append((number, sent))


# Loaded by each interpreter at its start: notes which process imports the application.
NOTING = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "scepkit.server.app":
            with open(os.environ["NOTED"], "a") as file:
                print(os.getpid(), file=file)

sys.meta_path.insert(0, Finder())
"""


def test_the_application_is_imported_once_before_the_first_fork(directory, serve, tmp_path):
    """So the supervisor and all workers share the memory of it."""
    (tmp_path / "sitecustomize.py").write_text(NOTING)
    noted = tmp_path / "noted"
    places = os.pathsep.join(
        [str(tmp_path), *environment().get("PYTHONPATH", "").split(os.pathsep)]
    )
    server = serve(directory(), "--workers", "2", PYTHONPATH=places, NOTED=str(noted))
    wait_until(lambda: len(server.workers) == 2, "the start of both")
    server.ask("/healthz")
    assert [int(pid) for pid in noted.read_text().split()] == [server.pid]


@pytest.mark.parametrize("unused", ["rich", "sqlalchemy.dialects.postgresql", "alembic"])
def test_a_server_with_sqlite_imports_nothing_that_it_does_not_use(unused):
    """Each would be megabytes for as long as it runs."""
    program = f"import sys, scepkit.server.processes.worker; sys.exit({unused!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False, env=environment())
    assert done.returncode == 0


def test_what_a_killed_server_left_is_removed(tmp_path, monkeypatch):
    """What is locked is in use, what is new will be, and what is no directory is nobody's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, new, other = (tmp_path / f"{name}" for name in ("scep-workers-1", "scep-workers-2", "x"))
    for path in (left, new, other):
        path.mkdir()
        (path / "file").touch()
    (tmp_path / "scep-workers-link").symlink_to(other)
    with share(2) as shared:
        kept = shared.directory
        assert left.exists()
        for path in (left, other, kept):
            os.utime(path, (0, 0))
        with share(2):
            assert not left.exists()
            assert kept.exists()
    assert (new / "file").exists()
    assert (other / "file").exists()


@pytest.fixture
def clock(monkeypatch):
    """Set the time by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(workers.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def processes(monkeypatch, clock):
    """Return two workers that have started."""
    monkeypatch.setattr(workers, "ForkServer", Forks)
    two = SimpleNamespace(workers=2)
    processes = WorkerProcesses(two, SimpleNamespace(heartbeats=Heartbeats(2)), None)
    for number in (1, 2):
        processes._start(number)
    processes._forks.did.clear()
    return processes


def test_a_worker_that_hangs_is_killed_once(processes, clock):
    """And replaced when it has ended; who gives a sign of life is left alone."""
    clock.now += workers._SILENT + 1
    processes._heartbeats.beat(2)
    for _ in range(2):
        processes._kill_silent(is_late=False)
    assert processes._forks.did == [(1, signal.SIGKILL)]
    processes._replace(1, -signal.SIGKILL)
    processes._start_due(clock.now)
    assert processes._forks.did[1:] == [1]


def test_a_worker_that_ends_at_once_is_replaced_in_a_while(processes, clock):
    """One that fails at each start takes no processor for itself, and fills no log."""
    processes._replace(1, 1)
    processes._start_due(clock.now)
    assert processes._forks.did == []
    clock.now += workers._PAUSE
    for _ in range(2):
        processes._start_due(clock.now)
    assert processes._forks.did == [1]


def test_a_worker_that_waits_for_its_start_is_not_started_at_the_end(processes, clock):
    processes._replace(1, 1)
    processes._stop_all()
    clock.now += 3600
    processes._start_due(clock.now)
    processes._replace(2, 0)
    assert processes._forks.did == [(2, signal.SIGTERM)]
    assert not processes._running
    assert not processes._due


def test_a_supervisor_that_stood_still_kills_nobody(processes, clock):
    """The machine slept, or all of them were stopped together."""
    clock.now += 3600
    processes._kill_silent(is_late=True)
    processes._kill_silent(is_late=False)
    assert processes._forks.did == []


def test_a_worker_that_cannot_start_ends_all(processes):
    processes._replace(1, STARTUP_FAILURE)
    assert not processes._could_start
    assert processes._forks.did == [(2, signal.SIGTERM)]
    processes._replace(2, 0)
    assert processes._forks.did[1:] == []


def test_a_worker_waits_for_the_committer_before_it_asks_the_supervisor(monkeypatch, tmp_path):
    """A reload waits for all that have asked, and the committer that starts for the reload."""
    asked = []

    def no_committer(_connect):
        raise StoreError("there is none")

    monkeypatch.setattr(worker, "await_committer", no_committer)
    monkeypatch.setattr(worker, "Supervisor", asked.append)
    shared = SimpleNamespace(
        committer=tmp_path / "committer", supervisor=None, mark_of_start=tmp_path / "started"
    )
    with pytest.raises(SystemExit) as ended:
        worker._application(1, shared, has_committer=True)
    assert ended.value.code == STARTUP_FAILURE
    assert asked == []
