"""RecipientInfos for passwords and EC keys with every knob in reach, beside those in `forge`.

Each function gives a correct one by default; an argument makes one thing different.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import forge
import keys
from der import NULL, algorithm, bits, integer, octets, oid, seq, tlv

PWRI_KEK = "1.2.840.113549.1.9.16.3.9"
PBKDF2 = "1.2.840.113549.1.5.12"
PRFS = {
    "sha1": "1.2.840.113549.2.7",
    "sha224": "1.2.840.113549.2.8",
    "sha256": "1.2.840.113549.2.9",
    "sha384": "1.2.840.113549.2.10",
    "sha512": "1.2.840.113549.2.11",
}
EC_PUBLIC_KEY = "1.2.840.10045.2.1"
STD_DH = {
    "sha1": "1.3.133.16.840.63.0.2",
    "sha224": "1.3.132.1.11.0",
    "sha256": "1.3.132.1.11.1",
    "sha384": "1.3.132.1.11.2",
    "sha512": "1.3.132.1.11.3",
}
AES_WRAPS = {16: "2.16.840.1.101.3.4.1.5", 24: "2.16.840.1.101.3.4.1.25"} | {
    32: "2.16.840.1.101.3.4.1.45"
}


def password_info(
    cek: bytes,
    password: str = "secret",
    *,
    cipher: str = "aes128",
    salt: bytes = b"salt of 16 bytes",
    iterations: int = 1000,
    prf: str | None = "sha256",
    key_length: int | None = None,
    derivation: bytes | None = None,
    wrap: bytes | None = None,
    encrypted: bytes | None = None,
    iv: bytes | None = None,
) -> bytes:
    """Return a PasswordRecipientInfo.

    Args:
        cek: the content-encryption key.
        password: the password.
        cipher: of the key wrap, a name of `forge.CIPHERS`.
        salt: of PBKDF2.
        iterations: of PBKDF2.
        prf: a name of `PRFS`; None leaves it at its default.
        key_length: of PBKDF2's parameters.
        derivation: the whole field in place of PBKDF2; b"" leaves it out.
        wrap: the whole keyEncryptionAlgorithm.
        encrypted: the whole encryptedKey.
        iv: of the key wrap.
    """
    dotted, key_size, block, _ = forge.CIPHERS[cipher]
    iv = b"v" * block if iv is None else iv
    if derivation is None:
        parameters = seq(
            octets(salt),
            integer(iterations),
            *([integer(key_length)] if key_length is not None else []),
            *([algorithm(PRFS[prf])] if prf else []),
        )
        derivation = tlv(0xA0, oid(PBKDF2), parameters)
    if encrypted is None:
        kek = hashlib.pbkdf2_hmac(prf or "sha1", password.encode(), salt, iterations, key_size)
        encrypted = wrapped(cek, cipher, kek, iv)
    return tlv(
        0xA3,
        integer(0),
        derivation,
        wrap or algorithm(PWRI_KEK, algorithm(dotted, octets(iv))),
        octets(encrypted),
    )


def wrapped(
    cek: bytes, cipher: str, kek: bytes, iv: bytes, *, count: int | None = None, check: int = 0xFF
) -> bytes:
    """Return a key wrapped as RFC 3211 says, with zeros for its random padding."""
    _, _, block, primitive = forge.CIPHERS[cipher]
    count = len(cek) if count is None else count
    plain = bytes([count]) + bytes(octet ^ check for octet in cek[:3]) + cek
    plain = plain.ljust(max(2 * block, -(-len(plain) // block) * block), b"\0")

    def cbc(data: bytes, start: bytes) -> bytes:
        encryptor = Cipher(primitive(kek), CBC(start)).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    once = cbc(plain, iv)
    return cbc(once, once[-block:])


def agreement_info(
    recipient: keys.Holder,
    cek: bytes,
    *,
    kdf: str = "sha256",
    scheme: str | None = None,
    wrap_size: int = 16,
    wrap: bytes | None = None,
    ukm: bytes | None = None,
    named: bytes | None = None,
    originator: bytes | None = None,
    key_algorithm: bytes | None = None,
    point: bytes | None = None,
    encrypted: bytes | None = None,
    others: tuple[bytes, ...] = (),
) -> bytes:
    """Return a KeyAgreeRecipientInfo.

    Args:
        recipient: whose EC key opens it.
        cek: the content-encryption key.
        kdf: the digest of the key derivation.
        scheme: the OID of the key agreement, for another than `kdf`'s.
        wrap_size: octets of the key-encryption key.
        wrap: the whole KeyWrapAlgorithm.
        ukm: the user keying material.
        named: the whole rid.
        originator: the whole OriginatorIdentifierOrKey.
        key_algorithm: the algorithm of the ephemeral key.
        point: the ephemeral key.
        encrypted: the whole encryptedKey.
        others: RecipientEncryptedKeys that come before.
    """
    curve = getattr(recipient.key, "curve", ec.SECP256R1())
    ephemeral = ec.generate_private_key(curve)
    wrap = wrap or algorithm(AES_WRAPS[wrap_size], b"")
    if point is None:
        point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if encrypted is None:
        shared = seq(
            wrap,
            b"" if ukm is None else tlv(0xA0, octets(ukm)),
            tlv(0xA2, octets((8 * wrap_size).to_bytes(4, "big"))),
        )
        secret = ephemeral.exchange(ec.ECDH(), recipient.key.public_key())
        kek = X963KDF(forge.DIGESTS[kdf][1](), wrap_size, shared).derive(secret)
        encrypted = aes_key_wrap(kek, cek)
    if originator is None:
        originator = tlv(0xA1, key_algorithm or algorithm(EC_PUBLIC_KEY, b""), bits(point))
    return tlv(
        0xA1,
        integer(3),
        tlv(0xA0, originator),
        b"" if ukm is None else tlv(0xA1, octets(ukm)),
        algorithm(scheme or STD_DH[kdf], wrap),
        seq(*others, seq(named or forge.rid(recipient), octets(encrypted))),
    )


def des3_wrap_algorithm() -> bytes:
    """Return the KeyWrapAlgorithm of Triple-DES."""
    return algorithm("1.2.840.113549.1.9.16.3.6", NULL)
