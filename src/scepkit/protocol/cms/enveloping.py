"""Writing EnvelopedData (RFC 5652 section 6), which only its recipient can open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadAlg
from scepkit.protocol.algorithms import Cipher
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import cbc, key_transport, password_recipient
from scepkit.protocol.cms import key_agreement as _key_agreement
from scepkit.protocol.cms.recipients import KEY_AGREEMENT, KEY_TRANSPORT, PASSWORD
from scepkit.protocol.cms.signed import DATA

ENVELOPED_DATA = ObjectIdentifier("1.2.840.113549.1.7.3")

_VERSIONS = {
    KEY_TRANSPORT: der.INTEGER_0,
    KEY_AGREEMENT: der.INTEGER_2,
    PASSWORD: der.INTEGER_3,
}

Random: TypeAlias = Callable[[int], bytes]
"""Returns that many unpredictable octets, such as `os.urandom`."""


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
            lock = key_transport.write(cek, recipient, key, oaep=oaep)
        case ec.EllipticCurvePublicKey() as key:
            lock = _key_agreement.write(cek, recipient, key, chosen, random)
        case secret:
            lock = password_recipient.write(cek, secret, chosen, random)
    encrypted = der.sequence(
        der.oid(DATA),
        der.sequence(der.oid(chosen.oid), der.octet_string(iv)),
        der.tagged(0, cbc.encrypt(content, chosen, cek, iv), primitive=True),
    )
    enveloped = der.sequence(_VERSIONS[lock[0]], der.set_of(lock), encrypted)
    return der.sequence(der.oid(ENVELOPED_DATA), der.tagged(0, enveloped))


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
