"""Challenges that were made under an Idempotency-Key: what the key is answered with again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select
from sqlalchemy.exc import IntegrityError

from scepkit.store.column_types import UTCDateTime
from scepkit.store.tables.challenges import mintings

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

KEPT = timedelta(hours=24)
"""The time for which a key is remembered; a challenge stays longer, whatever its lifetime."""

# Of those that are over, so many go with each new one: none has to be looked for.
_SOME = 10

_BEFORE = bindparam("before", type_=UTCDateTime)
_THIS = (mintings.c.token == bindparam("its_token"), mintings.c.key_mac == bindparam("its_mac"))
FIND = select(mintings.c.asked, mintings.c.salt).where(*_THIS, mintings.c.created_at >= _BEFORE)
ADD = insert(mintings)
_OVER = (
    select(mintings.c.id)
    .where(mintings.c.created_at < _BEFORE)
    .order_by(mintings.c.created_at)
    .limit(_SOME)
    .with_for_update(skip_locked=True)
)
_SAME = select(mintings.c.id).where(*_THIS, mintings.c.created_at < _BEFORE)
DELETE = delete(mintings).where(
    or_(mintings.c.id.in_(_OVER.scalar_subquery()), mintings.c.id.in_(_SAME.scalar_subquery()))
)


class KeyTaken(Exception):
    """Somebody else has just made challenges under the same key; none was made."""


class NewMinting(NamedTuple):
    """A key under which challenges are made.

    Attributes:
        token: the number of the token that asks.
        key_mac: a keyed digest of the key.
        asked: SHA-256 of what is asked for.
        salt: what the secrets are derived with.
        created_at: aware.
    """

    token: int
    key_mac: bytes
    asked: bytes
    salt: bytes
    created_at: datetime


class Minting(NamedTuple):
    """A minting as it is stored under its key; the members are those of `NewMinting`."""

    asked: bytes
    salt: bytes


def find(connection: Connection, token: int, key_mac: bytes, now: datetime) -> Minting | None:
    """Return what is remembered of a key; None where nothing is, or not any more."""
    values = {"its_token": token, "its_mac": key_mac, "before": now - KEPT}
    row = connection.execute(FIND, values).first()
    return None if row is None else Minting(*row)


def add(connection: Connection, new: NewMinting) -> None:
    """Remember a key, in the transaction that makes its challenges.

    Raises:
        KeyTaken: it is there already; the transaction has to end.
    """
    over = {"before": new.created_at - KEPT, "its_token": new.token, "its_mac": new.key_mac}
    connection.execute(DELETE, over)
    try:
        connection.execute(ADD, new._asdict())
    except IntegrityError as error:
        raise KeyTaken from error
