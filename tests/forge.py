"""Messages with every knob in reach, written by the tests' own DER: what no client of ours sends.

Each function gives a correct message by default; an argument makes one thing different.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import keys
from der import (
    NULL,
    algorithm,
    bits,
    integer,
    octets,
    oid,
    parse,
    printable,
    seq,
    set_,
    tlv,
)

DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
ENVELOPED_DATA = "1.2.840.113549.1.7.3"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"

MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
PKI_STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
RSAES_OAEP = "1.2.840.113549.1.1.7"
RSASSA_PSS = "1.2.840.113549.1.1.10"
MGF1 = "1.2.840.113549.1.1.8"

DIGESTS = {
    "md5": ("1.2.840.113549.2.5", hashes.MD5),
    "sha1": ("1.3.14.3.2.26", hashes.SHA1),
    "sha224": ("2.16.840.1.101.3.4.2.4", hashes.SHA224),
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256),
    "sha384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384),
    "sha512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512),
    "sha3-256": ("2.16.840.1.101.3.4.2.8", hashes.SHA3_256),
}
SHA2 = ("sha224", "sha256", "sha384", "sha512")
WITH_RSA = {
    "md5": "1.2.840.113549.1.1.4",
    "sha1": "1.2.840.113549.1.1.5",
    "sha224": "1.2.840.113549.1.1.14",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
WITH_ECDSA = {
    "sha1": "1.2.840.10045.4.1",
    "sha224": "1.2.840.10045.4.3.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
ED25519 = "1.3.101.112"
# OID, octets of key, octets of block, primitive.
CIPHERS = {
    "aes128": ("2.16.840.1.101.3.4.1.2", 16, 16, AES),
    "aes192": ("2.16.840.1.101.3.4.1.22", 24, 16, AES),
    "aes256": ("2.16.840.1.101.3.4.1.42", 32, 16, AES),
    "des3": ("1.2.840.113549.3.7", 24, 8, TripleDES),
    "des": ("1.3.14.3.2.7", 8, 8, lambda key: TripleDES(key * 3)),
}

NONCE = b"the nonce sent.."
ID = "0123456789ABCDEF"


def digest_of(name: str, data: bytes) -> bytes:
    context = hashes.Hash(DIGESTS[name][1]())
    context.update(data)
    return context.finalize()


@dataclass(frozen=True)
class PSS:
    """An RSASSA-PSS, to be named in place of a digest.

    Attributes:
        digest: of what is signed.
        mask: the digest of MGF1.
        salt: octets.
    """

    digest: str = "sha256"
    mask: str = "sha256"
    salt: int = 32

    def parameters(self, trailer: bytes = b"") -> bytes:
        """Return RSASSA-PSS-params with nothing left out but the trailerField."""
        return seq(
            tlv(0xA0, algorithm(DIGESTS[self.digest][0])),
            tlv(0xA1, algorithm(MGF1, algorithm(DIGESTS[self.mask][0]))),
            tlv(0xA2, integer(self.salt)),
            trailer,
        )

    @property
    def algorithm(self) -> bytes:
        return algorithm(RSASSA_PSS, self.parameters())

    @property
    def padding(self) -> padding.PSS:
        return padding.PSS(padding.MGF1(DIGESTS[self.mask][1]()), self.salt)


def sign(key, data: bytes, digest: str | PSS) -> bytes:
    if isinstance(digest, PSS):
        return key.sign(data, digest.padding, DIGESTS[digest.digest][1]())
    hash_ = DIGESTS[digest][1]()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hash_)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(hash_))


def signature_algorithm_of(key, digest: str | PSS, with_rsa: str = RSA_ENCRYPTION) -> bytes:
    """Return the AlgorithmIdentifier of a key's signature."""
    if isinstance(digest, PSS):
        return digest.algorithm
    if isinstance(key, rsa.RSAPrivateKey):
        return algorithm(with_rsa)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return algorithm(ED25519, b"")
    return algorithm(WITH_ECDSA[digest], b"")


# --- the pkiMessage -------------------------------------------------------------------------------


def attribute(dotted: str, *values: bytes) -> bytes:
    return seq(oid(dotted), set_(*values))


def scep_attributes(
    *,
    message_type: bytes | str | None = "19",
    transaction_id: bytes | str | None = ID,
    sender_nonce: bytes | None = NONCE,
    recipient_nonce: bytes | None = None,
    pki_status: bytes | str | None = None,
    fail_info: bytes | str | None = None,
    fail_info_text: bytes | None = None,
) -> list[bytes]:
    """Return SCEP's attributes: a `str` goes as PrintableString, `bytes` as the DER they are."""

    def text(value: bytes | str) -> bytes:
        return printable(value) if isinstance(value, str) else value

    pairs = [
        (MESSAGE_TYPE, None if message_type is None else text(message_type)),
        (TRANSACTION_ID, None if transaction_id is None else text(transaction_id)),
        (SENDER_NONCE, None if sender_nonce is None else octets(sender_nonce)),
        (RECIPIENT_NONCE, None if recipient_nonce is None else octets(recipient_nonce)),
        (PKI_STATUS, None if pki_status is None else text(pki_status)),
        (FAIL_INFO, None if fail_info is None else text(fail_info)),
        (FAIL_INFO_TEXT, fail_info_text),
    ]
    return [attribute(kind, value) for kind, value in pairs if value is not None]


def signer_info(
    content: bytes,
    attributes: Iterable[bytes] | None,
    signer: keys.Holder,
    *,
    digest: str = "sha256",
    signed_digest: bytes | None = None,
    signature_algorithm: bytes | None = None,
    content_type: str | None = DATA,
    sort: bool = True,
    sign_sorted: bool = True,
    sid: bytes | None = None,
    signature: bytes | None = None,
    pss: PSS | None = None,
) -> bytes:
    """Return a SignerInfo; `attributes` None leaves out the signed attributes altogether."""
    if attributes is None:
        signed, field = content, b""
    else:
        every = [
            *attributes,
            attribute(MESSAGE_DIGEST, octets(signed_digest or digest_of(digest, content))),
        ]
        if content_type is not None:
            every.append(attribute(CONTENT_TYPE, oid(content_type)))
        if sort:
            every.sort()
        signed = set_(*(sorted(every) if sign_sorted else every))
        field = tlv(0xA0, *every)
    if signature_algorithm is None:
        signature_algorithm = signature_algorithm_of(signer.key, pss or digest)
    certificate = signer.certificate
    return seq(
        integer(1),
        sid or seq(certificate.issuer, certificate.serial_number),
        algorithm(DIGESTS[digest][0]),
        field,
        signature_algorithm,
        octets(sign(signer.key, signed, pss or digest) if signature is None else signature),
    )


def signed_data(
    content: bytes | None,
    signer_infos: Iterable[bytes] = (),
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    *,
    content_type: str = DATA,
    outer_type: str = SIGNED_DATA,
    digest: str = "sha256",
) -> bytes:
    signer_infos = tuple(signer_infos)
    return seq(
        oid(outer_type),
        tlv(
            0xA0,
            seq(
                integer(1),
                set_(*([algorithm(DIGESTS[digest][0])] if signer_infos else [])),
                seq(
                    oid(content_type),
                    *([tlv(0xA0, octets(content))] if content is not None else []),
                ),
                *([tlv(0xA0, *certificates)] if certificates else []),
                *([tlv(0xA1, *crls)] if crls else []),
                set_(*signer_infos),
            ),
        ),
    )


def pki_message(
    content: bytes | None = b"",
    attributes: Iterable[bytes] | None = (),
    signer: keys.Holder | None = None,
    *,
    certificates: Sequence[bytes] | None = None,
    digest: str = "sha256",
    **knobs,
) -> bytes:
    """Return a signed pkiMessage; `knobs` go to `signer_info`."""
    signer = signer or keys.device()
    info = signer_info(content or b"", attributes, signer, digest=digest, **knobs)
    bag = [signer.der] if certificates is None else certificates
    return signed_data(content, [info], bag, digest=digest)


def request(
    messages: bytes | None = None,
    signer: keys.Holder | None = None,
    *,
    recipient: keys.Holder | None = None,
    cipher: str = "aes128",
    content: bytes | None = None,
    more: Sequence[bytes] = (),
    scep: dict | None = None,
    **knobs,
) -> bytes:
    """Return a PKCSReq from a device to the RA.

    Args:
        messages: what is inside the envelope; a PKCS#10 of the signer's.
        signer: who signs.
        recipient: for whom the envelope is.
        cipher: of the envelope.
        content: what is signed, in place of an envelope.
        more: further signed attributes.
        scep: arguments of `scep_attributes`.
        knobs: arguments of `pki_message`.
    """
    signer = signer or keys.device()
    if content is None:
        inside = csr(signer.key) if messages is None else messages
        content = envelope(inside, recipient or keys.ra(), cipher=cipher)
    attributes = knobs.pop("attributes", [*scep_attributes(**(scep or {})), *more])
    return pki_message(content, attributes, signer, **knobs)


def signing_time(time: datetime) -> bytes:
    """Return CMS's signingTime attribute, a UTCTime."""
    return attribute("1.2.840.113549.1.9.5", tlv(0x17, f"{time:%y%m%d%H%M%SZ}".encode()))


def signing_time_of(message: bytes) -> tuple[int, datetime]:
    """Return tag and time of a SignedData's signingTime, as strictly as XiPKI's client reads it.

    There is one attribute with one value, in DER (RFC 5652 section 11.3).
    """
    (value,) = (
        value.der()
        for one in signer_of(message)[3].children
        if one[0].der() == oid(SIGNING_TIME)
        for value in one[1].children
    )
    form = {0x17: (13, "%y%m%d%H%M%SZ"), 0x18: (15, "%Y%m%d%H%M%SZ")}
    size, text = form[value[0]]
    assert value[1] == size == len(value[2:])
    return value[0], datetime.strptime(value[2:].decode("ascii"), text).replace(tzinfo=UTC)


def reply(
    content: bytes | None = b"",
    signer: keys.Holder | None = None,
    *,
    more: Sequence[bytes] = (),
    **scep_and_knobs,
) -> bytes:
    """Return a CertRep of the RA to `NONCE` and `ID`; PENDING unless told otherwise."""
    names = scep_attributes.__kwdefaults__
    scep = {k: scep_and_knobs.pop(k) for k in list(scep_and_knobs) if k in names}
    scep = {
        "message_type": "3",
        "recipient_nonce": NONCE,
        "sender_nonce": b"the server's one",
        "pki_status": "3",
    } | scep
    return pki_message(
        content, [*scep_attributes(**scep), *more], signer or keys.ra(), **scep_and_knobs
    )


# --- the envelope ---------------------------------------------------------------------------------


def encrypt(content: bytes, cipher: str, key: bytes, iv: bytes) -> bytes:
    _, _, block, primitive = CIPHERS[cipher]
    padder = PKCS7(block * 8).padder()
    encryptor = Cipher(primitive(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()


def rid(holder: keys.Holder) -> bytes:
    return seq(holder.certificate.issuer, holder.certificate.serial_number)


def recipient_info(
    holder: keys.Holder,
    cek: bytes,
    *,
    oaep: tuple[str, str] | None = None,
    oaep_parameters: bytes | None = None,
    named: bytes | None = None,
    version: int = 0,
) -> bytes:
    """Return a KeyTransRecipientInfo; `oaep` is the names of the hash and of MGF1's hash."""
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    transport = algorithm(RSA_ENCRYPTION)
    if oaep:
        hash_, mask = (DIGESTS[one] for one in oaep)
        scheme = padding.OAEP(padding.MGF1(mask[1]()), hash_[1](), None)
        if oaep_parameters is None:
            oaep_parameters = seq(
                tlv(0xA0, algorithm(hash_[0])),
                tlv(0xA1, algorithm(MGF1, algorithm(mask[0]))),
            )
        transport = algorithm(RSAES_OAEP, oaep_parameters)
    return seq(
        integer(version),
        named or rid(holder),
        transport,
        octets(holder.key.public_key().encrypt(cek, scheme)),
    )


def envelope(
    content: bytes,
    recipient: keys.Holder | None = None,
    *,
    cipher: str = "aes128",
    cek: bytes | None = None,
    iv: bytes | None = None,
    recipients: Sequence[bytes] | None = None,
    encrypted: bytes | None = None,
    pieces: int = 0,
    version: int = 0,
    cipher_oid: str | None = None,
    iv_field: bytes | None = None,
    content_type: str = DATA,
    **knobs,
) -> bytes:
    """Return EnvelopedData; `knobs` go to `recipient_info`."""
    dotted, key_size, block, _ = CIPHERS[cipher]
    cek = os.urandom(key_size) if cek is None else cek
    iv = os.urandom(block) if iv is None else iv
    if recipients is None:
        recipients = [recipient_info(recipient or keys.ra(), cek, **knobs)]
    if encrypted is None:
        encrypted = encrypt(content, cipher, cek, iv)
    if pieces:
        size = -(-len(encrypted) // pieces)
        cut = [encrypted[at : at + size] for at in range(0, len(encrypted), size)]
        field = tlv(0xA0, *(octets(piece) for piece in cut))
    else:
        field = tlv(0x80, encrypted)
    return seq(
        oid(ENVELOPED_DATA),
        tlv(
            0xA0,
            seq(
                integer(version),
                set_(*recipients),
                seq(
                    oid(content_type),
                    algorithm(cipher_oid or dotted, octets(iv) if iv_field is None else iv_field),
                    field,
                ),
            ),
        ),
    )


# --- the PKCS#10 ----------------------------------------------------------------------------------


def challenge(value: bytes | str = "secret") -> bytes:
    return attribute(CHALLENGE_PASSWORD, printable(value) if isinstance(value, str) else value)


def csr(
    key=None,
    *,
    subject: bytes | None = None,
    attributes: Sequence[bytes] | None = None,
    spki: bytes | None = None,
    digest: str | PSS = "sha256",
    signature: bytes | None = None,
    signature_algorithm: bytes | None = None,
    version: int = 0,
) -> bytes:
    """Return a PKCS#10; `attributes` go in the order given, None gives a challengePassword."""
    key = key or keys.rsa_key()
    subject = keys.name("device").public_bytes() if subject is None else subject
    attributes = [challenge()] if attributes is None else attributes
    info = seq(
        integer(version), subject, keys.spki(key) if spki is None else spki, tlv(0xA0, *attributes)
    )
    return sign_csr(info, key, digest, signature, signature_algorithm)


def sign_csr(
    info: bytes,
    key,
    digest: str | PSS = "sha256",
    signature: bytes | None = None,
    signature_algorithm: bytes | None = None,
) -> bytes:
    if signature_algorithm is None:
        with_rsa = "" if isinstance(digest, PSS) else WITH_RSA[digest]
        signature_algorithm = signature_algorithm_of(key, digest, with_rsa)
    return seq(
        info, signature_algorithm, bits(sign(key, info, digest) if signature is None else signature)
    )


def rsa_spki(modulus: int, exponent: int, dotted: str = RSA_ENCRYPTION, parameters: bytes = NULL):
    return seq(algorithm(dotted, parameters), bits(seq(integer(modulus), integer(exponent))))


# --- certificates that no library writes ----------------------------------------------------------


def certificate(
    key,
    *,
    subject: bytes | None = None,
    issuer: bytes | None = None,
    serial: bytes | None = None,
    version: bytes = b"",
    extensions: bytes = b"",
    validity: tuple[str, str] = ("200101000000Z", "300101000000Z"),
    spki: bytes | None = None,
    signing_key=None,
    pss: PSS | None = None,
) -> bytes:
    """Return a certificate: version 1 without extensions unless told otherwise."""
    subject = keys.name("odd device").public_bytes() if subject is None else subject
    signature_algorithm = pss.algorithm if pss else algorithm(WITH_RSA["sha256"])
    tbs = seq(
        version,
        integer(1) if serial is None else serial,
        signature_algorithm,
        issuer or subject,
        seq(*(tlv(0x17, moment.encode()) for moment in validity)),
        subject,
        keys.spki(key) if spki is None else spki,
        extensions,
    )
    return seq(tbs, signature_algorithm, bits(sign(signing_key or key, tbs, pss or "sha256")))


class Odd(keys.Holder):
    """Somebody whose certificate only our own reader takes."""

    def __init__(self, key, der: bytes) -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "_der", der)

    @property
    def der(self) -> bytes:
        return self._der


# --- looking at what was written ------------------------------------------------------------------


def signed_attributes(message: bytes) -> dict[str, list[bytes]]:
    """Return the signed attributes of a pkiMessage in DER: hex of the OID's DER -> values' DER."""
    found: dict[str, list[bytes]] = {}
    for one in signer_of(message)[3].children:
        found.setdefault(one[0].der().hex(), []).extend(value.der() for value in one[1].children)
    return found


def signed_attribute(message: bytes, dotted: str) -> bytes | None:
    """Return the DER of the one value of a signed attribute."""
    values = signed_attributes(message).get(oid(dotted).hex(), [])
    assert len(values) <= 1
    return values[0] if values else None


def body_of(message: bytes):
    """Return the SignedData or EnvelopedData inside a ContentInfo, as a tree."""
    return parse(message)[1][0]


def signer_of(message: bytes):
    """Return the one SignerInfo, as a tree."""
    infos = body_of(message).children[-1].children
    assert len(infos) == 1
    return infos[0]


def content_of(message: bytes) -> bytes | None:
    """Return the eContent of a SignedData; None when it is absent."""
    encapsulated = body_of(message)[2]
    return encapsulated[1][0].content if len(encapsulated.children) > 1 else None


def public_der(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
