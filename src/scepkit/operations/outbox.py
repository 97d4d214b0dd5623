"""An operator's view of the outbox: deliveries found by their ids, tried again, dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scepkit.errors import Hint, UsageError
from scepkit.store import Delivery, Store

_LEAST = 4  # characters of an id


def named(store: Store, ids: Iterable[str]) -> list[Delivery]:
    """Return the deliveries with these ids, each once.

    Args:
        store: where they are.
        ids: whole, or so much of the beginning that only one has it.

    Raises:
        UsageError: there is no such delivery, or there are several.
        StoreError: the database cannot be read.
    """
    found: dict[int, Delivery] = {}
    for text in ids:
        some = store.delivery(text.lower()) if len(text) >= _LEAST else []
        if len(some) != 1:
            what = "several deliveries begin" if some else "no delivery begins"
            raise UsageError(
                f"{what} with the id {text!r}",
                hint=Hint.DELIVERIES,
            )
        found[some[0].id] = some[0]
    return [*found.values()]


def chosen(
    store: Store, ids: Sequence[str], *, every: bool, notification: str | None
) -> list[Delivery]:
    """Return the deliveries that an operator chooses.

    Args:
        store: where they are.
        ids: as in `named`.
        every: whether all that were given up are meant, in place of ids.
        notification: only those of this one.

    Raises:
        UsageError: not exactly one of the two ways was taken, or an id is none.
        StoreError: the database cannot be read.
    """
    if bool(ids) == every:
        raise UsageError("name the deliveries in exactly one way", hint=Hint.CHOSEN_DELIVERIES)
    if ids:
        return named(store, ids)
    return [*store.deliveries(notification=notification, dead=True)]
