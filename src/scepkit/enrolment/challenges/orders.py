"""Orders for one-time challenges: read and checked before any challenge is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scepkit.errors import UsageError
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san
from scepkit.protocol.rfc4514 import parse_subject

MAX_LABEL = 100
"""The characters that a label may have."""


@dataclass(frozen=True, slots=True)
class ChallengeOrder:
    """An order for one challenge, checked: made by `of`.

    Attributes:
        lifetime: how long the challenge can be used.
        subject: the only subject that it is good for, as text; None for any.
        sans: the only subject alternative names that it is good for, as text.
        label: what people find it by; None for nothing.
    """

    lifetime: timedelta
    subject: str | None = None
    sans: tuple[str, ...] = ()
    label: str | None = None

    @classmethod
    def of(
        cls,
        lifetime: timedelta,
        *,
        subject: str | None = None,
        sans: Sequence[str] = (),
        label: str | None = None,
    ) -> ChallengeOrder:
        """Return the order for options as people write them.

        Args:
            lifetime: as it is kept.
            subject: RFC 4514.
            sans: as `parse_san` reads them.
            label: text; blanks around it do not count.

        Raises:
            UsageError: the subject, a name or the label cannot be used, or there are names without
                a subject.
        """
        if sans and subject is None:
            raise UsageError(
                "names alone cannot bind a challenge", hint="name the subject that they belong to"
            )
        return cls(
            lifetime,
            None if subject is None else read_subject(subject),
            tuple(map(read_name, sans)),
            None if label is None else read_label(label),
        )


@dataclass(frozen=True, slots=True)
class MintedChallenge:
    """A challenge that was made and stored.

    Attributes:
        id: its number, as lists and the log have it.
        secret: the challengePassword, shown this once.
        endpoint: the endpoint that accepts it.
        order: what was ordered.
        expires_at: until when it can be used.
    """

    id: int
    secret: str = field(repr=False)
    endpoint: str
    order: ChallengeOrder
    expires_at: datetime


def read_subject(text: str) -> str:
    """Return a subject as challenges keep it.

    Raises:
        UsageError: it is none.
    """
    return str(Name.of(parse_subject(text)))


def read_name(text: str) -> str:
    """Return a subject alternative name as challenges keep it.

    Raises:
        UsageError: it is none.
    """
    return str(GeneralName.of(parse_san(text)))


def read_label(text: str) -> str:
    """Return a label without the blanks around it.

    Raises:
        UsageError: it is empty, too long, or has more than one line or a control character.
    """
    label = text.strip()
    if not label:
        raise UsageError("the label is empty", hint="leave it out where there is none")
    if len(label) > MAX_LABEL:
        raise UsageError(f"the label has {len(label)} characters, at most {MAX_LABEL} are taken")
    if not label.isprintable():
        raise UsageError("the label has characters that cannot be shown in a line")
    return label
