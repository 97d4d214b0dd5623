"""An operator's one-time challenges: minted, found, and taken back before anybody spends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.challenges.orders import ChallengeOrder, MintedChallenge
from scepkit.errors import Hint, UsageError
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.store import Challenge, Door, NewMinting, Store

_WORD = re.compile(r"[A-Za-z0-9]+")


def mint(
    challenges: OneTimeChallenges,
    orders: Sequence[ChallengeOrder],
    *,
    door: Door,
    by: str,
    now: datetime,
    reason: str = "",
    secrets: Sequence[str] = (),
    minting: NewMinting | None = None,
) -> list[MintedChallenge]:
    """Make and store a challenge for each order, all or none.

    The audit record has the door and who came by it.

    Args:
        challenges: those of the endpoint; their `max_pending` holds.
        orders: what is wanted.
        door: the way by which they are asked for.
        by: who asks: an operator, or the name of a credential of the door, never a secret.
        now: an aware datetime.
        reason: why, for the record.
        secrets: those that were derived, one for each order; none for random ones.
        minting: the key under which they are made, if there is one; see `minting`.

    Returns:
        The challenges, in the same order.

    Raises:
        KeyTaken: challenges were made under the key already.
        TooManyPending: there are as many by this door already as may be.
        StoreError: they cannot be stored.
    """
    drawn = [
        challenges.draw(order, now, door, secret)
        for order, secret in zip(orders, secrets or [""] * len(orders), strict=True)
    ]
    numbers = challenges.store.add_challenges(
        [new for _, new in drawn],
        by=by,
        reason=reason,
        max_pending=challenges.max_pending.get(door),
        minting=minting,
    )
    return [
        MintedChallenge(number, secret, new.endpoint, order, new.expires_at)
        for number, order, (secret, new) in zip(numbers, orders, drawn, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Voided:
    """The outcome of voiding.

    Attributes:
        ids: the numbers of the challenges that are void by it.
        late: the numbers of those that somebody spent or voided in the meantime.
    """

    ids: tuple[int, ...]
    late: tuple[int, ...]


def numbered(store: Store, ids: Iterable[int]) -> list[Challenge]:
    """Return the challenges with these numbers, each once, in any state.

    Raises:
        UsageError: there is no such challenge.
        StoreError: the database cannot be read.
    """
    found = []
    for number in dict.fromkeys(ids):
        challenge = store.challenge(number)
        if challenge is None:
            raise UsageError(f"there is no challenge {number}", hint=Hint.CHALLENGES)
        found.append(challenge)
    return found


def for_subject(store: Store, text: str, endpoint: str | None = None) -> list[Challenge]:
    """Return the challenges to be spent that are bound to exactly this subject.

    Args:
        store: where they are.
        text: the whole subject, RFC 4514; it compares as that of a request does.
        endpoint: only this endpoint's; all when None.

    Raises:
        UsageError: it is no subject.
        StoreError: the database cannot be read.
    """
    asked = parse_subject(text)
    subject = Name.of(asked)
    # A piece of it to look for; what is found is compared with all of it.
    words = [word for attribute in asked for word in _WORD.findall(str(attribute.value))]
    part = max(words, key=len, default=None)
    return [
        one
        for one in store.challenges(endpoint=endpoint, subject=part, is_open=True)
        if one.subject is not None and Name.parse(one.subject).matches(subject)
    ]


def void(
    store: Store,
    challenges: Sequence[Challenge],
    *,
    by: str,
    now: datetime,
    reason: str = "",
    advance: Callable[[int], None] = lambda _more: None,
) -> Voided:
    """Take challenges back; operator, time and reason are kept with each.

    Each is judged in the statement that voids it, so that of a request that spends it and of this
    exactly one succeeds.

    Args:
        store: where they are.
        challenges: which ones.
        by: who takes them back.
        now: an aware datetime.
        reason: why, for the record.
        advance: called with how many more are done.

    Raises:
        StoreError: the database cannot be written; those that were voided by then stay so.
    """
    wanted = [one.id for one in challenges]
    done: set[int] = set()
    for chunk in store.void_challenges(wanted, by=by, now=now, reason=reason):
        done.update(chunk)
        advance(len(chunk))
    return Voided(
        tuple(one for one in wanted if one in done), tuple(one for one in wanted if one not in done)
    )
