"""Refusals of algorithms: of all that would have to be allowed, or of what is not supported."""

from __future__ import annotations

from collections.abc import Collection

from scepkit.errors import BadAlg, FailInfoError, LegacyRefused, Malformed
from scepkit.protocol.algorithms import Legacy


class Unverifiable(Malformed):
    """A PKCS#10 whose signature is of a kind that is not supported, or its key is.

    Args:
        key_hash: the identity of its key, 32 octets.
        error: what is not supported.
    """

    def __init__(self, key_hash: bytes, error: FailInfoError) -> None:
        super().__init__(f"the PKCS#10 request cannot be verified: {error.message}")
        self.key_hash = key_hash
        self.error = error


def names_to_allow(allowed: Collection[Legacy], needed: Collection[Legacy]) -> tuple[str, ...]:
    """Return the list that allows more: all names, not the new ones alone.

    Whoever put those in the place of the old list would lose what was allowed already.
    """
    return tuple(name.value for name in Legacy if name in allowed or name in needed)


def listed(names: Collection[Legacy]) -> str:
    """Return names for a sentence: `sha1 and des`."""
    *most, last = (name.value for name in Legacy if name in names)
    return f"{', '.join(most)} and {last}" if most else last


def several_not_allowed(needed: Collection[Legacy]) -> BadAlg:
    """Return the refusal of all that would have to be allowed for a message, at once."""
    names = tuple(name.value for name in Legacy if name in needed)
    return BadAlg(
        f"{listed(needed)} are not allowed here",
        hint=f"to allow them, name {', '.join(map(repr, names))} in the legacy setting",
        legacy=names,
    )


def reply_refused(needed: Collection[Legacy], allowed: Collection[Legacy]) -> LegacyRefused:
    """Return the error for a CA's answer that uses an algorithm the user did not allow.

    Args:
        needed: all that it takes.
        allowed: what the user allowed.
    """
    missing = [name for name in needed if name not in allowed]
    return LegacyRefused(
        f"the CA answered with {listed(missing)}, which {'was' if len(missing) == 1 else 'were'} "
        "not allowed",
        hint="if it can do no better, allow it",
        names=names_to_allow(allowed, needed),
    )
