"""Challenges that have to be read again, kept encrypted under a key that is not in the database.

A device whose key cannot decrypt gets its reply encrypted with its challengePassword, also when it
polls days later (RFC 8894 section 3.1). For such requests, and only for them, the challenge is
kept as their reply secret (section 7.3).

By PKCS #9's own meaning (RFC 2985 section 5.4.1) a challengePassword is a revocation passphrase:
whoever lost a key can still have its certificate revoked with what the request for it said. CMP
computes a MAC with that (RFC 9810 section 5.1.3), which cannot be verified from a hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scepkit.protocol.csr import CertificationRequest
from scepkit.store import CertificateKey, Store

_NONCE_SIZE = 12
_PURPOSE = b"scepkit reply secrets"
_PASSPHRASE = b"revocation passphrase "


class SecretBox:
    """Encrypts and decrypts secrets that are kept. Threads may share it.

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


@dataclass(frozen=True, slots=True)
class Passphrases:
    """The passphrases of the certificates in a store. Threads may share it.

    Attributes:
        store: where they are.
        secret_box: what they are encrypted with.
    """

    store: Store
    secret_box: SecretBox

    def to_keep(self, csr: CertificationRequest, renews: CertificateKey | None) -> bytes | None:
        """Return, encrypted, the passphrase for the certificate of a request.

        Args:
            csr: the request.
            renews: the certificate that it renews; its passphrase goes on being good where the
                request brings none.

        Returns:
            None where there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        passphrase = csr.challenge_password
        if passphrase is None and renews is not None:
            passphrase = self.of(renews)
        if passphrase is None:
            return None
        return self.secret_box.hide(passphrase, _PASSPHRASE + csr.key_hash)

    def of(self, key: CertificateKey) -> str | None:
        """Return the passphrase that revokes a certificate without its key; None if there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        hidden, row = self.store.passphrase(key), self.store.certificate(key)
        if hidden is None or row is None:
            return None
        return self.secret_box.reveal(hidden, _PASSPHRASE + row.public_key)
