"""KeyTransRecipientInfo (RFC 5652 section 6.2.1): an RSA key opens the envelope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import reduce
from operator import or_
from typing import ClassVar, NamedTuple

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
    digest,
)
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.value import value

_WRITTEN = Skeleton(
    *(der.SEQUENCE, der.INTEGER_0, (der.SEQUENCE, ..., ...), ...),
    (der.OCTET_STRING, ...),
)
_PKCS1_V15 = padding.PKCS1v15()


class OAEP(NamedTuple):
    """RSAES-OAEP (RFC 8017 section 7.1).

    Attributes:
        hash: its digest.
        mask: the digest of MGF1.
    """

    hash: Digest
    mask: Digest

    @property
    def padding(self) -> padding.OAEP:
        """Return the padding of its messages."""
        mask = padding.MGF1(self.mask.primitive)
        return padding.OAEP(mask, self.hash.primitive, label=None)

    @property
    def algorithm(self) -> bytes:
        """Return its AlgorithmIdentifier, DER: SHA-1, the default, is left out (RFC 4055)."""
        parts = []
        if self.hash is not SHA1:
            parts.append(der.tagged(0, der.algorithm(self.hash.oid)))
        if self.mask is not SHA1:
            mask = der.algorithm(MGF1, der.algorithm(self.mask.oid))
            parts.append(der.tagged(1, mask))
        return der.algorithm(RSAES_OAEP, der.sequence(*parts))


OAEP_SHA256 = OAEP(SHA256, SHA256)
"""RSAES-OAEP with SHA-256 throughout."""


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


def read(
    algorithm: AlgorithmIdentifier, encrypted: bytes, key: rsa.RSAPrivateKey | None
) -> KeyTransport:
    """Take up a RecipientInfo that names a certificate of ours.

    Args:
        algorithm: its keyEncryptionAlgorithm.
        encrypted: its encryptedKey.
        key: the certificate's private key; None where that is no RSA key.

    Raises:
        Malformed: the algorithm's parameters cannot be read.
        BadAlg: the key is not RSA, or the algorithm is unknown.
    """
    schemes = tuple([_PKCS1_V15 if one is None else one.padding for one in _ways(algorithm)])
    if key is None:
        raise BadAlg("key transport is not for the key of the certificate that it names")
    return KeyTransport(key, schemes, encrypted)


def oaep(algorithm: AlgorithmIdentifier) -> OAEP | None:
    """Return the RSAES-OAEP that answers an algorithm; None for RSAES-PKCS1-v1_5.

    Where the algorithm can be read in two ways, both readers understand what this writes.

    Raises:
        Malformed: the algorithm's parameters cannot be read.
        BadAlg: the algorithm is unknown.
    """
    return _ways(algorithm)[-1]


def write(cek: bytes, recipient: Certificate, key: rsa.RSAPublicKey, *, oaep: OAEP | None) -> bytes:
    """Return a KeyTransRecipientInfo.

    Args:
        cek: the content-encryption key.
        recipient: is named by issuer and serial number as it writes them.
        key: the recipient's.
        oaep: in place of RSAES-PKCS1-v1_5; 2048 bits are enough for each.
    """
    if oaep is not None:
        algorithm, encrypted = oaep.algorithm, key.encrypt(cek, oaep.padding)
    else:
        algorithm, encrypted = _PKCS1_V15_DER, key.encrypt(cek, _PKCS1_V15)
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


def _ways(algorithm: AlgorithmIdentifier) -> tuple[OAEP | None, ...]:
    """Return what an algorithm may mean, one thing but for what Go's libraries send.

    Those name a digest and no maskGenAlgorithm, which is MGF1 with SHA-1 (RFC 4055 section 4.1),
    and use MGF1 with that digest.
    """
    if algorithm.oid == RSA_ENCRYPTION:
        return (None,)
    if algorithm.oid != RSAES_OAEP:
        oid = algorithm.oid.dotted_string
        raise BadAlg(f"key-transport algorithm {oid} is not supported")
    if algorithm.parameters in (None, der.NULL):
        return (OAEP(SHA1, SHA1),)
    params = ber.decode(types.RSAESOAEPParams, algorithm.parameters, "RSAES-OAEP-params")
    digest_ = _oaep_digest(params.hashAlgorithm)
    mask = _oaep_digest(signatures.mask_digest(params.maskGenAlgorithm))
    if params.maskGenAlgorithm is None and digest_ is not SHA1:
        return OAEP(digest_, SHA1), OAEP(digest_, digest_)
    return (OAEP(digest_, mask),)


def _oaep_digest(algorithm: types.AlgorithmIdentifier | None) -> Digest:
    # OAEP does not rest on collision resistance, so its default SHA-1 needs no switch.
    if algorithm is None:
        return SHA1
    return digest(algorithm.algorithm, frozenset({Legacy.SHA1}))


_PKCS1_V15_DER = der.algorithm(RSA_ENCRYPTION)
