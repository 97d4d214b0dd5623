"""Tokens of the API: made, told apart from what is none, and taken back.

A token is `scep_`, eight characters by which it is known, `_`, and 52 that are secret: 256 random
bits. Of a random text that long a plain digest is enough to store.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from scepkit.enrolment.challenges.orders import read_label
from scepkit.errors import Hint, UsageError
from scepkit.store import NewToken, Store, Token

_FORM = re.compile(r"(scep_[a-z2-7]{8})_[a-z2-7]{52}")
_KNOWN_OCTETS, _SECRET_OCTETS = 5, 32

# Seconds after which another use of a token is written down.
_NOTED = timedelta(minutes=1)


class Scope(StrEnum):
    """The rights that a token may have."""

    CHALLENGES_READ = "challenges:read"
    CHALLENGES_WRITE = "challenges:write"


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A token that was made and stored.

    Attributes:
        text: the token, shown this once.
        token: what is kept of it.
    """

    text: str = field(repr=False)
    token: Token


def read_scopes(words: Sequence[str]) -> tuple[Scope, ...]:
    """Return scopes by their names, each once.

    Raises:
        UsageError: there is none, or one is not known.
    """
    known = ", ".join(Scope)
    if not words:
        raise UsageError("a token without a scope is good for nothing", hint=f"name some: {known}")
    for word in words:
        if word not in [*Scope]:
            raise UsageError(f"there is no scope {word[:60]!r}", hint=f"one of {known}")
    return tuple(dict.fromkeys(map(Scope, words)))


def create(
    store: Store,
    *,
    name: str,
    scopes: Sequence[Scope],
    endpoints: Sequence[str],
    lifetime: timedelta,
    by: str,
    now: datetime,
    reason: str = "",
) -> CreatedToken:
    """Make and store a token.

    Args:
        store: where tokens are.
        name: what it is called; "" for its prefix. Several may have one name.
        scopes: its rights.
        endpoints: the names of those that it is good at; they exist.
        lifetime: how long it can be used.
        by: who makes it, for the record.
        now: an aware datetime.
        reason: why, for the record.

    Raises:
        UsageError: the name cannot be shown in a line.
        StoreError: it cannot be stored.
    """
    prefix = f"scep_{_random(_KNOWN_OCTETS)}"
    text = f"{prefix}_{_random(_SECRET_OCTETS)}"
    new = NewToken(
        name=read_label(name) if name else prefix,
        prefix=prefix,
        digest=_digest(text),
        scopes=tuple(map(str, scopes)),
        endpoints=tuple(dict.fromkeys(endpoints)),
        created_at=now,
        created_by=by,
        expires_at=now + lifetime,
    )
    return CreatedToken(text, Token(store.add_token(new, reason=reason), *new))


def find(store: Store, text: str) -> Token | None:
    """Return the token that a text is, in any state; None for a text that is none.

    Raises:
        StoreError: the database cannot be read.
    """
    form = _FORM.fullmatch(text)
    found = store.find_token(form[1]) if form else None
    if found is None or not hmac.compare_digest(found.digest, _digest(text)):
        return None
    return found


def note_use(store: Store, token: Token, now: datetime) -> None:
    """Note that a token was used, unless that was written down within the last minute.

    Raises:
        StoreError: the database cannot be written.
    """
    if token.last_used_at is None or now - token.last_used_at >= _NOTED:
        store.note_use(token, now)


def named(store: Store, words: Collection[str]) -> list[Token]:
    """Return the tokens with these numbers or prefixes, each once, in any state.

    Raises:
        UsageError: one is none.
        StoreError: the database cannot be read.
    """
    found: dict[int, Token] = {}
    for word in words:
        one = store.token(int(word)) if word.isdecimal() and len(word) < 10 else None  # noqa: PLR2004
        one = one or store.find_token(word)
        if one is None:
            # Not the word: somebody may have given the token itself.
            raise UsageError(
                "there is no such token",
                hint=Hint.TOKENS,
            )
        found[one.id] = one
    return [*found.values()]


def void(
    store: Store, tokens: Sequence[Token], *, by: str, now: datetime, reason: str = ""
) -> list[Token]:
    """Take tokens back; return those that were not void before.

    Args:
        store: where they are.
        tokens: which ones.
        by: who takes them back.
        now: an aware datetime.
        reason: why, for the record.

    Raises:
        StoreError: the database cannot be written.
    """
    return [one for one in tokens if store.void_token(one, by=by, now=now, reason=reason)]


def _random(octets: int) -> str:
    return base64.b32encode(secrets.token_bytes(octets)).decode("ascii").rstrip("=").lower()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
