"""Selection of the rule that judges a challenge: by the challenge's shape alone.

No rule falls through to another one, so no challenge may have a shape that two rules take. Whether
there is such a challenge is computed, not tried.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NoReturn

from scepkit.enrolment.challenges import MAX_SERVICE_LENGTH, ChallengeRule, refused
from scepkit.protocol.value import value

if TYPE_CHECKING:
    from datetime import datetime

    from scepkit.enrolment.third_parties import Referee
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name

FORMS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "digits": frozenset(string.digits),
        "hex": frozenset(string.hexdigits),
        "upper-hex": frozenset(string.digits + "ABCDEF"),
        "base32": frozenset(string.ascii_uppercase + "234567"),
        "alphanumeric": frozenset(string.ascii_letters + string.digits),
        "base64": frozenset(string.ascii_letters + string.digits + "+/="),
    }
)
"""The characters of each form that a challenge may have."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The shape of the challenges that one rule takes.

    Attributes:
        prefix: their first characters.
        least: their length at least, the prefix included.
        most: their length at most.
        form: a name in `FORMS`: the characters after the prefix; "" for any.
    """

    prefix: str = ""
    least: int = 0
    most: int = MAX_SERVICE_LENGTH
    form: str = ""

    def takes(self, challenge: str) -> bool:
        """Say whether a challenge has this shape."""
        return (
            self.least <= len(challenge) <= self.most
            and challenge.startswith(self.prefix)
            and (not self.form or FORMS[self.form].issuperset(challenge[len(self.prefix) :]))
        )

    def takes_all(self, form: str, length: int) -> bool:
        """Say whether every challenge of a form and a length has this shape.

        Args:
            form: a name in `FORMS`.
            length: how many characters.
        """
        is_long_enough = self.least <= length <= self.most
        has_form = not self.form or FORMS[self.form] >= FORMS[form]
        return not self.prefix and is_long_enough and has_form

    def overlaps(self, other: Pattern) -> bool:
        """Say whether there is a challenge that has both shapes."""
        short, long = sorted((self, other), key=lambda one: len(one.prefix))
        if not long.prefix.startswith(short.prefix):
            return False
        if short.form and not FORMS[short.form].issuperset(long.prefix[len(short.prefix) :]):
            return False
        least, most = max(self.least, other.least, len(long.prefix)), min(self.most, other.most)
        if self.form and other.form and not FORMS[self.form] & FORMS[other.form]:
            # Nothing can come after the prefix.
            most = min(most, len(long.prefix))
        return least <= most


ANY = Pattern()
"""The shape that every challenge has."""


@value()
class Selected:
    """A rule, and what else a request needs that it entitles.

    Attributes:
        challenges: judges the challenge.
        waits: whether an operator has to approve as well.
        referee: the service that has to agree as well.
    """

    challenges: ChallengeRule
    waits: bool = False
    referee: Referee | None = None


@dataclass(frozen=True, slots=True)
class _NoRule:
    """Refuses challenges that have the shape of no rule, as a wrong one is refused."""

    max_length: ClassVar[int] = MAX_SERVICE_LENGTH

    def judge(self, request: CertificationRequest, now: datetime) -> NoReturn:  # noqa: ARG002
        """Refuse.

        Raises:
            BadRequest: always.
        """
        raise refused("no rule takes a challenge of this shape")

    def confirm(self, request: CertificationRequest, now: datetime, renewed: Name) -> NoReturn:  # noqa: ARG002
        """Refuse; raises as `judge` does."""
        self.judge(request, now)

    def password(self, transaction_id: bytes) -> None:
        """Know none."""


_NOBODY = Selected(_NoRule())


@dataclass(frozen=True, slots=True)
class Selection:
    """The challenge rules of an endpoint that has several, or one that takes some shapes only.

    Attributes:
        rules: each with the shape of its challenges; no two of these overlap.
        unchallenged: the rule for requests without a challenge, where it looks at them; None: an
            operator decides, or nobody is let in.
    """

    rules: tuple[tuple[Pattern, Selected], ...]
    unchallenged: Selected | None = None

    def of(self, challenge: str) -> Selected:
        """Return the rule for a challenge; where none takes its shape, one that refuses it."""
        for pattern, selected in self.rules:
            if pattern.takes(challenge):
                return selected
        return _NOBODY
