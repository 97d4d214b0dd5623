"""Run in each `scep` before it begins: another clock, or its end.

FAULTS_AHEAD     days that its clock is ahead
FAULTS_KILL_AT   number of the step before which it is killed: a file below FAULTS_ROOT is opened
                 to be written, renamed, removed, given away or made durable; something is sent
                 or started
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ahead = timedelta(days=float(os.environ.get("FAULTS_AHEAD") or 0))
kill_at = int(os.environ.get("FAULTS_KILL_AT") or 0)
root = os.environ.get("FAULTS_ROOT", "")
steps = itertools.count(1)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_OF_FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.chown"}
_OF_PROCESSES = {"socket.connect", "subprocess.Popen", "fcntl.flock"}


def _now(_zone=None):
    return datetime.now(UTC) + ahead


def _step():
    if next(steps) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def _see(event, words):
    is_change = event in _OF_FILES and _is_below(words[0])
    is_opened = event == "open" and _is_below(words[0]) and (words[2] or 0) & _WRITING
    if is_change or is_opened or event in _OF_PROCESSES:
        _step()


def _is_below(path):
    return isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(root)


if ahead and {"serve", "admin"} & {*sys.argv}:
    from scepkit.server.directory.data_directory import utc_now

    utc_now.__setstate__((_now, (), {}, None))
elif ahead:
    from scepkit.client import clock

    clock.now = _now
if "serve" not in sys.argv:
    _really_sleep = time.sleep
    # How long a device waits before it asks again is shown elsewhere.
    time.sleep = lambda seconds: _really_sleep(seconds / 20)
if kill_at:
    _really_sync = os.fsync

    def _fsync(descriptor):
        _step()
        _really_sync(descriptor)

    os.fsync = _fsync
    sys.addaudithook(_see)
