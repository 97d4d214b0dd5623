"""CMS EnvelopedData (RFC 5652 section 6): a CBC cipher, and its key locked for a recipient.

RSA keys get key transport.
Keys that cannot encrypt get the password way of RFC 8894 section 3.1, EC ones key agreement on
request; how each of the three locks a key is next door.

Opening is a decryption service for anonymous senders, so it must not be an oracle
(checklist P-54): once a RecipientInfo of ours is found and the algorithms are allowed,
a wrong key or password, a wrong key length, wrong padding and unreadable content all take the same
path and all end in `undecryptable()`, whose text is one constant.
Wrong padding is not even an error here. Where padding decides what is read, or whether anything is,
an attacker feels his way along it, octet by octet (Vaudenay 2002). So the content, which is one
ASN.1 element, ends where its own length says, and the padding is judged by the caller, last of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, BadRequest, Malformed
from scepkit.protocol import (
    _asn1,
    _ber,
    _cbc,
    _codec,
    _der,
    _key_agreement,
    _key_transport,
    _password_recipient,
)
from scepkit.protocol._key_agreement import KeyAgreement
from scepkit.protocol._key_transport import KeyTransport
from scepkit.protocol._password_recipient import PasswordLock
from scepkit.protocol.algorithms import Cipher, Legacy, PrivateKey, cipher
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import DATA

ENVELOPED_DATA = ObjectIdentifier("1.2.840.113549.1.7.3")

# A client that encrypts to every certificate it was given needs a handful.
MAX_RECIPIENTS = 16

# RecipientInfo's alternatives (RFC 5652 section 6.2): ktri has no tag of its own.
_KEY_TRANSPORT = _der.SEQUENCE
_KEY_AGREEMENT = 0xA1
_PASSWORD = 0xA3

_VERSIONS = {
    _KEY_TRANSPORT: _der.INTEGER_0,
    _KEY_AGREEMENT: _der.INTEGER_2,
    _PASSWORD: _der.INTEGER_3,
}

Random: TypeAlias = Callable[[int], bytes]
"""Returns that many unpredictable octets, such as `os.urandom`."""

_UNDECRYPTABLE = "the encrypted part could not be read"


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and its certificate.

    Attributes:
        key: the private key.
        certificate: the certificate for it.
    """

    key: PrivateKey = field(repr=False)
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope held, and how it was closed.

    Attributes:
        content: the plaintext.
        cipher: the cipher that was used.
        credential: whose key opened it; None for a password.
        is_padded: whether the padding is right. To be asked when the content has been read, and
            has nothing else wrong: no sooner, see above.
    """

    content: bytes = field(repr=False)
    cipher: Cipher
    credential: Credential | None
    is_padded: bool


_Lock: TypeAlias = KeyTransport | KeyAgreement | PasswordLock


class Undecryptable(BadRequest):
    """Something inside an envelope is wrong. The peer must not learn what."""


def undecryptable(reason: str) -> Undecryptable:
    """Return the one error for everything that can be wrong inside an envelope.

    Args:
        reason: what happened, for the log only.
    """
    return Undecryptable(f"{_UNDECRYPTABLE}: {reason}", text=_UNDECRYPTABLE)


def seal(
    content: bytes,
    recipient: Certificate,
    chosen: Cipher,
    random: Random,
    *,
    password: str | None = None,
    key_agreement: bool = False,
    oaep: bool = False,
) -> bytes:
    """Return EnvelopedData for one recipient (RFC 8894 section 3.1).

    Args:
        content: the plaintext.
        recipient: whose key can open it; named by issuer and serial number as it writes them.
        chosen: the content-encryption algorithm.
        random: returns that many unpredictable octets.
        password: opens it in place of a key that cannot encrypt; not used for RSA keys.
        key_agreement: whether an EC key without a password may get key agreement.
        oaep: whether RSA keys get RSAES-OAEP with SHA-256, not RSAES-PKCS1-v1_5.

    Raises:
        BadAlg: nothing can be encrypted to the recipient's key.
    """
    cek = random(chosen.key_size)
    iv = random(chosen.block_size)
    match _way(recipient, chosen, password, key_agreement=key_agreement):
        case rsa.RSAPublicKey() as key:
            lock = _key_transport.write(cek, recipient, key, oaep=oaep)
        case ec.EllipticCurvePublicKey() as key:
            lock = _key_agreement.write(cek, recipient, key, chosen, random)
        case secret:
            lock = _password_recipient.write(cek, secret, chosen, random)
    encrypted = _der.sequence(
        _der.oid(DATA),
        _der.sequence(_der.oid(chosen.oid), _der.octet_string(iv)),
        _der.tagged(0, _cbc.encrypt(content, chosen, cek, iv), primitive=True),
    )
    enveloped = _der.sequence(_VERSIONS[lock[0]], _der.set_of(lock), encrypted)
    return _der.sequence(_der.oid(ENVELOPED_DATA), _der.tagged(0, enveloped))


def check_recipient(
    recipient: Certificate, chosen: Cipher, *, password: str | None, key_agreement: bool
) -> None:
    """Make sure that `seal` with the same arguments can work, before there is anything to seal.

    Raises:
        BadAlg: it could not.
    """
    _way(recipient, chosen, password, key_agreement=key_agreement)


def _way(
    recipient: Certificate, chosen: Cipher, password: str | None, *, key_agreement: bool
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | str:
    """Return what the content key is locked with: the recipient's key, or the password."""
    key = recipient.public_key
    if isinstance(key, rsa.RSAPublicKey):
        return key
    if password:
        return password
    if isinstance(key, ec.EllipticCurvePublicKey) and key_agreement:
        _key_agreement.wrap_for(chosen)
        return key
    raise BadAlg(
        "without a challengePassword only RSA keys can be encrypted to",
        hint="use an RSA key, or a challengePassword that both ends know (RFC 8894 section 3.1)",
    )


def open_(
    message: bytes,
    credentials: Sequence[Credential],
    allowed: frozenset[Legacy],
    random: Random,
    *,
    password: str | None = None,
) -> Opened:
    """Open EnvelopedData with whichever of our keys it is addressed to, or with a password.

    Opening is, in order:

    1. the structure is read, and the content-encryption algorithm is known and allowed;
    2. a RecipientInfo names one of our certificates (P-19) or is for a password and we know one,
       and its algorithms are known and allowed;
    3. the key is unwrapped; a failure, or a key of the wrong length, yields a random key instead;
    4. the content is decrypted and cut out; whether its padding is right is only noted.

    Args:
        message: DER or BER of the ContentInfo.
        credentials: the keys that may open it.
        allowed: the legacy algorithms that are allowed.
        random: returns that many unpredictable octets.
        password: the one password that may open it; there is no trying of several (P-26).

    Raises:
        Malformed: it is not EnvelopedData.
        BadAlg: an algorithm is unknown or not allowed.
        BadRequest: it is not for us.
        Undecryptable: it is no whole number of blocks.
    """
    # (1)
    enveloped = _read(message)
    info = enveloped.encryptedContentInfo
    used = cipher(info.contentEncryptionAlgorithm.algorithm, allowed)
    iv = _cbc.read_iv(info.contentEncryptionAlgorithm, used)
    # (2)
    lock, credential = _find(enveloped, credentials, password, allowed)
    # (3)
    cek = _unlock(lock, used.key_size, random)
    # (4)
    try:
        padded = _cbc.decrypt(_encrypted(info), used, cek, iv)
    except ValueError as error:
        raise undecryptable("wrong key, or damaged in transit") from error
    content, is_padded = _cut(padded, used)
    return Opened(content, used, credential, is_padded)


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


def recipient_of(message: bytes, credentials: Sequence[Credential]) -> Credential | None:
    """Say which of our certificates an envelope is addressed to, without opening it.

    Returns:
        None when it is no envelope, or is addressed to none of them.
    """
    try:
        _, credential = _find(_read(message), credentials, None, frozenset(Legacy))
    except (Malformed, BadAlg, BadRequest):
        return None
    return credential


def _read(message: bytes) -> _asn1.EnvelopedData:
    info = _codec.decode(_asn1.ContentInfo, message, "CMS ContentInfo")
    if info.contentType != ENVELOPED_DATA:
        raise Malformed(f"CMS content type {info.contentType.dotted_string}, not EnvelopedData")
    return _codec.parse(_asn1.EnvelopedData, info.content, "CMS EnvelopedData")


def _find(
    enveloped: _asn1.EnvelopedData,
    credentials: Sequence[Credential],
    password: str | None,
    allowed: frozenset[Legacy],
) -> tuple[_Lock, Credential | None]:
    """Take up the first RecipientInfo that is for us; what is not ours is not read further."""
    recipients = _codec.elements(enveloped.recipientInfos.data)
    if len(recipients) > MAX_RECIPIENTS:
        raise Malformed(f"{len(recipients)} recipients in one envelope")
    for der in recipients:
        found: tuple[_Lock, Credential | None] | None = None
        if der[0] == _KEY_TRANSPORT:
            found = _key_transport_for(der, credentials)
        elif der[0] == _KEY_AGREEMENT:
            found = _key_agreement_for(der, credentials, allowed)
        elif der[0] == _PASSWORD and password:
            found = _password_lock(der, password, allowed), None
        if found is not None:
            return found
    if any(der[0] == _PASSWORD for der in recipients):
        raise BadRequest("the message is encrypted with a password that is not known here")
    raise BadRequest(
        "the message is encrypted to none of our certificates; "
        "fetch the CA certificates again (GetCACert)"
    )


def _key_transport_for(
    der: bytes, credentials: Sequence[Credential]
) -> tuple[KeyTransport, Credential] | None:
    info = _codec.decode(_asn1.KeyTransRecipientInfo, der, "KeyTransRecipientInfo")
    for credential in credentials:
        if _addressed(info.rid, credential.certificate):
            return _key_transport.read(info, credential.key), credential
    return None


def _key_agreement_for(
    der: bytes, credentials: Sequence[Credential], allowed: frozenset[Legacy]
) -> tuple[KeyAgreement, Credential] | None:
    sequence = _der.retag(der, _der.SEQUENCE)
    try:
        info = _codec.decode(_asn1.KeyAgreeRecipientInfo, sequence, "KeyAgreeRecipientInfo")
    except Malformed:
        # There are kinds that we do not know, such as names of keys in key stores: not ours.
        return None
    if len(info.recipientEncryptedKeys) > MAX_RECIPIENTS:
        raise Malformed(f"{len(info.recipientEncryptedKeys)} recipients in one key agreement")
    for recipient in info.recipientEncryptedKeys:
        rid = recipient.rid
        name = rid.subjectKeyIdentifier if isinstance(rid, _asn1.RecipientKeyIdentifier) else rid
        for credential in credentials:
            if _addressed(name, credential.certificate):
                encrypted = recipient.encryptedKey
                return _key_agreement.read(info, encrypted, credential.key, allowed), credential
    return None


def _password_lock(der: bytes, password: str, allowed: frozenset[Legacy]) -> PasswordLock:
    sequence = _der.retag(der, _der.SEQUENCE)
    info = _codec.decode(_asn1.PasswordRecipientInfo, sequence, "PasswordRecipientInfo")
    return _password_recipient.read(info, password, allowed)


def _addressed(rid: _asn1.IssuerAndSerialNumber | bytes, certificate: Certificate) -> bool:
    if isinstance(rid, bytes):
        identifier = certificate.subject_key_identifier
        # Some clients wrap the identifier in the OCTET STRING of the extension.
        return identifier is not None and rid in (identifier, _der.octet_string(identifier))
    return (
        _codec.encode(rid.serialNumber) == certificate.serial_number
        and _codec.encode(rid.issuer) == certificate.issuer
    )


def _unlock(lock: _Lock, size: int, random: Random) -> bytes:
    """Return the content-encryption key, or a random one (RFC 3218 section 2.3.2)."""
    substitute = random(size)
    cek = lock.unwrap()
    return cek if cek is not None and len(cek) == size else substitute


def _cut(padded: bytes, used: Cipher) -> tuple[bytes, bool]:
    """Return the content, by its own length wherever that can be, and whether the padding fits."""
    unpadded = _cbc.unpad(padded, used)
    end = _ber.end(padded)
    if end is not None and 0 < len(padded) - end <= used.block_size:
        return padded[:end], unpadded is not None and len(unpadded) == end
    return (padded, False) if unpadded is None else (unpadded, True)


def _encrypted(info: _asn1.EncryptedContentInfo) -> bytes:
    if info.encryptedContent is not None:
        return info.encryptedContent
    return b"".join(info.encryptedContentPieces or [])
