"""Wrong passwords: how many one address may try, and what becomes of many addresses together.

An address that was wrong too often is not judged any more, right or wrong, until time has passed:
else the answer would still tell. No account is ever locked, since then any stranger could lock it.
Guesses of many addresses together are slowed down and told to the operator.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from threading import Lock

from scepkit.errors import BoundReached

PER_MINUTE = 10
"""Wrong passwords of one address in a minute, per worker process."""

_TOO_MANY_REQUESTS = 429
_RETRY_SECONDS = 60
_MOST_KNOWN = 1000


def too_many_wrong() -> BoundReached:
    """Return the refusal of an address that was wrong too often."""
    return BoundReached(
        _TOO_MANY_REQUESTS,
        "too many wrong passwords from this address, try again in a minute",
        bound="wrong passwords",
        retry_after=_RETRY_SECONDS,
        hint="see in the log which address it is; a proxy has to name whom it asks for",
    )


class RightPasswords:
    """Remembers which passwords were right for which hashes, so that each is hashed once.

    Kept are digests under a key of this process. A password that was changed has another hash, and
    so is not known. Threads may share it.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def knows(self, password: bytes, stored: str) -> bool:
        """Say whether a password was right for a hash before."""
        digest = self._digest(password, stored)
        with self._lock:
            if digest not in self._known:
                return False
            self._known.move_to_end(digest)
            return True

    def remember(self, password: bytes, stored: str) -> None:
        """Remember a right password; of many the one that was not used for longest is forgotten."""
        with self._lock:
            self._known[self._digest(password, stored)] = None
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _digest(self, password: bytes, stored: str) -> bytes:
        return hmac.digest(self._key, stored.encode("ascii") + b"\0" + password, "sha256")
