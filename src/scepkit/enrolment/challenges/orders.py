"""Orders for one-time challenges: read and checked before any challenge is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from scepkit.errors import UsageError
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName, parse_san
from scepkit.protocol.rfc4514 import parse_subject

DATA_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""The names that data may have."""

MAX_USES = 100_000
"""The certificates that one challenge may be good for."""

MAX_LABEL = 100
"""The characters that a label may have."""

MAX_DATA = 100
"""The texts that the data of one challenge may be."""

MAX_VALUE = 1000
"""The characters that each of them may have."""


class SecretForm(StrEnum):
    """The form of a challenge: the characters that it has, and how many."""

    BASE32 = "base32"
    """32 of A to Z and 2 to 7: 160 random bits."""
    HEX16 = "hex16"
    """16 of 0 to 9 and A to F: 64 random bits, as NDES has them. Whoever takes them bounds wrong
    ones."""
    HEX32 = "hex32"
    """32 of the same: 128 random bits."""

    @property
    def length(self) -> int:
        """Return the number of its characters."""
        return 16 if self is SecretForm.HEX16 else 32


@dataclass(frozen=True, slots=True)
class ChallengeOrder:
    """An order for one challenge, checked: made by `of`.

    Attributes:
        lifetime: how long the challenge can be used.
        subject: the only subject that it is good for, as text; None for any.
        sans: the only subject alternative names that it is good for, as text.
        label: what people find it by; None for nothing.
        data: what the endpoint's profile may put into the certificate, by name.
        uses: the number of certificates that it is good for.
        form: the form of the challenge.
    """

    lifetime: timedelta
    subject: str | None = None
    sans: tuple[str, ...] = ()
    label: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    uses: int = 1
    form: SecretForm = SecretForm.BASE32

    @classmethod
    def of(
        cls,
        lifetime: timedelta,
        *,
        subject: str | None = None,
        sans: Sequence[str] = (),
        label: str | None = None,
        data: Sequence[str] = (),
        uses: int = 1,
    ) -> ChallengeOrder:
        """Return the order for options as people write them.

        Args:
            lifetime: as it is kept.
            subject: RFC 4514.
            sans: as `parse_san` reads them.
            label: text; blanks around it do not count.
            data: as `read_data` reads them.
            uses: as `read_uses` reads it.

        Raises:
            UsageError: the subject, a name, the label, data or the uses cannot be used, or there
                are names without a subject.
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
            read_data(data),
            read_uses(uses),
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


def read_data(pairs: Sequence[str]) -> dict[str, str]:
    """Return the data of a challenge from `name=value` pairs.

    Raises:
        UsageError: one is none, has a name that is there already, or holds what cannot be in a
            certificate.
    """
    data: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not DATA_NAME.fullmatch(name):
            raise UsageError(
                f"{pair!r} is no data", hint="write NAME=VALUE; a name has a-z, 0-9 and _"
            )
        if name in data:
            raise UsageError(f"the data {name} is given twice")
        data[name] = value
    return check_data(data)


def check_data(given: Mapping[Any, Any]) -> dict[str, str]:
    """Return data as challenges keep them.

    Raises:
        UsageError: there are too many, a name is none, or a value is no text that can be in a
            certificate.
    """
    if len(given) > MAX_DATA:
        raise UsageError(f"there are {len(given)} data, at most {MAX_DATA} are taken")
    for name, value in given.items():
        if not isinstance(name, str) or not DATA_NAME.fullmatch(name):
            raise UsageError(
                f"data cannot be called {str(name)[:60]!r}",
                hint="a name has up to 32 of a-z, 0-9 and _, and begins with a letter",
            )
        is_text = isinstance(value, str) and value.isprintable()
        if not is_text or not 0 < len(value) <= MAX_VALUE:
            raise UsageError(f"the data {name} has to be 1 to {MAX_VALUE} characters in one line")
    return dict(given)


def read_uses(number: int) -> int:
    """Return the number of certificates that a challenge is to be good for.

    Raises:
        UsageError: it is none, or more than `MAX_USES`.
    """
    if not 1 <= number <= MAX_USES:
        raise UsageError(f"a challenge is good for 1 to {MAX_USES} certificates, not for {number}")
    return number


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
