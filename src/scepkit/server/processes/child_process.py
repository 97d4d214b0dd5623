"""A child process that does what leaves something in memory, and is gone with it.

What was freed is not wiped: a private key that a process has read may be found in its memory for as
long as it runs, and in that of each process which it forks.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

from scepkit.errors import Local, ScepError

_Result = TypeVar("_Result")


def in_child(work: Callable[[], _Result]) -> _Result:
    """Call a function in a child process, and return what it returns.

    For a process with a single thread: a lock that another one holds would be held in the child for
    ever.

    Args:
        work: the function; what it returns goes through a pipe, and can be pickled.

    Raises:
        ScepError: the function raised it.
        Local: the child was killed, or there is a bug.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        run_and_exit(lambda: _tell(writing, work))
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    os.waitpid(child, 0)
    if not told:
        raise Local(
            "a child process ended before it was done",
            hint="somebody killed it, or the system for want of memory; or what is above says why",
        )
    outcome = pickle.loads(told)  # noqa: S301 - from this program itself
    if isinstance(outcome, ScepError):
        raise outcome
    return outcome  # type: ignore[no-any-return]


def _tell(writing: int, work: Callable[[], object]) -> int:
    """Write what a function returns, or the error that it raises."""
    try:
        outcome = work()
    except ScepError as error:
        outcome = error
    # A parent that was killed is told nothing.
    with suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
        pickle.dump(outcome, file)
    return 0


def run_and_exit(run: Callable[[], int]) -> NoReturn:
    """End this process after a function, whatever comes of it: nothing of the caller's goes on."""
    status = 1
    try:
        status = run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        # The parent has it, too, and says so.
        status = 130
    except BaseException:  # noqa: BLE001 - there is nobody above who could see it
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)
