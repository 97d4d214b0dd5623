"""Challenges that have to be read again: those that replies are encrypted with.

A device whose key cannot decrypt gets its reply encrypted with its challengePassword, also when it
polls days later (RFC 8894 section 3.1). For such requests, and only for them, the challenge is
kept, encrypted under a key that is not in the database (section 7.3).
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_SIZE = 12
_PURPOSE = b"scepkit reply secrets"


class Concealment:
    """Encrypts and decrypts what is kept. Threads may share it.

    Args:
        key: the server's 32 secret octets; a key of its own is derived from them.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(key, _PURPOSE, hashlib.sha256))

    def hide(self, secret: str, context: bytes) -> bytes:
        """Encrypt a secret (AES-256-GCM).

        Args:
            secret: text.
            context: what it belongs to; only with the same context it is found again.
        """
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, secret.encode("utf-8"), context)

    def reveal(self, hidden: bytes, context: bytes) -> str | None:
        """Decrypt what `hide` returned; None with another key or context."""
        try:
            plain = self._cipher.decrypt(hidden[:_NONCE_SIZE], hidden[_NONCE_SIZE:], context)
        except (InvalidTag, ValueError):  # a ValueError where not even the nonce is whole
            return None
        return plain.decode("utf-8")
