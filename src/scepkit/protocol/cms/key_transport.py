"""KeyTransRecipientInfo (RFC 5652 section 6.2.1): an RSA key opens the envelope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import reduce
from operator import or_
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from scepkit.errors import BadAlg
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import (
    MGF1,
    RSA_ENCRYPTION,
    RSAES_OAEP,
    SHA1,
    SHA256,
    AlgorithmIdentifier,
    Digest,
    Legacy,
    PrivateKey,
    decrypts,
    digest,
)
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.value import value

_WRITTEN = Skeleton(
    *(der.SEQUENCE, der.INTEGER_0, (der.SEQUENCE, ..., ...), ..., (der.OCTET_STRING, ...))
)
_PKCS1_V15 = (padding.PKCS1v15(),)


@value()
class KeyTransport:
    """A content-encryption key that an RSA key of ours can decrypt.

    Attributes:
        legacy: nothing that had to be allowed.
        key: ours.
        schemes: the padding; two where the algorithm's parameters can be read in two ways.
        encrypted: the encrypted content-encryption key.
    """

    legacy: ClassVar[None] = None
    key: rsa.RSAPrivateKey = field(repr=False)
    schemes: tuple[padding.AsymmetricPadding, ...]
    encrypted: bytes

    def unwrap(self) -> bytes:
        """Return the content-encryption key; octets of any length, or none, if it went wrong.

        OpenSSL itself answers bad PKCS#1 v1.5 padding with random octets of some length, so a
        failure shows as a wrong length or as rubbish later.
        All schemes are tried, whether one has succeeded or not.
        """
        if len(self.schemes) == 1:
            return self._decrypt(self.schemes[0])
        return _combined([self._decrypt(one) for one in self.schemes], self.key.key_size // 8)

    def _decrypt(self, scheme: padding.AsymmetricPadding) -> bytes:
        try:
            return self.key.decrypt(self.encrypted, scheme)
        except ValueError:
            return b""


def read(algorithm: AlgorithmIdentifier, encrypted: bytes, key: PrivateKey) -> KeyTransport:
    """Take up a RecipientInfo that names a certificate of ours.

    Args:
        algorithm: its keyEncryptionAlgorithm.
        encrypted: its encryptedKey.
        key: the certificate's private key.

    Raises:
        Malformed: the algorithm's parameters cannot be read.
        BadAlg: the key is not RSA, or the algorithm is unknown.
    """
    schemes = _schemes(algorithm)
    if not decrypts(key):
        raise BadAlg("key transport is not for the key of the certificate that it names")
    return KeyTransport(key, schemes, encrypted)


def write(cek: bytes, recipient: Certificate, key: rsa.RSAPublicKey, *, oaep: bool) -> bytes:
    """Return a KeyTransRecipientInfo.

    Args:
        cek: the content-encryption key.
        recipient: is named by issuer and serial number as it writes them.
        key: the recipient's.
        oaep: RSAES-OAEP with SHA-256 in place of RSAES-PKCS1-v1_5.
    """
    algorithm, scheme = _OURS_OAEP if oaep else _OURS
    encrypted = key.encrypt(cek, scheme)
    return _WRITTEN.write(recipient.issuer, recipient.serial_number, algorithm, encrypted)


def _combined(readings: Sequence[bytes], size: int) -> bytes:
    """Return the one reading that is not empty, whichever it is, by the same steps (P-54).

    All of them are made equally long, zeros behind the length and the octets of each, and combined
    by OR. No octets decrypt under two paddings of OAEP, so all but one are nothing but zeros.

    Args:
        readings: what was decrypted in each way; empty where it failed.
        size: how many octets one can have.
    """
    framed = [len(one).to_bytes(2, "big") + one.ljust(size, b"\0") for one in readings]
    combined = bytes(reduce(or_, octets) for octets in zip(*framed, strict=True))
    return combined[2 : 2 + int.from_bytes(combined[:2], "big")]


def _schemes(algorithm: AlgorithmIdentifier) -> tuple[padding.AsymmetricPadding, ...]:
    """Return the paddings that an algorithm may mean, one but for what Go's libraries send.

    Those name a digest and no maskGenAlgorithm, which is MGF1 with SHA-1 (RFC 4055 section 4.1),
    and use MGF1 with that digest.
    """
    if algorithm.oid == RSA_ENCRYPTION:
        return _PKCS1_V15
    if algorithm.oid != RSAES_OAEP:
        oid = algorithm.oid.dotted_string
        raise BadAlg(f"key-transport algorithm {oid} is not supported")
    if algorithm.parameters in (None, der.NULL):
        return (_oaep(SHA1, SHA1),)
    params = ber.decode(types.RSAESOAEPParams, algorithm.parameters, "RSAES-OAEP-params")
    digest_ = _oaep_digest(params.hashAlgorithm)
    mask = _oaep_digest(signatures.mask_digest(params.maskGenAlgorithm))
    if params.maskGenAlgorithm is None and digest_ is not SHA1:
        return _oaep(digest_, SHA1), _oaep(digest_, digest_)
    return (_oaep(digest_, mask),)


def _oaep_digest(algorithm: types.AlgorithmIdentifier | None) -> Digest:
    # OAEP does not rest on collision resistance, so its default SHA-1 needs no switch.
    if algorithm is None:
        return SHA1
    return digest(algorithm.algorithm, frozenset({Legacy.SHA1}))


def _oaep(hash_: Digest, mgf: Digest) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(mgf.primitive), hash_.primitive, label=None)


# The algorithms that we write, and how they encrypt.
_OURS = der.algorithm(RSA_ENCRYPTION), padding.PKCS1v15()
_OURS_OAEP = (
    der.algorithm(
        RSAES_OAEP,
        der.sequence(
            der.tagged(0, der.algorithm(SHA256.oid)),
            der.tagged(1, der.algorithm(MGF1, der.algorithm(SHA256.oid))),
        ),
    ),
    _oaep(SHA256, SHA256),
)
