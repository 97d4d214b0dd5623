"""Tokens of the API: added, found by their prefix, listed, voided; and when each was last used."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, insert, or_, select, update

from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.column_types import UTCDateTime
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

ADD = insert(tokens).returning(tokens.c.id)
BY_PREFIX = Prepared(select(tokens).where(tokens.c.prefix == bindparam("its_prefix")))
BY_NUMBER = select(tokens).where(tokens.c.id == bindparam("its_id"))
ALL = select(tokens).order_by(tokens.c.id)
VOID = (
    update(tokens)
    .where(tokens.c.id == bindparam("its_id"), tokens.c.voided_at.is_(None))
    .values(
        voided_at=bindparam("now", type_=UTCDateTime),
        voided_by=bindparam("by"),
        void_reason=bindparam("why"),
    )
)
USED = (
    update(tokens)
    .where(
        and_(
            tokens.c.id == bindparam("its_id"),
            or_(
                tokens.c.last_used_at.is_(None),
                tokens.c.last_used_at < bindparam("now", type_=UTCDateTime),
            ),
        )
    )
    .values(last_used_at=bindparam("now", type_=UTCDateTime))
)


class TokenState(StrEnum):
    """The state of a token; one that is void stays so when it expires."""

    VALID = "valid"
    EXPIRED = "expired"
    VOID = "void"


class NewToken(NamedTuple):
    """A token to be added; the secret itself never comes here.

    Attributes:
        name: what people and the audit record call it.
        prefix: the part of it that everybody may see; no other one has it.
        digest: the SHA-256 of the whole token.
        scopes: what it is good for.
        endpoints: the names of the endpoints that it is good at.
        created_at: aware.
        created_by: who makes it.
        expires_at: aware; from this instant on it is refused.
    """

    name: str
    prefix: str
    digest: bytes
    scopes: tuple[str, ...]
    endpoints: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime


class Token(NamedTuple):
    """A stored token; the members are those of its row, see `NewToken`."""

    id: int
    name: str
    prefix: str
    digest: bytes
    scopes: tuple[str, ...]
    endpoints: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None = None
    voided_at: datetime | None = None
    voided_by: str | None = None
    void_reason: str | None = None

    def __repr__(self) -> str:
        """Name it, and never show the digest."""
        return f"<token {self.id}, {self.prefix}>"

    @property
    def actor(self) -> str:
        """Return who acts with it, for the record."""
        known = "" if self.name == self.prefix else f", {self.prefix}"
        return f"token {self.name}{known}"

    def state(self, now: datetime) -> TokenState:
        """Return its present state."""
        if self.voided_at is not None:
            return TokenState.VOID
        return TokenState.VALID if now < self.expires_at else TokenState.EXPIRED


class TokenRecords(Database):
    """The part of the store with the tokens of the API."""

    def add_token(self, new: NewToken, *, reason: str = "") -> int:
        """Add a token and return its number; it is on the disk when this returns.

        Args:
            new: the token.
            reason: why, for the record.

        Raises:
            StoreError: the database cannot be written.
        """
        details = {
            "token": new.name,
            "prefix": new.prefix,
            "scopes": [*new.scopes],
            "endpoints": [*new.endpoints],
            "expires": time_text(new.expires_at),
        }
        event = AuditEvent(
            AuditAction.TOKEN_CREATED,
            new.created_by,
            new.created_at,
            endpoint=new.endpoints[0] if len(new.endpoints) == 1 else None,
            reason=reason or None,
            details=details,
        )
        row = new._asdict() | {"scopes": [*new.scopes], "endpoints": [*new.endpoints]}
        with self._writing("add the token") as connection:
            number: int = connection.execute(ADD, row).scalar_one()
            self._audit.append(connection, [event])
        return number

    def find_token(self, prefix: str) -> Token | None:
        """Return the token with that prefix, in any state; None where there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self._look_up(BY_PREFIX, {"its_prefix": prefix})
        return None if row is None else _token(row)

    def token(self, number: int) -> Token | None:
        """Return the token with that number; None where there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            row = connection.execute(BY_NUMBER, {"its_id": number}).first()
            return None if row is None else _token(row)

    def tokens(self) -> list[Token]:
        """Return all tokens, oldest first.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return [_token(row) for row in connection.execute(ALL)]

    def void_token(self, token: Token, *, by: str, now: datetime, reason: str = "") -> bool:
        """Take a token back, so that it is good for nothing; return whether it was not void.

        Args:
            token: the token.
            by: who takes it back, for the record.
            now: aware.
            reason: why, for the record.

        Raises:
            StoreError: the database cannot be written.
        """
        event = AuditEvent(
            AuditAction.TOKEN_VOIDED,
            by,
            now,
            reason=reason or None,
            details={"token": token.name, "prefix": token.prefix},
        )
        values = {"its_id": token.id, "by": by, "why": reason or None, "now": now}
        with self._writing("void the token") as connection:
            is_done = connection.execute(VOID, values).rowcount > 0
            if is_done:
                self._audit.append(connection, [event])
        return is_done

    def note_use(self, token: Token, now: datetime) -> None:
        """Note that a token was used.

        Args:
            token: the token.
            now: aware.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("note the use of a token") as connection:
            connection.execute(USED, {"its_id": token.id, "now": now})


def _token(columns: Sequence[Any]) -> Token:
    found = Token(*columns)
    return found._replace(scopes=tuple(found.scopes), endpoints=tuple(found.endpoints))
