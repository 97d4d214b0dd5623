"""The hooks: commands that put a new certificate to use, such as `systemctl reload nginx`.

A hook gets words, and no shell; where the files are is in its environment. It has a time limit, and
what it started goes with it when that is over.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from scepkit.client.agent.settings import Command
from scepkit.client.agent.state import MOST_LINES
from scepkit.client.folder import Folder, place
from scepkit.errors import SettingsError
from scepkit.protocol.certificate import Certificate, show_serial

_KEPT = 4096  # octets of its output
_PIPE = 1024 * 1024  # octets that a pipe holds at most
_TICK = 0.1  # seconds between two looks whether it has ended
_GRACE = 2.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True, slots=True)
class HookFailure:
    """A failed hook.

    Attributes:
        said: why, in a line.
        exit_status: its own; None where it has none.
        output: the last lines of its output.
    """

    said: str
    exit_status: int | None = None
    output: tuple[str, ...] = ()


def environment(folder: Folder, certificate: Certificate) -> dict[str, str]:
    """Return the environment of a hook: this process's without SCEP_…, and the paths.

    Args:
        folder: the directory, whose paths are made absolute.
        certificate: the new one.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCEP_")}
    files = {f"SCEP_{name.upper()}": str(path.absolute()) for name, path in folder.files().items()}
    return {
        **inherited,
        **files,
        "SCEP_DIR": str(folder.path.absolute()),
        "SCEP_SERIAL": show_serial(certificate.serial),
        "SCEP_SUBJECT": str(certificate.subject_name).replace("\0", "\\00"),
        "SCEP_NOT_AFTER": certificate.not_after.isoformat(timespec="seconds"),
    }


def run(command: Command, variables: Mapping[str, str], limit: timedelta) -> HookFailure | None:
    """Run a hook to its end; return why it failed, None if it did not.

    A program that others can write or replace is not run: it would have the agent's rights.

    Args:
        command: its words.
        variables: its whole environment.
        limit: how long it may take.
    """
    program = shutil.which(command[0], path=variables.get("PATH"))
    if program is None:
        return HookFailure(f"there is no program {command[0]}, or it cannot be run")
    try:
        place.check_program(Path(program))
        process = subprocess.Popen(  # noqa: S603 - its words are the operator's
            command,
            executable=program,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
    except SettingsError as error:
        return HookFailure(f"{error.message}: {error.hint}")
    except OSError as error:
        return HookFailure(f"cannot run {command[0]}: {error.strerror}")
    try:
        output, is_over = _watch(process, time.monotonic() + limit.total_seconds())
    except BaseException:
        _kill(process)
        raise
    if not is_over:
        _kill(process)
        return HookFailure(
            f"{command[0]} did not end within {limit.total_seconds():g} s, and was killed",
            output=_lines(output),
        )
    status = process.returncode
    if status == 0:
        return None
    how = f"status {status}" if status > 0 else f"signal {-status}"
    return HookFailure(f"{command[0]} ended with {how}", status, _lines(output))


def _watch(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Wait for a process, and read what it says meanwhile.

    What it left running may hold its output open: its own end is what counts.

    Returns:
        The end of its output, and whether it ended in time.
    """
    pipe, kept = process.stdout, b""
    if pipe is None:  # for the type checker
        return kept, True
    with pipe:
        is_open = True
        while process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return kept, False
            if not is_open:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(left, _TICK))
                continue
            more = _read(pipe.fileno(), min(left, _TICK))
            is_open = more != b""
            kept = (kept + (more or b""))[-_KEPT:]
        # What it wrote is in the pipe; what it left running may write for ever.
        for _ in range(_PIPE // _KEPT if is_open else 0):
            kept = (kept + (_read(pipe.fileno(), 0) or b""))[-_KEPT:]
    return kept, True


def _read(descriptor: int, seconds: float) -> bytes | None:
    """Return what can be read within a time; None for nothing, b"" at the end."""
    ready, _, _ = select.select([descriptor], [], [], seconds)
    return os.read(descriptor, _KEPT) if ready else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, which are a group of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        # Others of the group may still be there.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(output: bytes) -> tuple[str, ...]:
    text = output.decode("utf-8", "replace")
    return tuple(line for line in text.splitlines() if line.strip())[-MOST_LINES:]
