"""Challenges: the rules by which a challengePassword entitles a request (RFC 8894 section 2.4).

Whatever the rule, all reasons to refuse one are one answer to the peer (checklist P-59); the log
has the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from scepkit.errors import BadRequest
from scepkit.protocol.csr import MAX_CHALLENGE_LENGTH

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.store import Challenge

MAX_LENGTH = 255
"""The characters that a challengePassword may have (RFC 2985 section 5.4.1)."""

MAX_SERVICE_LENGTH = MAX_CHALLENGE_LENGTH
"""The characters of one that a service judges; those of Intune have some 8 000."""

REFUSED = "the challengePassword is missing or not valid for this request"


class ChallengeRule(Protocol):
    """Judges challengePasswords (RFC 8894 section 2.4)."""

    @property
    def max_length(self) -> int:
        """Return the characters that one may have to be judged at all."""

    def judge(self, request: CertificationRequest, now: datetime) -> Challenge | None:
        """Judge the challenge of a first enrolment; return the challenge to spend, if any.

        Raises:
            BadRequest: it is missing or not right.
        """

    def confirm(
        self, request: CertificationRequest, now: datetime, renewed: Name
    ) -> Challenge | None:
        """Judge the challenge that a renewal has without need.

        Raises:
            BadRequest: it is not right.
        """

    def password(self, transaction_id: bytes) -> str | None:
        """Name the password of a request that is encrypted with one; None if it is not known."""


@dataclass(frozen=True, slots=True)
class NoChallenge:
    """No shared secrets here: an operator decides.

    Some devices send one all the same: IOS asks its user for a revocation password (L-25).
    """

    max_length: ClassVar[int] = MAX_LENGTH

    def judge(self, request: CertificationRequest, now: datetime) -> None:
        """Take no notice."""

    def confirm(
        self,
        request: CertificationRequest,
        now: datetime,
        renewed: Name,
    ) -> None:
        """Take no notice."""

    def password(self, transaction_id: bytes) -> None:
        """Know none."""


def too_long(challenge_password: str, most: int) -> BadRequest:
    """Return the refusal of a challengePassword that is longer than may be, like a wrong one's.

    Args:
        challenge_password: the challengePassword.
        most: the characters that it may have.
    """
    return refused(
        f"the challengePassword has {len(challenge_password)} characters, "
        f"at most {most} are taken here"
    )


def missing(request: CertificationRequest) -> BadRequest:
    """Return the refusal for a request without a challengePassword; the log says where one is."""
    if request.has_challenge_extension:
        return refused(
            "no challengePassword attribute; there is a challengePassword among the requested "
            "extensions, where it does not count"
        )
    return refused("no challengePassword")


def refused(reason: str) -> BadRequest:
    """Return the one refusal for every challenge that is not right (P-59).

    Args:
        reason: for the log only.
    """
    hint = "make another challenge for it"
    return BadRequest(
        reason, text=REFUSED, hint=hint, rule="challenge", attribute="challengePassword"
    )
