"""Minting once: the same key gets the same challenges, whatever became of the first answer.

The secrets are derived from the token and the key, with the server's key of challenges and a salt.
The salt and digests are stored in the transaction that makes the challenges, and nothing from which
anybody could read a secret without the token. So an answer that was lost, also by a server that was
killed after that transaction, is worked out again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_bytes

from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.challenges.orders import ChallengeOrder, MintedChallenge
from scepkit.errors import UsageError
from scepkit.operations import challenges as operations
from scepkit.store import Door, KeyTaken, Minting, NewMinting

_SALT_SIZE = 16


class KeyReused(UsageError):
    """The key was used for something else."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key that somebody sent with a request.

    Attributes:
        text: the key; never the same for two requests of one token.
        token: the number of the token.
        secret: the token itself.
    """

    text: str = field(repr=False)
    token: int
    secret: str = field(repr=False)


def mint_once(
    challenges: OneTimeChallenges,
    orders: Sequence[ChallengeOrder],
    key: IdempotencyKey,
    *,
    door: Door,
    by: str,
    now: datetime,
) -> tuple[list[MintedChallenge], bool]:
    """Make and store a challenge for each order, unless that was done under the key before.

    Args:
        challenges: those of the endpoint.
        orders: what is wanted.
        key: the key.
        door: the way by which they are asked for.
        by: who asks, for the record.
        now: an aware datetime.

    Returns:
        The challenges, in the same order; and whether they were made before.

    Raises:
        KeyReused: something else was made under the key.
        TooManyPending: there are as many by this door already as may be.
        StoreError: the database does not answer.
    """
    mac = hmac.digest(challenges.key, key.text.encode("utf-8"), "sha256")
    asked = _digest(challenges.endpoint, orders)
    known = challenges.store.find_minting(key.token, mac, now)
    if known is None:
        salt = token_bytes(_SALT_SIZE)
        try:
            made = operations.mint(
                challenges,
                orders,
                door=door,
                by=by,
                now=now,
                secrets=_secrets(challenges, key, salt, len(orders)),
                minting=NewMinting(key.token, mac, asked, salt, now),
            )
        except KeyTaken:
            # By the same request, which came twice at the same moment.
            known = challenges.store.find_minting(key.token, mac, now)
            if known is None:
                raise KeyReused("the key was used a moment ago", hint="use another key") from None
        else:
            return made, False
    return _again(challenges, orders, key, known, asked), True


def _again(
    challenges: OneTimeChallenges,
    orders: Sequence[ChallengeOrder],
    key: IdempotencyKey,
    known: Minting,
    asked: bytes,
) -> list[MintedChallenge]:
    """Work out the challenges that were made under a key.

    Raises:
        KeyReused: they are others.
    """
    if known.asked != asked:
        raise KeyReused(
            "the key was used for another request", hint="use a new key for each new request"
        )
    secrets = _secrets(challenges, key, known.salt, len(orders))
    macs = [challenges.mac(one) for one in secrets]
    found = challenges.store.challenges_by_mac(challenges.endpoint, macs)
    if len(found) < len(macs):
        raise KeyReused("the challenges of this key are gone", hint="use another key")
    return [
        MintedChallenge(found[mac].id, secret, challenges.endpoint, order, found[mac].expires_at)
        for mac, secret, order in zip(macs, secrets, orders, strict=True)
    ]


def _secrets(
    challenges: OneTimeChallenges, key: IdempotencyKey, salt: bytes, count: int
) -> list[str]:
    seed = hmac.digest(key.secret.encode("ascii"), salt + key.text.encode("utf-8"), "sha256")
    return [challenges.derived(seed + number.to_bytes(4)) for number in range(count)]


def _digest(endpoint: str, orders: Sequence[ChallengeOrder]) -> bytes:
    """Return a digest of what is asked for, however it was written."""
    asked = [
        endpoint,
        *(
            [
                one.lifetime.total_seconds(),
                one.subject,
                one.sans,
                one.label,
                one.uses,
                one.form.value,
                sorted(one.data.items()),
            ]
            for one in orders
        ),
    ]
    return hashlib.sha256(json.dumps(asked).encode("utf-8")).digest()
