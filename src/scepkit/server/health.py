"""/healthz: whether the database can be read and written, and whether the CRLs are good.

A log that cannot be written changes no answer, and is `degraded` as well.
503 stands for "send devices and relying parties elsewhere". A CRL that cannot be made anew is no
reason for that while the last one is good, since it would no longer be served: that is `degraded`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from scepkit.errors import StoreError
from scepkit.server.crls import Problem
from scepkit.store import Store

# Seconds that an answer stands: who asks more often must not make the database write more often.
_STANDS = 1.0


class Health:
    """Answers /healthz.

    Args:
        store: the database; asked at most once a second.
        crl_problem: returns what is wrong with the CRLs.
        log_is_lost: returns whether the last line of the log could not be written.
    """

    def __init__(
        self,
        store: Store,
        crl_problem: Callable[[], Problem | None],
        log_is_lost: Callable[[], bool],
    ) -> None:
        self._store = store
        self._crl_problem = crl_problem
        self._log_is_lost = log_is_lost
        self._asking = asyncio.Lock()
        self._fault: str | None = None
        self._asked = -_STANDS

    async def answer(self, _request: Request) -> Response:
        """Answer 200, or 503 with the reason; 200 with one when it is degraded."""
        async with self._asking:
            if time.monotonic() - self._asked >= _STANDS:
                self._fault = await run_in_threadpool(self._ping)
                self._asked = time.monotonic()
        if self._fault is not None:
            return _answer(503, "fault", self._fault)
        problem = self._crl_problem()
        if problem is not None and problem.is_grave:
            return _answer(503, "fault", problem.reason)
        if problem is not None:
            return _answer(200, "degraded", problem.reason)
        if self._log_is_lost():
            return _answer(200, "degraded", "the log cannot be written")
        return JSONResponse({"status": "ok"})

    def _ping(self) -> str | None:
        try:
            self._store.ping()
        except StoreError as error:
            return error.message
        return None


def _answer(status: int, word: str, reason: str) -> Response:
    return JSONResponse({"status": word, "reason": reason}, status)
