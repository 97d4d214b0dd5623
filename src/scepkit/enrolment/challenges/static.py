"""The static challenge: one secret that all devices of an endpoint share, and who guesses at it.

It does not expire, so there is time to guess. An address that was wrong too often is not judged any
more, right or wrong, until time has passed: else the answer would still tell. Other addresses are
never refused for its sake, since then any stranger could stop everybody; guesses of many addresses
together are slowed down and told to the operator.

A challenge that opens an envelope, where the CA has no RSA key, is guessed at in the same way. It
counts as wrong when the envelope cannot be read, whatever the reason: if a wrong password alone
counted, the bound would tell it from damaged content, which no sender may learn (P-54).
"""

from __future__ import annotations

import hmac
import math
import secrets
import string
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from scepkit.enrolment.challenges import MAX_LENGTH, missing, refused
from scepkit.errors import BoundReached

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name

# Lower-case letters and digits, to be typed without a shift key, but for those that look alike
# (0 and o, 1 and l): 32, five bits each. Every string type can hold them.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_BITS_EACH = 5

LEAST_BITS = 80
"""The least random bits: fewer can be found offline from a recorded request."""

MOST_BITS = MAX_LENGTH * _BITS_EACH
"""The most random bits in 255 characters of a challengePassword (RFC 2985 section 5.4.1)."""

_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_HEX = (string.digits + "abcdef", string.digits + "ABCDEF")
# ASCII's punctuation and the space; of what is not ASCII nobody knows how it was chosen.
_OTHERS = 33
# In a random secret of 80 bits hardly any character comes more often.
_REPEATS = 4

OF_ALL = "wrong static challenges of all addresses"
"""The name of the bound that only slows and alarms."""

_TOO_MANY_REQUESTS = 429
_RETRY_SECONDS = 60
# Of this process: no digest is kept.
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class StaticChallenge:
    """One secret for all devices: whoever reads it in one of them can enrol any other.

    Attributes:
        secret: the challengePassword.
        name: what the log calls it.
        start: when it begins to be good; None for long ago.
        end: when it is good no more; None for never.
    """

    max_length: ClassVar[int] = MAX_LENGTH
    secret: str = field(repr=False)
    name: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def judge(self, request: CertificationRequest, now: datetime) -> None:
        """Compare in constant time.

        Raises:
            BadRequest: it is missing, another one, or not good at this time; the same text for all.
        """
        StaticChallenges((self,)).judge(request, now)

    def confirm(
        self,
        request: CertificationRequest,
        now: datetime,
        renewed: Name,  # noqa: ARG002
    ) -> None:
        """Compare as for a first enrolment; raises the same."""
        self.judge(request, now)

    def password(self, transaction_id: bytes) -> str:  # noqa: ARG002
        """Return the one secret: every password-encrypted request must use it (P-26)."""
        return self.secret

    def is_good(self, now: datetime) -> bool:
        """Say whether it can be used at a time."""
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


@dataclass(frozen=True, slots=True)
class StaticChallenges:
    """The static challenges of an endpoint, where a new one is given out before the old one ends.

    Attributes:
        each: the challenges.
    """

    max_length: ClassVar[int] = MAX_LENGTH
    each: tuple[StaticChallenge, ...]

    def judge(self, request: CertificationRequest, now: datetime) -> None:
        """Compare with each of them, in the same time whichever it is; raises as theirs does."""
        if request.challenge_password is None:
            raise missing(request)
        given = _digest(request.challenge_password)
        same = [one for one in self.each if hmac.compare_digest(given, _digest(one.secret))]
        if not same:
            raise refused("the challengePassword is not the endpoint's")
        if not any(one.is_good(now) for one in same):
            names = ", ".join(repr(one.name) for one in same)
            raise refused(f"the static challenge {names} is not yet good, or no more")

    def confirm(self, request: CertificationRequest, now: datetime, renewed: Name) -> None:  # noqa: ARG002
        """Compare as for a first enrolment; raises the same."""
        self.judge(request, now)

    def password(self, transaction_id: bytes) -> str | None:  # noqa: ARG002
        """Return the secret where it is the only one: which of several opens a request is open."""
        return self.each[0].secret if len(self.each) == 1 else None


def _digest(secret: str) -> bytes:
    """Return a digest of one length, whatever the secret's, so that comparing tells none."""
    return hmac.digest(_DIGEST_KEY, secret.encode("utf-8", "surrogatepass"), "sha256")


def new(bits: int) -> str:
    """Return a fresh secret.

    Args:
        bits: how many random bits it has at least; `LEAST_BITS` to `MOST_BITS`.
    """
    while True:
        made = "".join(secrets.choice(_ALPHABET) for _ in range(-(-bits // _BITS_EACH)))
        # One of the shortest in a hundred has no digit, and would be warned of.
        if estimate_bits(made) >= LEAST_BITS:
            return made


def estimate_bits(secret: str) -> float:
    """Estimate how hard a secret is to guess, by its length and the kinds of its characters.

    Of words and dates it knows nothing: what people choose is weaker than it says. A character
    counts four times at most, however often it comes.

    Args:
        secret: the secret.
    """
    counted = sum(min(count, _REPEATS) for count in Counter(secret).values())
    return counted * math.log2(_alphabet_size(secret))


def _alphabet_size(secret: str) -> int:
    used = set(secret)
    for digits in _HEX:
        if used <= set(digits) and not used <= set(string.digits):
            return len(digits)
    size = sum(len(one) for one in _CLASSES if used & set(one))
    is_mixed = bool(used - set("".join(_CLASSES)))
    return max(2, size + (_OTHERS if is_mixed else 0))


def too_many_wrong() -> BoundReached:
    """Return the refusal of an address that was wrong too often.

    It is HTTP 429, since FAILURE would tell that the challenge is wrong.
    """
    return BoundReached(
        _TOO_MANY_REQUESTS,
        "too many wrong challenges from this address, try again later",
        bound="wrong static challenges",
        retry_after=_RETRY_SECONDS,
        hint="see in the log which devices there have a wrong challenge, or raise "
        "wrong_challenges_per_minute",
    )
