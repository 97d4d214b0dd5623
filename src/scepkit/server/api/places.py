"""Places for large requests: a few may be under way at once, and one of each token.

So whoever has one token, and sends a large body as slowly as it may be sent, holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scepkit.server.api.problems import unavailable

_TOO_MANY = "as many large requests as may be at once are being worked on"
_OF_SAME = "a large request of this token is being worked on"


class Places:
    """Places for large requests; for one event loop.

    Args:
        most: how many of all tokens may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[int] = set()

    @contextmanager
    def taken(self, token: int) -> Iterator[None]:
        """Take a place, and give it back after the block.

        Args:
            token: the number of the token that asks.

        Raises:
            ProblemError: the token has one already, or all are taken; HTTP 503.
        """
        if token in self._taken:
            raise unavailable(_OF_SAME)
        if len(self._taken) >= self._most:
            raise unavailable(_TOO_MANY)
        self._taken.add(token)
        try:
            yield
        finally:
            self._taken.remove(token)
