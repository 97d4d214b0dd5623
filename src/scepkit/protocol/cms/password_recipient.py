"""PasswordRecipientInfo (RFC 5652 section 6.2.4): a password opens the envelope.

RFC 8894 section 3.1 asks for it where a key cannot encrypt, and says no more; the rest is
checklist row P-25: PBKDF2, the key wrap of RFC 3211, the password's UTF-8 octets.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.modes import CBC

from scepkit.errors import BadAlg, Malformed
from scepkit.protocol.algorithms import (
    PBKDF2,
    PWRI_KEK,
    SHA256,
    Cipher,
    Legacy,
    cipher,
)
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.cms import pbkdf2
from scepkit.protocol.cms.pbkdf2 import MAX_ITERATIONS, Derivation

SALT_SIZE = 16
# The secrets of our own server have 160 random bits, which no number of rounds could make harder
# to guess; a secret that a human chose is guessed whatever the number.
ITERATIONS = 10_000

# A count octet, three check octets, at most 32 of a key, padding up to whole blocks.
_MAX_WRAPPED = 64
_CHECK_SIZE = 3
_HEADER_SIZE = 1 + _CHECK_SIZE


@dataclass(frozen=True, slots=True)
class PasswordLock:
    """A content-encryption key that a password can decrypt.

    Attributes:
        password: the password. Secret.
        derivation: makes the key-encryption key of the password.
        wrap: the cipher of the key wrap.
        iv: its IV.
        encrypted: the encrypted content-encryption key.
    """

    password: str = field(repr=False)
    derivation: Derivation
    wrap: Cipher
    iv: bytes
    encrypted: bytes

    @property
    def legacy(self) -> Legacy | None:
        """Return the name of the key wrap's cipher, if that had to be allowed."""
        return self.wrap.legacy

    def unwrap(self) -> bytes | None:
        """Return the content-encryption key; None if the password is wrong."""
        kek = self.derivation.derive(self.password, self.wrap.key_size)
        return _unwrap(self.encrypted, self.wrap, kek, self.iv)


def read(
    info: types.PasswordRecipientInfo,
    password: str,
    allowed: frozenset[Legacy],
    max_iterations: int = MAX_ITERATIONS,
) -> PasswordLock:
    """Take up a RecipientInfo for the holder of the password.

    Args:
        info: the RecipientInfo.
        password: the password.
        allowed: the legacy algorithms that are allowed.
        max_iterations: of PBKDF2.

    Raises:
        Malformed: an algorithm's parameters cannot be read.
        BadAlg: an algorithm is unknown or not allowed, or asks for more work than is sensible.
    """
    algorithm = info.keyEncryptionAlgorithm
    if algorithm.algorithm != PWRI_KEK or not isinstance(algorithm.parameters, TLV):
        oid = algorithm.algorithm.dotted_string
        raise BadAlg(f"key encryption {oid} with a password is not supported")
    inner = ber.parse(types.AlgorithmIdentifier, algorithm.parameters, "PWRI-KEK parameters")
    wrap = cipher(inner.algorithm, allowed)
    if not isinstance(inner.parameters, TLV):
        raise Malformed("the key wrap has no IV")
    iv = ber.parse(bytes, inner.parameters, "IV")
    if len(iv) != wrap.block_size:
        raise Malformed(f"an IV of {len(iv)} octets")
    derivation, size = pbkdf2.read(info.keyDerivationAlgorithm, max_iterations)
    if size not in (None, wrap.key_size):
        raise BadAlg("PBKDF2 of another keyLength than the key wrap needs")
    return PasswordLock(password, derivation, wrap, iv, info.encryptedKey)


def write(cek: bytes, password: str, chosen: Cipher, random: Callable[[int], bytes]) -> bytes:
    """Return a PasswordRecipientInfo.

    Args:
        cek: the content-encryption key.
        password: the password.
        chosen: the cipher of the key wrap: the content's, which the peer can do.
        random: returns that many unpredictable octets.
    """
    derivation = Derivation(random(SALT_SIZE), ITERATIONS, SHA256)
    iv = random(chosen.block_size)
    kek = derivation.derive(password, chosen.key_size)
    return der.tagged(
        3,
        der.INTEGER_0,
        # The wrap's cipher says how long the key is.
        der.tagged(0, der.oid(PBKDF2), derivation.parameters()),
        der.sequence(der.oid(PWRI_KEK), der.sequence(der.oid(chosen.oid), der.octet_string(iv))),
        der.octet_string(_wrap(cek, chosen, kek, iv, random)),
    )


def _wrap(
    cek: bytes, chosen: Cipher, kek: bytes, iv: bytes, random: Callable[[int], bytes]
) -> bytes:
    """Encrypt a key (RFC 3211 section 2.3.1): CBC twice, the second pass going on from the first.

    The first three octets go in a second time, inverted, to tell a wrong password by.
    """
    check = bytes(octet ^ 0xFF for octet in cek[:_CHECK_SIZE])
    block = bytes([len(cek)]) + check + cek
    # At least two blocks, so that each octet of the result depends on each of the key.
    size = max(2 * chosen.block_size, -(-len(block) // chosen.block_size) * chosen.block_size)
    padded = block + random(size - len(block))
    encryptor = CipherContext(chosen.primitive(kek), CBC(iv)).encryptor()
    return encryptor.update(encryptor.update(padded)) + encryptor.finalize()


def _unwrap(encrypted: bytes, used: Cipher, kek: bytes, iv: bytes) -> bytes | None:
    """Decrypt a key (RFC 3211 section 2.3.2); None if it is none."""
    size = used.block_size
    if not 2 * size <= len(encrypted) <= _MAX_WRAPPED or len(encrypted) % size:
        return None
    # The last block was encrypted with the one before it as its IV, as ever in CBC; what it
    # gives is what stood before the first block of the second pass.
    last = _decrypt(encrypted[-size:], used, kek, encrypted[-2 * size : -size])
    first_pass = _decrypt(encrypted[:-size], used, kek, last) + last
    block = _decrypt(first_pass, used, kek, iv)
    count, check = block[0], block[1:_HEADER_SIZE]
    cek = block[_HEADER_SIZE : _HEADER_SIZE + count]
    inverted = bytes(octet ^ 0xFF for octet in block[_HEADER_SIZE : _HEADER_SIZE + _CHECK_SIZE])
    if not hmac.compare_digest(check, inverted) or len(cek) != count:
        return None
    return cek


def _decrypt(data: bytes, used: Cipher, key: bytes, iv: bytes) -> bytes:
    decryptor = CipherContext(used.primitive(key), CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()
