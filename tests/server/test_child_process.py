"""What a child process does for its parent: its result, its error, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from scepkit.errors import Local, NewerDatabase, StoreError
from scepkit.server.processes.child_process import in_child
from server.live import environment
from waiting import PATIENCE


def test_the_result_comes_back_and_nothing_else():
    seen = []

    def work():
        seen.append(1)
        return os.getpid(), ("made", b"\0" * 100_000)

    pid, rest = in_child(work)
    assert pid != os.getpid()
    assert rest == ("made", b"\0" * 100_000)
    assert seen == []


def test_an_error_keeps_its_class_and_its_hint():
    def fail():
        raise NewerDatabase("it is newer", hint="install that version")

    with pytest.raises(StoreError) as refused:
        in_child(fail)
    assert type(refused.value) is NewerDatabase
    assert (refused.value.message, refused.value.hint) == ("it is newer", "install that version")


def test_a_child_that_is_killed():
    with pytest.raises(Local, match="ended before it was done"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_a_bug_is_shown(capfd):
    with pytest.raises(Local, match="ended before it was done"):
        in_child(lambda: 1 // 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_the_checks_of_a_first_start_leave_neither_keys_nor_alembic(tmp_path):
    """The tables are made, and the CA, and this process has imported nothing to make tables."""
    code = (
        "import pathlib, sys; from scepkit.server import run\n"
        "from scepkit.server.directory import data_directory\n"
        "home = data_directory.begin(pathlib.Path(sys.argv[1]), layout='ec')\n"
        "checked = run.check(home, 'ec')\n"
        "print(checked.made, len(checked.sound), home.authorities, 'alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "new"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        timeout=PATIENCE,
    )
    assert done.stdout == "('default',) 3 {} False\n"
    assert (tmp_path / "new" / "ca.pem").exists()
