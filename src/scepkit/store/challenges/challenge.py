"""A one-time challenge as it is stored, and its state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from scepkit.store.tables.challenges import challenges
from scepkit.store.values import Door

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


_COLUMNS = [column.name for column in challenges.c]
_SANS, _DATA = (_COLUMNS.index(name) for name in ("sans", "data"))


class ChallengeState(StrEnum):
    """The state of a challenge; one that is spent or void stays so when it expires."""

    UNSPENT = "unspent"
    SPENT = "spent"
    EXPIRED = "expired"
    VOID = "void"


class Challenge(NamedTuple):
    """A stored challenge; `spent_serial` names the certificate that it was spent for.

    `label` is what people find it by, `data` what a profile may put into its certificate,
    `voided_by` who took it back, `void_reason` why. It is good for `uses` certificates, of which
    there are `used`; it is spent with the last one. `door` is the way by which it was asked for.
    """

    id: int
    endpoint: str
    mac: bytes
    subject: str | None
    sans: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    spent_at: datetime | None
    spent_serial: int | None
    label: str | None = None
    voided_at: datetime | None = None
    voided_by: str | None = None
    void_reason: str | None = None
    spent_issuer: bytes | None = None
    data: Mapping[str, str] = MappingProxyType({})
    uses: int = 1
    used: int = 0
    door: str = Door.COMMAND_LINE

    def __repr__(self) -> str:
        """Name it, and never show the MAC."""
        return f"<challenge {self.id} of {self.endpoint}>"

    def state(self, now: datetime) -> ChallengeState:
        """Return its present state."""
        if self.spent_at is not None:
            return ChallengeState.SPENT
        if self.voided_at is not None:
            return ChallengeState.VOID
        return ChallengeState.UNSPENT if now < self.expires_at else ChallengeState.EXPIRED


def challenge_of(columns: Sequence[Any]) -> Challenge:
    """Return the challenge of a row."""
    values = [*columns]
    values[_SANS], values[_DATA] = tuple(values[_SANS]), values[_DATA] or {}
    return Challenge._make(values)
