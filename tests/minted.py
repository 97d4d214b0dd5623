"""Challenges as an operator makes them, for tests that need no more than the secrets."""

from __future__ import annotations

from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.operations.challenges import mint
from scepkit.store import Door


def secrets(challenges, *, now, lifetime, count=1, **bound):
    """Return new secrets."""
    order = ChallengeOrder.of(lifetime, **bound)
    return [
        one.secret
        for one in mint(challenges, [order] * count, door=Door.COMMAND_LINE, by="test", now=now)
    ]
