"""Keys that get no certificate: those that an operator has blocked, and those known as weak."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.profiles.blocklist import Blocklist
from scepkit.ca.profiles.extras import needed
from scepkit.errors import BadRequest
from scepkit.protocol.algorithms import PSSPublicKey, PublicKey

_Weakness: TypeAlias = Callable[[int, int], object]
_WEAKNESSES = {
    "fermat": "has primes that lie close together",
    "roca": "comes from a faulty generator (ROCA)",
    "rsainvalid": "is no valid RSA key",
    "rsapoly": "has a pattern by which it can be factored",
    "sharedprimes": "shares a prime with other keys",
    "smalld": "has a private exponent that its public one tells",
    "smallfactors": "has a small factor",
}
_SIZES = (1024, 2048, 4096)  # of moduli whose known primes badkeys reads from files


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The rules on keys beside kind and size.

    Attributes:
        profile: the profile's name.
        blocked: the operator's list.
        weaknesses: tests of RSA keys, by what is wrong with a key that one of them finds.
    """

    profile: str
    blocked: Blocklist | None = None
    weaknesses: tuple[tuple[str, _Weakness], ...] = field(default=(), repr=False)

    def check(self, key: PublicKey, spki: bytes) -> None:
        """Refuse a key that is blocked or weak.

        Args:
            key: the key.
            spki: its canonical SubjectPublicKeyInfo, DER.

        Raises:
            BadRequest: it is; the text names the rule.
        """
        if self.blocked is not None and hashlib.sha256(spki).digest() in self.blocked:
            raise self._refused("is blocked", "key.blocklist")
        if self.weaknesses and isinstance(key, rsa.RSAPublicKey | PSSPublicKey):
            numbers = (key if isinstance(key, rsa.RSAPublicKey) else key.rsa).public_numbers()
            for what, finds in self.weaknesses:
                if finds(numbers.n, numbers.e):
                    raise self._refused(what, "key.weak")

    def _refused(self, what: str, key: str) -> BadRequest:
        said = f"the key {what} ({key} of the profile {self.profile!r})"
        return BadRequest(said, rule=key, attribute="key")


def weaknesses() -> tuple[tuple[str, _Weakness], ...]:
    """Return the tests that badkeys has.

    Raises:
        SettingsError: it is not installed.
    """
    needed("badkeys", "key.weak")
    tests = needed("badkeys.rsakeys", "key.weak")
    for size in _SIZES:
        # Read now, and not for the first request.
        tests.sharedprimes((1 << size) - 1)
    return tuple((what, getattr(tests, name)) for name, what in _WEAKNESSES.items())
