"""CMS EnvelopedData (RFC 5652 section 6): a CBC cipher, and its key locked for a recipient.

RSA keys get key transport.
Keys that cannot encrypt get the password way of RFC 8894 section 3.1, EC ones key agreement on
request; which is for us, and how each of the three locks a key, is next door.

Opening is a decryption service for anonymous senders, so it must not be an oracle
(checklist P-54): once a RecipientInfo of ours is found and the algorithms are allowed,
a wrong key or password, a wrong key length, wrong padding and unreadable content all take the same
path and all end in `undecryptable()`, whose text is one constant.
Wrong padding is not even an error here. Where padding decides what is read, or whether anything is,
an attacker learns the content, octet by octet (Vaudenay 2002). So the content, which is one
ASN.1 element, ends where its own length says, and the padding is judged by the caller, last of all.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg, BadRequest, Malformed
from scepkit.protocol import algorithms
from scepkit.protocol.algorithms import EC_KEY, RSA_KEY, Cipher, Legacy, PublicKey
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    SKIP,
    Grammar,
    Row,
)
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import key_agreement as _key_agreement
from scepkit.protocol.cms import key_transport, password_recipient, recipients
from scepkit.protocol.cms.key_transport import OAEP
from scepkit.protocol.cms.pbkdf2 import MAX_ITERATIONS
from scepkit.protocol.cms.recipients import KEY_AGREEMENT, KEY_TRANSPORT, PASSWORD
from scepkit.protocol.cms.signed import CONTENT_INFO, DATA, Credential
from scepkit.protocol.value import once, value

__all__ = [
    "Credential",
    "Envelope",
    "Opened",
    "Random",
    "Undecryptable",
    "check_recipient",
    "seal",
    "undecryptable",
]

ENVELOPED_DATA = der.oid(ObjectIdentifier("1.2.840.113549.1.7.3"))

# EnvelopedData ::= SEQUENCE {
#     version CMSVersion,
#     originatorInfo [0] IMPLICIT OriginatorInfo OPTIONAL,
#     recipientInfos SET OF RecipientInfo,
#     encryptedContentInfo EncryptedContentInfo,
#     unprotectedAttrs [1] IMPLICIT UnprotectedAttributes OPTIONAL }
#
# EncryptedContentInfo ::= SEQUENCE {
#     contentType ContentType,
#     contentEncryptionAlgorithm ContentEncryptionAlgorithmIdentifier,
#     encryptedContent [0] IMPLICIT EncryptedContent OPTIONAL }
#
# The second [0] is the constructed form of the same field, which Go clients send: only one of
# the two is ever there.
_ENVELOPED_DATA = (
    *(der.SEQUENCE | ENTER, der.INTEGER | SKIP, 0xA0 | OPTIONAL | SKIP),
    # Those that are not DER are for who looks for its own among them.
    *(ANY | ENTER, Row([ANY], bytes, of_ones=True), END),
    *(der.SEQUENCE | ENTER, der.OID | SKIP),
    *(der.SEQUENCE | ENTER, der.OID, ANY | FIRST | CONTENT | OPTIONAL, END),
    *(0x80 | CONTENT | OPTIONAL, 0xA0 | CONTENT | OPTIONAL, END),
    *(0xA1 | OPTIONAL | SKIP, END),
)
_ALONE = Grammar("CMS EnvelopedData", *_ENVELOPED_DATA)
_IN_CONTENT_INFO = Grammar(
    "CMS ContentInfo",
    *(der.SEQUENCE | ENTER, der.OID, 0xA0 | ENTER),
    *(*_ENVELOPED_DATA, END, END),
)

_VERSIONS = {
    KEY_TRANSPORT: der.INTEGER_0,
    KEY_AGREEMENT: der.INTEGER_2,
    PASSWORD: der.INTEGER_3,
}

_ENCRYPTED_CONTENT = (der.SEQUENCE, ..., ..., (0x80, ...))
_ENVELOPED = Skeleton(
    *(der.SEQUENCE, ENVELOPED_DATA),
    (der.EXPLICIT_0, (der.SEQUENCE, ..., (der.SET, ...), _ENCRYPTED_CONTENT)),
)
# What an EncryptedContentInfo has before the IV: the type of its content, and the cipher.
_UP_TO_IV = {
    oid: DATA + der.sequence(der.oid(oid), der.octet_string(bytes(size)))[:-size]
    for oid, size in ((one.oid, one.block_size) for one in algorithms.CIPHERS.values())
}

Random: TypeAlias = Callable[[int], bytes]
"""Returns that many unpredictable octets, such as `os.urandom`."""

_OCTET_STRING = bytes([der.OCTET_STRING])
_EVERY_LEGACY = frozenset(Legacy)
_ANY_PASSWORD = "any"  # noqa: S105 - where only the kind of lock is asked for
_UNDECRYPTABLE = "the encrypted part could not be read"


@value()
class Opened:
    """The content of an envelope, and the algorithms that closed it.

    Attributes:
        content: the plaintext.
        cipher: the cipher that was used.
        credential: whose key opened it; None for a password.
        is_padded: whether the padding is right. To be asked when the content has been read, and
            has nothing else wrong: no sooner, see above.
        wrap: what the wrap of its key uses that had to be allowed.
    """

    content: bytes = field(repr=False)
    cipher: Cipher
    credential: Credential | None
    is_padded: bool
    wrap: Legacy | None


class Undecryptable(BadRequest):
    """An error inside an envelope, which the peer must not learn."""


def undecryptable(reason: str) -> Undecryptable:
    """Return the one error for everything that can be wrong inside an envelope.

    Args:
        reason: what happened, for the log only.
    """
    return Undecryptable(f"{_UNDECRYPTABLE}: {reason}", text=_UNDECRYPTABLE)


@value()
class _EnvelopedData:
    """The parts of an EnvelopedData that opening it takes.

    Attributes:
        recipients: RecipientInfos, or a row of them.
        cipher: OID of the cipher.
        iv: its parameter; empty when it has none that is an OCTET STRING.
        encrypted: the encrypted content.
    """

    recipients: list[bytes] | bytes
    cipher: ObjectIdentifier
    iv: bytes
    encrypted: bytes


@value(keeps=True)
class Envelope:
    """EnvelopedData that is still closed; read when it is first asked about, and then no more.

    Attributes:
        message: DER or BER of the ContentInfo, or whatever a peer sent in its place.
    """

    message: bytes = field(repr=False)

    def open(
        self,
        credentials: Sequence[Credential],
        allowed: frozenset[Legacy],
        random: Random,
        *,
        password: str | None = None,
        max_iterations: int = MAX_ITERATIONS,
    ) -> Opened:
        """Open it with whichever of our keys it is addressed to, or with a password.

        Opening is, in order:

        1. the structure is read, and the content-encryption algorithm is known and allowed;
        2. a RecipientInfo names one of our certificates (P-19) or is for a password and we know
           one, and its algorithms are known and allowed;
        3. the key is unwrapped; a failure, or a key of the wrong length, yields a random key
           instead;
        4. the content is decrypted and cut out; whether its padding is right is only noted.

        Args:
            credentials: the keys that may open it.
            allowed: the legacy algorithms that are allowed.
            random: returns that many unpredictable octets.
            password: the one password that may open it; there is no trying of several (P-26).
            max_iterations: how much work that may take (P-25).

        Raises:
            Malformed: it is not EnvelopedData.
            BadAlg: an algorithm is unknown or not allowed, or asks for too much work.
            BadRequest: it is not for us; or `Undecryptable`, no whole number of blocks.
        """
        # (1)
        enveloped = _parts(self._read)
        used = algorithms.cipher(enveloped.cipher, allowed)
        if len(enveloped.iv) != used.block_size:
            raise Malformed(f"an IV of {len(enveloped.iv)} octets")
        # (2)
        lock, credential = recipients.find(
            enveloped.recipients, credentials, password, allowed, max_iterations
        )
        # (3) RFC 3218 section 2.3.2
        substitute = random(used.key_size)
        cek = lock.unwrap()
        if cek is None or len(cek) != used.key_size:
            cek = substitute
        # (4)
        content, is_padded = _decrypt(enveloped, used, cek)
        return Opened(content, used, credential, is_padded, lock.legacy)

    def cipher(self, allowed: frozenset[Legacy]) -> Cipher | None:
        """Say which cipher it uses, without opening it.

        Returns:
            None when it is no envelope, or a cipher that is unknown or not allowed.
        """
        if isinstance(self._read, Malformed):
            return None
        found = algorithms.CIPHERS.get(self._read.cipher)
        return found if found and (found.legacy is None or found.legacy in allowed) else None

    def legacy_uses(
        self, credentials: Sequence[Credential], *, password: str | None = None
    ) -> frozenset[Legacy]:
        """Name everything that has to be allowed to open it, without opening it.

        Args:
            credentials: the keys that may open it.
            password: the one password that may open it.

        Raises:
            Malformed, BadRequest: it could not be opened, whatever is allowed; see `open`.
            BadAlg: an algorithm is not supported, whatever is allowed.
        """
        enveloped = _parts(self._read)
        used = algorithms.cipher(enveloped.cipher, _EVERY_LEGACY)
        lock, _ = recipients.find(enveloped.recipients, credentials, password, _EVERY_LEGACY)
        uses = (used.legacy, lock.legacy)
        return frozenset(one for one in uses if one is not None)

    def recipient(self, credentials: Sequence[Credential]) -> Credential | None:
        """Say which of our certificates it is addressed to, without opening it.

        Returns:
            None when it is no envelope, or is addressed to none of them.
        """
        try:
            infos = _parts(self._read).recipients
            _, credential = recipients.find(infos, credentials, None, _EVERY_LEGACY)
        except (Malformed, BadAlg, BadRequest):
            return None
        return credential

    def ways(
        self, credentials: Sequence[Credential], allowed: frozenset[Legacy]
    ) -> tuple[Cipher | None, OAEP | None]:
        """Say how to encrypt an answer so that its sender can open it, without opening it.

        Args:
            credentials: the keys that it may be addressed to.
            allowed: the legacy algorithms that are allowed.

        Returns:
            Its cipher, as `cipher` says; and the RSAES-OAEP that it uses for a key of ours, None
            when it uses another way, is no envelope, or is addressed to none of them.
        """
        cipher = self.cipher(allowed)
        if isinstance(self._read, Malformed):
            return cipher, None
        try:
            return cipher, recipients.oaep(self._read.recipients, credentials)
        except (Malformed, BadAlg):
            return cipher, None

    def needs_password(self, credentials: Sequence[Credential]) -> bool:
        """Say whether it takes a password to open it, without opening it.

        Args:
            credentials: the keys that may open it instead; the first that is for us counts.

        Returns:
            False, too, where nothing opens it.
        """
        try:
            infos = _parts(self._read).recipients
            _, credential = recipients.find(infos, credentials, _ANY_PASSWORD, _EVERY_LEGACY)
        except (Malformed, BadAlg, BadRequest):
            return False
        return credential is None

    @once
    def _read(self) -> _EnvelopedData | Malformed:
        """Its parts, or what is wrong: what is not DER takes long to read, good or bad."""
        try:
            return _read(self.message)
        except Malformed as error:
            return error.with_traceback(None)


def _read(message: bytes) -> _EnvelopedData:
    fields = _IN_CONTENT_INFO.strictly(message) or _one_by_one(message)
    kind, infos, cipher, parameter, iv, encrypted, pieces = fields
    if kind != ENVELOPED_DATA:
        raise _other_type(kind)
    if pieces and not encrypted:
        encrypted = b"".join(
            ber.content(piece, der.OCTET_STRING, "encryptedContent") for piece in ber.split(pieces)
        )
    iv = iv if parameter == _OCTET_STRING else b""
    return _EnvelopedData(infos, ber.oid(cipher), iv, encrypted)


def _one_by_one(message: bytes) -> list[Any]:
    """Cut a ContentInfo, and then the EnvelopedData in it: it is unusual, or none."""
    kind, enveloped = CONTENT_INFO.fields(message)
    if kind != ENVELOPED_DATA:
        raise _other_type(kind)
    return [kind, *_ALONE.fields(enveloped)]


def _other_type(kind: bytes) -> Malformed:
    return Malformed(f"CMS content type {ber.oid(kind).dotted_string}, not EnvelopedData")


def _parts(read: _EnvelopedData | Malformed) -> _EnvelopedData:
    if isinstance(read, Malformed):
        raise Malformed(read.message) from read
    return read


def _decrypt(enveloped: _EnvelopedData, used: Cipher, key: bytes) -> tuple[bytes, bool]:
    """Return the content, by its own length wherever that can be, and whether the padding fits.

    Raises:
        Undecryptable: it is no whole number of blocks.
    """
    encrypted, size = enveloped.encrypted, used.block_size
    if len(encrypted) % size:
        raise undecryptable("wrong key, or damaged in transit")
    padded = used.context(key, enveloped.iv).decryptor().update(encrypted)
    # RFC 5652 section 6.3: as many octets as the last block lacks, each of them that number.
    padding = padded[-1] if padded else 0
    expected = padded[-size:-padding] + padded[-1:] * padding
    is_padded = hmac.compare_digest(padded[-size:], expected) and padding > 0
    end = ber.end(padded)
    if end is not None and 0 < len(padded) - end <= size:
        return padded[:end], is_padded and padding == len(padded) - end
    return (padded[:-padding], True) if is_padded else (padded, False)


# --- writing -------------------------------------------------------------------------------------


def seal(
    content: bytes,
    recipient: Certificate,
    chosen: Cipher,
    random: Random,
    *,
    password: str | None = None,
    key_agreement: bool = False,
    oaep: OAEP | None = None,
) -> bytes:
    """Return EnvelopedData for one recipient (RFC 8894 section 3.1).

    Args:
        content: the plaintext.
        recipient: whose key can open it; named by issuer and serial number as it writes them.
        chosen: the content-encryption algorithm.
        random: returns that many unpredictable octets.
        password: opens it in place of a key that cannot encrypt; not used for RSA keys.
        key_agreement: whether an EC key without a password may get key agreement.
        oaep: for RSA keys, in place of RSAES-PKCS1-v1_5.

    Raises:
        BadAlg: nothing can be encrypted to the recipient's key.
    """
    cek = random(chosen.key_size)
    iv = random(chosen.block_size)
    key = recipient.public_key
    if isinstance(key, RSA_KEY):
        lock = key_transport.write(cek, recipient, key, oaep=oaep)
    else:
        way = _way(key, chosen, password, key_agreement=key_agreement)
        if isinstance(way, str):
            lock = password_recipient.write(cek, way, chosen, random)
        else:
            lock = _key_agreement.write(cek, recipient, way, chosen, random)
    # RFC 5652 section 6.3, as above. All blocks are whole: nothing is left for `finalize`.
    size = chosen.block_size - len(content) % chosen.block_size
    encryptor = chosen.context(cek, iv).encryptor()
    encrypted = encryptor.update(content + bytes([size]) * size)
    return _ENVELOPED.write(_VERSIONS[lock[0]], lock, _UP_TO_IV[chosen.oid], iv, encrypted)


def check_recipient(
    recipient: Certificate, chosen: Cipher, *, password: str | None, key_agreement: bool
) -> None:
    """Make sure that `seal` with the same arguments can work, before there is anything to seal.

    Raises:
        BadAlg: it could not.
    """
    key = recipient.public_key
    if not isinstance(key, RSA_KEY):
        _way(key, chosen, password, key_agreement=key_agreement)


def _way(
    key: PublicKey, chosen: Cipher, password: str | None, *, key_agreement: bool
) -> ec.EllipticCurvePublicKey | str:
    """Return the secret that locks the content key where RSA cannot: a key, or the password."""
    if password:
        return password
    if isinstance(key, EC_KEY) and key_agreement:
        _key_agreement.wrap_for(chosen)
        return key
    raise BadAlg(
        "without a challengePassword only RSA keys can be encrypted to",
        hint="use an RSA key, or a challengePassword that both ends know (RFC 8894 section 3.1)",
    )
