"""KeyAgreeRecipientInfo (RFC 5652 section 6.2.2, RFC 5753): an EC key opens the envelope.

RFC 8894 knows passwords only for keys that cannot encrypt; NDES answers EC keys this way (L-24).
Only ephemeral-static Diffie-Hellman is done: the sender has a fresh key in every message.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.errors import BadAlg, Malformed
from scepkit.protocol.algorithms import (
    AES128,
    AES128_WRAP,
    AES192,
    AES192_WRAP,
    AES256,
    AES256_WRAP,
    DES3,
    DES3_WRAP,
    EC_PUBLIC_KEY,
    KEY_AGREEMENTS,
    SHA1,
    SHA256,
    STD_DH_SHA256,
    Cipher,
    Digest,
    KeyWrap,
    Legacy,
    PrivateKey,
    key_wrap,
)
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.certificate import Certificate

# The wrap for a key of each cipher; single DES has none.
_WRAPS = {AES128: AES128_WRAP, AES192: AES192_WRAP, AES256: AES256_WRAP, DES3: DES3_WRAP}

_ORIGINATOR_KEY = 0xA1

# RFC 3217 section 3.1: the IV of the second pass.
_SECOND_IV = bytes.fromhex("4adda22c79e82105")
_BLOCK = 8
_DES3_KEY = 24
_DES3_WRAPPED = 40


@dataclass(frozen=True, slots=True)
class KeyAgreement:
    """A content-encryption key that an EC key of ours can decrypt.

    Attributes:
        key: ours.
        point: the sender's ephemeral public key.
        kdf: the digest of the key derivation.
        wrap: the key wrap.
        shared_info: what goes into the key derivation beside the shared secret.
        encrypted: the encrypted content-encryption key.
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    point: bytes
    kdf: Digest
    wrap: KeyWrap
    shared_info: bytes
    encrypted: bytes

    @property
    def legacy(self) -> Legacy | None:
        """Return the name of the key wrap's cipher, if that had to be allowed."""
        return self.wrap.legacy

    def unwrap(self) -> bytes | None:
        """Return the content-encryption key; None if it went wrong."""
        secret = self.key.exchange(ec.ECDH(), self._peer())
        kek = _derive(secret, self.kdf, self.wrap, self.shared_info)
        return unwrap_key(self.encrypted, self.wrap, kek)

    def _peer(self) -> ec.EllipticCurvePublicKey:
        """Load the sender's key; the library makes sure that it is on our curve.

        With what is not, an attacker would learn our key piece by piece. It is replaced by
        another one, so that it costs the same and ends as any other damage does.
        """
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(self.key.curve, self.point)
        except ValueError:
            return self.key.public_key()


def read(
    info: types.KeyAgreeRecipientInfo,
    encrypted: bytes,
    key: PrivateKey,
    allowed: frozenset[Legacy],
) -> KeyAgreement:
    """Take up a RecipientInfo that names a certificate of ours.

    Args:
        info: the RecipientInfo.
        encrypted: the key that is encrypted for us; the others in `info` are for others.
        key: the certificate's private key.
        allowed: the legacy algorithms that are allowed.

    Raises:
        Malformed: a part cannot be read.
        BadAlg: the key is not EC, or an algorithm is unknown or not allowed.
    """
    algorithm = info.keyEncryptionAlgorithm
    kdf = KEY_AGREEMENTS.get(algorithm.algorithm)
    if kdf is None or not isinstance(algorithm.parameters, TLV):
        oid = algorithm.algorithm.dotted_string
        raise BadAlg(f"key-agreement algorithm {oid} is not supported")
    wrap_algorithm = _der.encode(algorithm.parameters)
    inner = ber.parse(types.AlgorithmIdentifier, algorithm.parameters, "KeyWrapAlgorithm")
    wrap = key_wrap(inner.algorithm, allowed)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadAlg("key agreement is not for the key of the certificate that it names")
    return KeyAgreement(
        key=key,
        point=_originator(info.originator),
        kdf=kdf,
        wrap=wrap,
        shared_info=_shared_info(wrap_algorithm, wrap, info.ukm),
        encrypted=encrypted,
    )


def wrap_for(chosen: Cipher) -> KeyWrap:
    """Say how a key of this cipher is wrapped.

    Raises:
        BadAlg: it cannot be.
    """
    found = _WRAPS.get(chosen)
    if found is None:
        raise BadAlg(f"{chosen.name} does not go with key agreement")
    return found


def write(
    cek: bytes,
    recipient: Certificate,
    key: ec.EllipticCurvePublicKey,
    chosen: Cipher,
    random: Callable[[int], bytes],
) -> bytes:
    """Return a KeyAgreeRecipientInfo with one recipient.

    Args:
        cek: the content-encryption key.
        recipient: is named by issuer and serial number as it writes them.
        key: the recipient's.
        chosen: the cipher that `cek` is for.
        random: returns that many unpredictable octets; the ephemeral key is the library's.

    Raises:
        BadAlg: there is no key wrap for the cipher.
    """
    wrap = wrap_for(chosen)
    # RFC 3565 leaves the parameters of AES's out, RFC 3217 writes NULL.
    wrap_algorithm = _der.algorithm(wrap.oid, _der.NULL if wrap is DES3_WRAP else b"")
    ephemeral = ec.generate_private_key(key.curve)
    shared_info = _shared_info(wrap_algorithm, wrap, None)
    kek = _derive(ephemeral.exchange(ec.ECDH(), key), SHA256, wrap, shared_info)
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    originator = _der.tagged(1, _der.algorithm(EC_PUBLIC_KEY, b""), _der.bit_string(point))
    name = _der.sequence(recipient.issuer, recipient.serial_number)
    encrypted = _der.octet_string(wrap_key(cek, wrap, kek, random))
    return _der.tagged(
        1,
        _der.INTEGER_3,
        _der.tagged(0, originator),
        _der.algorithm(STD_DH_SHA256, wrap_algorithm),
        _der.sequence(_der.sequence(name, encrypted)),
    )


def _originator(originator: TLV) -> bytes:
    """Return the sender's ephemeral public key, an encoded point.

    Its algorithm may name a curve or not; there is only ours to choose from.
    """
    der = _der.encode(originator)
    if der[0] != _ORIGINATOR_KEY:
        raise BadAlg("key agreement with a key other than an ephemeral one is not supported")
    key = ber.decode(
        types.OriginatorPublicKey, _der.retag(der, _der.SEQUENCE), "OriginatorPublicKey"
    )
    if key.algorithm.algorithm != EC_PUBLIC_KEY:
        raise BadAlg("key agreement with a key other than EC is not supported")
    if key.publicKey.padding_bits():
        raise Malformed("an EC public key that is not whole octets")
    return key.publicKey.as_bytes()


def _shared_info(wrap_algorithm: bytes, wrap: KeyWrap, ukm: bytes | None) -> bytes:
    """Return ECC-CMS-SharedInfo (RFC 5753 section 7.2).

    Args:
        wrap_algorithm: the KeyWrapAlgorithm as sent: some leave its parameters out, some do not.
        wrap: the same, looked up.
        ukm: the sender's user keying material, if any.
    """
    bits = (wrap.key_size * 8).to_bytes(4, "big")
    return _der.sequence(
        wrap_algorithm,
        b"" if ukm is None else _der.tagged(0, _der.octet_string(ukm)),
        _der.tagged(2, _der.octet_string(bits)),
    )


def _derive(secret: bytes, kdf: Digest, wrap: KeyWrap, shared_info: bytes) -> bytes:
    return X963KDF(kdf.primitive, wrap.key_size, shared_info).derive(secret)


# --- keys encrypted with keys: AES key wrap (RFC 3394) and the Triple-DES one (RFC 3217) ----------


def wrap_key(cek: bytes, chosen: KeyWrap, kek: bytes, random: Callable[[int], bytes]) -> bytes:
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


def unwrap_key(encrypted: bytes, used: KeyWrap, kek: bytes) -> bytes | None:
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
