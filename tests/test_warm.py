"""What is forked from a process that has loaded `scepkit` is a process like any other."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import warm
from waiting import wait_until

WAITS = "import signal; print('ready', flush=True); signal.pause()"


@pytest.fixture
def program(tmp_path):
    """Write a program that runs in front of `scep`."""

    def program(text):
        path = tmp_path / "customized.py"
        path.write_text(text)
        return path

    return program


def test_it_says_and_ends_as_the_command_does(tmp_path):
    for words in (["--version"], ["status", "nowhere"], ["no-such-command"]):
        made = [
            warm.run(words, env={**os.environ, **how}, cwd=tmp_path)
            for how in ({}, {"PYTHONUTF8": "1"})
        ]
        # The second one cannot be forked: Python reads the variable when it starts.
        assert vars(made[0]) == vars(made[1])


def test_it_has_what_it_was_given(tmp_path, program):
    text = "import os, sys; print(os.getcwd(), os.environ['GIVEN'], os.getsid(0) == os.getpid())"
    how = {"env": {**os.environ, "GIVEN": "this"}, "cwd": tmp_path, "customize": program(text)}
    for own in (True, False):
        with warm.start(["--version"], start_new_session=own, **how) as started:
            said = started.stdout.readline().split()
        assert said == [str(tmp_path), "this", str(own)]


def test_nothing_of_one_is_in_the_next(program):
    text = "import scepkit.errors as one; print(getattr(one, 'left', 'clean')); one.left = 'here'"
    for _ in range(2):
        done = warm.run(["--version"], env=os.environ, customize=program(text))
        assert done.stdout.startswith("clean\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it(program, number):
    with warm.start([], env=os.environ, customize=program(WAITS)) as started:
        assert started.stdout.readline() == "ready\n"
        assert started.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            started.communicate(timeout=0.01)
        started.send_signal(number)
        assert started.wait() == -number
    assert started.poll() == -number
    wait_until(lambda: not Path(f"/proc/{started.pid}").exists(), "its end")
    started.kill()  # nobody
