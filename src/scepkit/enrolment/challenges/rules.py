"""The rules of an endpoint for challengePasswords other than one-time challenges."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from scepkit.enrolment.challenges.one_time import check_length, missing, refused
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.store import Challenge


class ChallengeRule(Protocol):
    """Judges challengePasswords (RFC 8894 section 2.4)."""

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

    def password(self, transaction_id: TransactionID) -> str | None:
        """Name the password of a request that is encrypted with one; None if it is not known."""


@dataclass(frozen=True, slots=True)
class StaticChallenge:
    """One secret for all devices: whoever reads it in one of them can enrol any other.

    Attributes:
        secret: the challengePassword.
    """

    secret: str = field(repr=False)

    def judge(self, request: CertificationRequest, now: datetime) -> None:  # noqa: ARG002
        """Compare in constant time.

        Raises:
            BadRequest: it is missing or another one; the same text for both.
        """
        if request.challenge_password is None:
            raise missing(request)
        check_length(request.challenge_password)
        given = request.challenge_password.encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self.secret.encode("utf-8")):
            raise refused("the challengePassword is not the endpoint's")

    def confirm(
        self,
        request: CertificationRequest,
        now: datetime,
        renewed: Name,  # noqa: ARG002
    ) -> None:
        """Compare as for a first enrolment; raises the same."""
        self.judge(request, now)

    def password(self, transaction_id: TransactionID) -> str:  # noqa: ARG002
        """Return the one secret: every password-encrypted request must use it (P-26)."""
        return self.secret


@dataclass(frozen=True, slots=True)
class NoChallenge:
    """No shared secrets here: an operator decides.

    Some devices send one all the same: IOS asks its user for a revocation password (L-25).
    """

    def judge(self, request: CertificationRequest, now: datetime) -> None:  # noqa: ARG002
        """Take no notice, but of its length: it may be kept."""
        check_length(request.challenge_password or "")

    def confirm(
        self,
        request: CertificationRequest,
        now: datetime,
        renewed: Name,  # noqa: ARG002
    ) -> None:
        """Take no notice, but of its length."""
        self.judge(request, now)

    def password(self, transaction_id: TransactionID) -> None:
        """Know none."""
