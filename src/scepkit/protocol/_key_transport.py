"""KeyTransRecipientInfo (RFC 5652 section 6.2.1): an RSA key opens the envelope."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from scepkit.errors import BadAlg
from scepkit.protocol import _asn1, _codec, _der, _mgf1
from scepkit.protocol.algorithms import (
    MGF1,
    RSA_ENCRYPTION,
    RSAES_OAEP,
    SHA1,
    SHA256,
    Digest,
    Legacy,
    PrivateKey,
    digest,
)
from scepkit.protocol.certificate import Certificate

_PKCS1_V15 = _der.algorithm(RSA_ENCRYPTION)
_OAEP_SHA256 = _der.algorithm(
    RSAES_OAEP,
    _der.sequence(
        _der.tagged(0, _der.algorithm(SHA256.oid)),
        _der.tagged(1, _der.algorithm(MGF1, _der.algorithm(SHA256.oid))),
    ),
)


@dataclass(frozen=True, slots=True)
class KeyTransport:
    """A content-encryption key that an RSA key of ours can decrypt.

    Attributes:
        key: ours.
        scheme: the padding.
        encrypted: the encrypted content-encryption key.
    """

    key: rsa.RSAPrivateKey = field(repr=False)
    scheme: padding.AsymmetricPadding
    encrypted: bytes

    def unwrap(self) -> bytes | None:
        """Return the content-encryption key; None, or octets of any length, if it went wrong.

        OpenSSL itself answers bad PKCS#1 v1.5 padding with random octets of some length, so a
        failure shows as a wrong length or as rubbish later.
        """
        try:
            return self.key.decrypt(self.encrypted, self.scheme)
        except ValueError:
            return None


def read(info: _asn1.KeyTransRecipientInfo, key: PrivateKey) -> KeyTransport:
    """Take up a RecipientInfo that names a certificate of ours.

    Args:
        info: the RecipientInfo.
        key: the certificate's private key.

    Raises:
        Malformed: the algorithm's parameters cannot be read.
        BadAlg: the key is not RSA, or the algorithm is unknown.
    """
    scheme = _scheme(info.keyEncryptionAlgorithm)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadAlg("key transport is not for the key of the certificate that it names")
    return KeyTransport(key, scheme, info.encryptedKey)


def write(cek: bytes, recipient: Certificate, key: rsa.RSAPublicKey, *, oaep: bool) -> bytes:
    """Return a KeyTransRecipientInfo.

    Args:
        cek: the content-encryption key.
        recipient: is named by issuer and serial number as it writes them.
        key: the recipient's.
        oaep: RSAES-OAEP with SHA-256 in place of RSAES-PKCS1-v1_5.
    """
    scheme = _oaep(SHA256, SHA256) if oaep else padding.PKCS1v15()
    return _der.sequence(
        _der.INTEGER_0,
        recipient.issuer_and_serial_number,
        _OAEP_SHA256 if oaep else _PKCS1_V15,
        _der.octet_string(key.encrypt(cek, scheme)),
    )


def _scheme(algorithm: _asn1.AlgorithmIdentifier) -> padding.AsymmetricPadding:
    if algorithm.algorithm == RSA_ENCRYPTION:
        return padding.PKCS1v15()
    if algorithm.algorithm != RSAES_OAEP:
        oid = algorithm.algorithm.dotted_string
        raise BadAlg(f"key-transport algorithm {oid} is not supported")
    if not isinstance(algorithm.parameters, TLV):
        return _oaep(SHA1, SHA1)
    params = _codec.parse(_asn1.RSAESOAEPParams, algorithm.parameters, "RSAES-OAEP-params")
    mask = _mgf1.read(params.maskGenAlgorithm)
    return _oaep(_oaep_digest(params.hashAlgorithm), _oaep_digest(mask))


def _oaep_digest(algorithm: _asn1.AlgorithmIdentifier | None) -> Digest:
    # OAEP does not rest on collision resistance, so its default SHA-1 needs no switch.
    if algorithm is None:
        return SHA1
    return digest(algorithm.algorithm, frozenset({Legacy.SHA1}))


def _oaep(hash_: Digest, mgf: Digest) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(mgf.primitive), hash_.primitive, label=None)
