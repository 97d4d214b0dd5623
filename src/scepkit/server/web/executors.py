"""Where the work on requests is done: on the event loop itself, or in threads; chosen at assembly.

On the event loop it costs no hand-over to a thread and back, which is as much as reading a request.
It holds up everything else of its process, so only what computes may be done there, and only where
that holds up nothing that could go on:

- Each core has a worker process of its own: another thread would only take turns with this one.
- The database is SQLite, whose readers wait for nobody; in PostgreSQL they wait for a network.

Everything else goes to threads whatever the rule says: what waits for locks or the disk (CMP, words
of third parties, files of CAs, requests that may replace a certificate), what takes long (keys
derived in many rounds, CRLs). `ServedEndpoint.takes_long` says it of an endpoint's requests.
A key in hardware will belong there as well.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from sqlalchemy import make_url

from scepkit.server.settings import Settings

MOST_ROUNDS = 20_000
"""Rounds of key derivation that are no more work than a signature or two."""


class Executor(Protocol):
    """Has functions called."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> object:
        """Have a function called, soon; it raises nothing."""

    def shutdown(self) -> None:
        """Wait until all is done."""


class Turns:
    """Calls functions on the event loop, one for each time that it has looked at the network.

    So whatever else the loop does waits for one of them, and not for all that wait. Who has Turns
    of its own takes turns with the others.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> None:
        """Have a function called when its turn comes; it raises nothing."""
        self._waiting.append((work, arguments))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._take_one)

    def shutdown(self) -> None:
        """Do nothing: without requests there is no work."""

    def _take_one(self) -> None:
        work, arguments = self._waiting[0]
        try:
            work(*arguments)
        finally:
            # Not before: the work may submit more, which would take two turns at once.
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._take_one)


def threads_of(settings: Settings) -> int:
    """Return how many threads of each process compute; the worker processes share the cores."""
    return math.ceil(cores() / settings.workers)


def is_done_on_the_loop(settings: Settings) -> bool:
    """Say whether requests are decided on the event loop; see above."""
    is_sqlite = make_url(settings.database_url).get_backend_name() == "sqlite"
    return is_sqlite and threads_of(settings) == 1


def executors(settings: Settings) -> tuple[Executor, Executor]:
    """Return the executors of SCEP and of OCSP."""
    if is_done_on_the_loop(settings):
        return Turns(), Turns()
    pool = ThreadPoolExecutor(threads_of(settings), thread_name_prefix="scep")
    return pool, pool


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
