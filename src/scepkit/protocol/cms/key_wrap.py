"""Keys encrypted with keys: AES key wrap (RFC 3394) and the Triple-DES one (RFC 3217)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from scepkit.protocol.algorithms import DES3_WRAP, SHA1, KeyWrap

# RFC 3217 section 3.1: the IV of the second pass.
_SECOND_IV = bytes.fromhex("4adda22c79e82105")
_BLOCK = 8
_DES3_KEY = 24
_DES3_WRAPPED = 40


def wrap(cek: bytes, chosen: KeyWrap, kek: bytes, random: Callable[[int], bytes]) -> bytes:
    """Encrypt a key with a key.

    Args:
        cek: the key; 16, 24 or 32 octets, for Triple-DES 24.
        chosen: how.
        kek: the key to encrypt it with.
        random: returns that many unpredictable octets.
    """
    if chosen is not DES3_WRAP:
        return aes_key_wrap(kek, cek)
    first_iv = random(_BLOCK)
    first = _des3(kek, first_iv).encryptor().update(cek + _checksum(cek))
    return _des3(kek, _SECOND_IV).encryptor().update((first_iv + first)[::-1])


def unwrap(encrypted: bytes, used: KeyWrap, kek: bytes) -> bytes | None:
    """Decrypt a key; None if it is none, or not wrapped with this key."""
    if used is not DES3_WRAP:
        try:
            return aes_key_unwrap(kek, encrypted)
        except InvalidUnwrap:
            return None
    if len(encrypted) != _DES3_WRAPPED:
        return None
    both = _des3(kek, _SECOND_IV).decryptor().update(encrypted)[::-1]
    first = _des3(kek, both[:_BLOCK]).decryptor().update(both[_BLOCK:])
    cek, checksum = first[:_DES3_KEY], first[_DES3_KEY:]
    return cek if hmac.compare_digest(checksum, _checksum(cek)) else None


def _checksum(cek: bytes) -> bytes:
    """Return the CMS key checksum (RFC 3217 section 2)."""
    return SHA1.of(cek)[:_BLOCK]


def _des3(key: bytes, iv: bytes) -> CipherContext[CBC]:
    return CipherContext(TripleDES(key), CBC(iv))
