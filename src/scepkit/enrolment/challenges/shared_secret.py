"""A secret that all devices of an endpoint share: a fresh one, and whether one can be guessed."""

from __future__ import annotations

import math
import secrets
import string
from collections import Counter

# Lower-case letters and digits, to be typed without a shift key, but for those that look alike
# (0 and o, 1 and l): 32, five bits each. Every string type can hold them.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_BITS_EACH = 5

LEAST_BITS = 80
"""The least random bits: fewer can be found offline from a recorded request."""

MOST_BITS = 255 * _BITS_EACH
"""The most random bits in 255 characters of a challengePassword (RFC 2985 section 5.4.1)."""

_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_HEX = (string.digits + "abcdef", string.digits + "ABCDEF")
# ASCII's punctuation and the space; of what is not ASCII nobody knows how it was chosen.
_OTHERS = 33
# In a random secret of 80 bits hardly any character comes more often.
_REPEATS = 4


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
