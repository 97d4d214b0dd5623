"""The promise to whoever submits an entry to a writer, and the reasons why it cannot be kept."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from scepkit.errors import StoreError
from scepkit.store.engine import fault

QUEUE_LIMIT = 1024  # entries that wait: beyond it a device does better to come back later

_ACTION = "store the certificate"


class Promise(Protocol):
    """Takes what comes of an entry: a Future does, or what knows where to hand it over.

    A Future has a lock and a condition of its own, which many requests need not pay for.
    """

    def set_running_or_notify_cancel(self) -> bool:
        """Say whether the entry is wanted still; from now on it will be written."""

    def set_result(self, result: Any, /) -> None:
        """Take the answer of an entry whose commit is on the disk."""

    def set_exception(self, exception: Exception, /) -> None:
        """Take the reason why there is no answer."""


def closed() -> StoreError:
    """Return the error for what is submitted after the end."""
    return StoreError("the store is closed", hint="open it again")


def full(limit: int) -> StoreError:
    """Return the error for what is submitted while too much waits."""
    return StoreError(
        f"{limit} certificates wait to be stored already",
        hint="answer 503 and look at the speed of the disk",
    )


def failed(error: Exception) -> Exception:
    """Return the error of an entry whose commit failed."""
    if isinstance(error, (SQLAlchemyError, OSError)):
        failure = fault(_ACTION, error)
        failure.__cause__ = error
        return failure
    return error
