"""Block ciphers in CBC mode with the padding of RFC 5652 section 6.3."""

from __future__ import annotations

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from scepkit.errors import Malformed
from scepkit.protocol.algorithms import Cipher
from scepkit.protocol.asn1 import ber, types


def read_iv(algorithm: types.AlgorithmIdentifier, used: Cipher) -> bytes:
    """Return the IV that is a cipher's parameter.

    Raises:
        Malformed: there is none, or it is not one block.
    """
    if not isinstance(algorithm.parameters, TLV):
        raise Malformed("the content-encryption algorithm has no IV")
    iv = ber.parse(bytes, algorithm.parameters, "IV")
    if len(iv) != used.block_size:
        raise Malformed(f"an IV of {len(iv)} octets")
    return iv


def encrypt(content: bytes, chosen: Cipher, key: bytes, iv: bytes) -> bytes:
    """Pad and encrypt."""
    # As many octets as the last block lacks, each of them that number.
    size = chosen.block_size - len(content) % chosen.block_size
    encryptor = context(chosen, key, iv).encryptor()
    return encryptor.update(content + bytes([size]) * size) + encryptor.finalize()


def decrypt(encrypted: bytes, used: Cipher, key: bytes, iv: bytes) -> bytes:
    """Decrypt; the padding stays on.

    Raises:
        ValueError: it is no whole number of blocks.
    """
    decryptor = context(used, key, iv).decryptor()
    return decryptor.update(encrypted) + decryptor.finalize()


def unpad(padded: bytes, used: Cipher) -> bytes | None:
    """Take the padding off; None if it is wrong."""
    unpadder = PKCS7(used.block_size * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None


def context(used: Cipher, key: bytes, iv: bytes) -> CipherContext[CBC]:
    """Return the library's context, which knows of no padding."""
    return CipherContext(used.primitive(key), CBC(iv))
