"""Keys that get no certificate: those that an operator has blocked, and those known as weak."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.profiles.extras import needed
from scepkit.errors import BadRequest, SettingsError
from scepkit.protocol.algorithms import PSSPublicKey, PublicKey

_HASH_SIZE = 32
_MOST_BLOCKED = 200_000
_COMMENT = "#"

_Weakness: TypeAlias = Callable[[int, int], object]
_WEAKNESSES = {
    "fermat": "has primes that lie close together",
    "roca": "comes from a faulty generator (ROCA)",
    "rsainvalid": "is no valid RSA key",
    "rsapoly": "has a pattern by which it can be factored",
    "sharedprimes": "shares a prime with other keys",
    "smallfactors": "has a small factor",
}


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The rules on keys beside kind and size.

    Attributes:
        profile: the profile's name.
        blocked: SHA-256 of canonical SubjectPublicKeyInfos.
        weaknesses: tests of RSA keys, by what is wrong with a key that one of them finds.
    """

    profile: str
    blocked: frozenset[bytes] = frozenset()
    weaknesses: tuple[tuple[str, _Weakness], ...] = field(default=(), repr=False)

    def check(self, key: PublicKey, spki: bytes) -> None:
        """Refuse a key that is blocked or weak.

        Args:
            key: the key.
            spki: its canonical SubjectPublicKeyInfo, DER.

        Raises:
            BadRequest: it is; the text names the rule.
        """
        if self.blocked and hashlib.sha256(spki).digest() in self.blocked:
            raise BadRequest(f"the key is blocked (key.blocklist of the profile {self.profile!r})")
        if self.weaknesses and isinstance(key, rsa.RSAPublicKey | PSSPublicKey):
            numbers = (key if isinstance(key, rsa.RSAPublicKey) else key.rsa).public_numbers()
            for what, finds in self.weaknesses:
                if finds(numbers.n, numbers.e):
                    raise BadRequest(f"the key {what} (key.weak of the profile {self.profile!r})")


def weaknesses() -> tuple[tuple[str, _Weakness], ...]:
    """Return the tests that badkeys has.

    Raises:
        SettingsError: it is not installed.
    """
    needed("badkeys", "key.weak")
    tests = needed("badkeys.rsakeys", "key.weak")
    return tuple((what, getattr(tests, name)) for name, what in _WEAKNESSES.items())


def read_blocklist(text: str) -> frozenset[bytes]:
    """Return the hashes in a list of blocked keys: one a line, in hex, `#` before a comment.

    Raises:
        SettingsError: a line is none, or there are too many.
    """
    found = frozenset(_hashes(text))
    if len(found) > _MOST_BLOCKED:
        raise SettingsError(f"{len(found)} blocked keys are too many, at most {_MOST_BLOCKED}")
    return found


def _hashes(text: str) -> Iterator[bytes]:
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition(_COMMENT)[0].strip().replace(":", "")
        if not written:
            continue
        try:
            digest = bytes.fromhex(written)
        except ValueError:
            digest = b""
        if len(digest) != _HASH_SIZE:
            raise SettingsError(
                f"line {number} is no SHA-256 of a SubjectPublicKeyInfo",
                hint="64 hex digits a line: openssl pkey -pubin -outform DER | sha256sum",
            )
        yield digest
