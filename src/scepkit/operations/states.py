"""The states to look for, by the words that operators use."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states to look for: of certificates, of requests without one, and of refused ones."""

    ISSUED = "issued"
    """All certificates, however they stand."""
    VALID = "valid"
    SIGNED = "signed"
    REVOKED = "revoked"
    HELD = "held"
    EXPIRED = "expired"
    PLANNED = "planned"
    """Those that are to be revoked at a time to come."""
    PENDING = "pending"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    REFUSED = "refused"
    """By a rule, and by nobody in person."""

    @property
    def is_of_requests(self) -> bool:
        """Say whether it is a state of requests that wait, or have waited."""
        return self in (State.PENDING, State.REJECTED, State.LAPSED)
