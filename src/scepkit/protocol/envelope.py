"""CMS EnvelopedData (RFC 5652 section 6): RSA key transport and a CBC cipher.

Opening is a decryption service for anonymous senders, so it must not be an oracle
(checklist P-54): once a RecipientInfo of ours is found and the algorithms are allowed,
a wrong key, a wrong key length, wrong padding and unreadable content all take the same path and
all end in `undecryptable()`, whose text is one constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.asn1 import TLV
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, BadRequest, Malformed
from scepkit.protocol import _asn1, _codec, _der
from scepkit.protocol.algorithms import (
    MGF1,
    RSA_ENCRYPTION,
    RSAES_OAEP,
    SHA1,
    Cipher,
    Digest,
    Legacy,
    PrivateKey,
    cipher,
    digest,
)
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import DATA

ENVELOPED_DATA = ObjectIdentifier("1.2.840.113549.1.7.3")

# A client that encrypts to every certificate it was given needs a handful.
MAX_RECIPIENTS = 16

_UNDECRYPTABLE = "the encrypted part could not be read"


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and its certificate.

    Attributes:
        key: the private key.
        certificate: the certificate for it.
    """

    key: PrivateKey
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope held, and how it was closed.

    Attributes:
        content: the plaintext.
        cipher: the cipher that was used.
        credential: whose key opened it.
    """

    content: bytes = field(repr=False)
    cipher: Cipher
    credential: Credential


def undecryptable(reason: str) -> BadRequest:
    """Return the one error for everything that can be wrong inside an envelope.

    Args:
        reason: what happened, for the log only.
    """
    return BadRequest(f"{_UNDECRYPTABLE}: {reason}", text=_UNDECRYPTABLE)


def seal(
    content: bytes, recipient: Certificate, chosen: Cipher, random: Callable[[int], bytes]
) -> bytes:
    """Return EnvelopedData for one RSA recipient, RSAES-PKCS1-v1_5 (RFC 8894 section 3.1).

    Args:
        content: the plaintext.
        recipient: whose key can open it; named by issuer and serial number as it writes them.
        chosen: the content-encryption algorithm.
        random: returns that many unpredictable octets.

    Raises:
        BadAlg: the recipient's key cannot encrypt.
    """
    key = recipient.public_key
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadAlg("the recipient's key cannot encrypt; only RSA keys can")
    cek = random(chosen.key_size)
    iv = random(chosen.block_size)
    transport = _der.sequence(
        _der.INTEGER_0,
        recipient.issuer_and_serial_number,
        _der.algorithm(RSA_ENCRYPTION),
        _der.octet_string(key.encrypt(cek, padding.PKCS1v15())),
    )
    encrypted = _der.sequence(
        _der.oid(DATA),
        _der.sequence(_der.oid(chosen.oid), _der.octet_string(iv)),
        _der.tagged(0, _encrypt(content, chosen, cek, iv), primitive=True),
    )
    enveloped = _der.sequence(_der.INTEGER_0, _der.set_of(transport), encrypted)
    return _der.sequence(_der.oid(ENVELOPED_DATA), _der.tagged(0, enveloped))


def open_(
    message: bytes,
    credentials: Sequence[Credential],
    allowed: frozenset[Legacy],
    random: Callable[[int], bytes],
) -> Opened:
    """Open EnvelopedData with whichever of our keys it is addressed to.

    Opening is, in order:

    1. the structure is read, and the content-encryption algorithm is known and allowed;
    2. a RecipientInfo names one of our certificates (P-19) and a key transport we know;
    3. the key is unwrapped; a failure, or a key of the wrong length, yields a random key instead;
    4. the content is decrypted and its padding taken off.

    Args:
        message: DER or BER of the ContentInfo.
        credentials: the keys that may open it.
        allowed: the legacy algorithms that are allowed.
        random: returns that many unpredictable octets.

    Raises:
        Malformed: it is not EnvelopedData.
        BadAlg: an algorithm is unknown or not allowed.
        BadRequest: it is not for us, or cannot be decrypted.
    """
    # (1)
    enveloped = _read(message)
    info = enveloped.encryptedContentInfo
    used = cipher(info.contentEncryptionAlgorithm.algorithm, allowed)
    iv = _iv(info.contentEncryptionAlgorithm, used)
    # (2)
    transport, credential = _find(enveloped, credentials)
    scheme = _transport_padding(transport.keyEncryptionAlgorithm)
    # (3)
    cek = _unwrap(credential.key, transport.encryptedKey, scheme, used.key_size, random)
    # (4)
    return Opened(_decrypt(_encrypted(info), used, cek, iv), used, credential)


def cipher_of(message: bytes, allowed: frozenset[Legacy]) -> Cipher | None:
    """Say which cipher an envelope uses, without opening it.

    Returns:
        None when it is no envelope, or a cipher that is unknown or not allowed.
    """
    try:
        info = _read(message).encryptedContentInfo
        return cipher(info.contentEncryptionAlgorithm.algorithm, allowed)
    except (Malformed, BadAlg):
        return None


def _read(message: bytes) -> _asn1.EnvelopedData:
    info = _codec.decode(_asn1.ContentInfo, message, "CMS ContentInfo")
    if info.contentType != ENVELOPED_DATA:
        raise Malformed(f"CMS content type {info.contentType.dotted_string}, not EnvelopedData")
    return _codec.parse(_asn1.EnvelopedData, info.content, "CMS EnvelopedData")


def _iv(algorithm: _asn1.AlgorithmIdentifier, used: Cipher) -> bytes:
    if not isinstance(algorithm.parameters, TLV):
        raise Malformed("the content-encryption algorithm has no IV")
    iv = _codec.parse(bytes, algorithm.parameters, "IV")
    if len(iv) != used.block_size:
        raise Malformed(f"an IV of {len(iv)} octets")
    return iv


def _find(
    enveloped: _asn1.EnvelopedData, credentials: Sequence[Credential]
) -> tuple[_asn1.KeyTransRecipientInfo, Credential]:
    recipients = _codec.elements(enveloped.recipientInfos.data)
    if len(recipients) > MAX_RECIPIENTS:
        raise Malformed(f"{len(recipients)} recipients in one envelope")
    for der in recipients:
        # Key agreement, passwords and the rest have context tags; what is not ours is not read.
        if der[0] != _der.SEQUENCE:
            continue
        transport = _codec.decode(_asn1.KeyTransRecipientInfo, der, "KeyTransRecipientInfo")
        for credential in credentials:
            if _addressed(transport.rid, credential.certificate):
                return transport, credential
    raise BadRequest(
        "the message is encrypted to none of our certificates; "
        "fetch the CA certificates again (GetCACert)"
    )


def _addressed(rid: _asn1.IssuerAndSerialNumber | bytes, certificate: Certificate) -> bool:
    if isinstance(rid, bytes):
        identifier = certificate.subject_key_identifier
        # Some clients wrap the identifier in the OCTET STRING of the extension.
        return identifier is not None and rid in (identifier, _der.octet_string(identifier))
    return (
        _codec.encode(rid.serialNumber) == certificate.serial_number
        and _codec.encode(rid.issuer) == certificate.issuer
    )


def _transport_padding(algorithm: _asn1.AlgorithmIdentifier) -> padding.AsymmetricPadding:
    if algorithm.algorithm == RSA_ENCRYPTION:
        return padding.PKCS1v15()
    if algorithm.algorithm != RSAES_OAEP:
        oid = algorithm.algorithm.dotted_string
        raise BadAlg(f"key-transport algorithm {oid} is not supported")
    if not isinstance(algorithm.parameters, TLV):
        return _oaep(SHA1, SHA1)
    params = _codec.parse(_asn1.RSAESOAEPParams, algorithm.parameters, "RSAES-OAEP-params")
    return _oaep(_oaep_digest(params.hashAlgorithm), _oaep_digest(_mgf1(params)))


def _mgf1(params: _asn1.RSAESOAEPParams) -> _asn1.AlgorithmIdentifier | None:
    mask = params.maskGenAlgorithm
    if mask is None:
        return None
    if mask.algorithm != MGF1 or not isinstance(mask.parameters, TLV):
        raise BadAlg("RSAES-OAEP with a mask generation other than MGF1 is not supported")
    return _codec.parse(_asn1.AlgorithmIdentifier, mask.parameters, "MGF1 parameters")


def _oaep_digest(algorithm: _asn1.AlgorithmIdentifier | None) -> Digest:
    # OAEP does not rest on collision resistance, so its default SHA-1 needs no switch.
    if algorithm is None:
        return SHA1
    return digest(algorithm.algorithm, frozenset({Legacy.SHA1}))


def _oaep(hash_: Digest, mgf: Digest) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(mgf.primitive), hash_.primitive, label=None)


def _unwrap(
    key: PrivateKey,
    encrypted: bytes,
    scheme: padding.AsymmetricPadding,
    size: int,
    random: Callable[[int], bytes],
) -> bytes:
    """Return the content-encryption key, or a random one (RFC 3218 section 2.3.2).

    OpenSSL itself answers bad PKCS#1 v1.5 padding with random octets of some length, so a failure
    shows as a wrong length or as rubbish later, never as an error here.
    """
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadAlg("this server's key cannot decrypt")
    substitute = random(size)
    try:
        cek = key.decrypt(encrypted, scheme)
    except ValueError:
        return substitute
    return cek if len(cek) == size else substitute


def _encrypted(info: _asn1.EncryptedContentInfo) -> bytes:
    if info.encryptedContent is not None:
        return info.encryptedContent
    return b"".join(info.encryptedContentPieces or [])


def _encrypt(content: bytes, chosen: Cipher, key: bytes, iv: bytes) -> bytes:
    # RFC 5652 section 6.3: as many octets as the last block lacks, each of them that number.
    size = chosen.block_size - len(content) % chosen.block_size
    encryptor = CipherContext(chosen.primitive(key), CBC(iv)).encryptor()
    return encryptor.update(content + bytes([size]) * size) + encryptor.finalize()


def _decrypt(encrypted: bytes, used: Cipher, key: bytes, iv: bytes) -> bytes:
    decryptor = CipherContext(used.primitive(key), CBC(iv)).decryptor()
    unpadder = PKCS7(used.block_size * 8).unpadder()
    try:
        padded = decryptor.update(encrypted) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise undecryptable("wrong key, or damaged in transit") from error
