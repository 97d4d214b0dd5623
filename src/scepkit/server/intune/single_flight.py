"""Calls that are made once, however many ask for them at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from scepkit.errors import ThirdPartyFailed

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Makes calls that go on though whoever asked has gone; for one event loop.

    Args:
        most: how many may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: dict[str, asyncio.Task[_T]] = {}

    async def run(self, key: str, call: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Return the result of the call under way by that key, or of a new one.

        Args:
            key: what is called for.
            call: begins it.

        Raises:
            ThirdPartyFailed: as many are under way already as may.
            Exception: what the call raises.
        """
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= self._most:
                raise ThirdPartyFailed(
                    f"{self._most} calls are under way already",
                    hint="look at the service, or raise the setting max_waiting",
                )
            task = asyncio.ensure_future(call())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: str, task: asyncio.Task[_T]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            # Else an error that nobody waits for any more would be a complaint of its own.
            task.exception()
