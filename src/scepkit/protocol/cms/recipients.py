"""RecipientInfo (RFC 5652 section 6.2): the one of an envelope that is for us, and its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.asn1 import TLV

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.algorithms import Legacy, PrivateKey
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import key_agreement, key_transport, password_recipient
from scepkit.protocol.cms.key_agreement import KeyAgreement
from scepkit.protocol.cms.key_transport import KeyTransport
from scepkit.protocol.cms.password_recipient import PasswordLock
from scepkit.protocol.cms.pbkdf2 import MAX_ITERATIONS

# A client that encrypts to every certificate it was given needs a handful.
MAX_RECIPIENTS = 16

# RecipientInfo's alternatives: ktri has no tag of its own.
KEY_TRANSPORT = _der.SEQUENCE
KEY_AGREEMENT = 0xA1
PASSWORD = 0xA3

Lock: TypeAlias = KeyTransport | KeyAgreement | PasswordLock
"""A content-encryption key that can be unwrapped."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and its certificate.

    Attributes:
        key: the private key.
        certificate: the certificate for it.
    """

    key: PrivateKey = field(repr=False)
    certificate: Certificate


def find(
    infos: TLV,
    credentials: Sequence[Credential],
    password: str | None,
    allowed: frozenset[Legacy],
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Lock, Credential | None]:
    """Take up the first RecipientInfo that is for us; what is not ours is not read further.

    Args:
        infos: RecipientInfos.
        credentials: the keys that it may be for.
        password: the one that it may be for.
        allowed: the legacy algorithms that are allowed.
        max_iterations: how much work a password may take.

    Returns:
        What opens it, and whose key that takes; None for a password.

    Raises:
        Malformed: it cannot be read.
        BadAlg: an algorithm is unknown or not allowed, or asks for too much work.
        BadRequest: none is for us.
    """
    recipients = ber.split(infos.data)
    if len(recipients) > MAX_RECIPIENTS:
        raise Malformed(f"{len(recipients)} recipients in one envelope")
    for der in recipients:
        found: tuple[Lock, Credential | None] | None = None
        if der[0] == KEY_TRANSPORT:
            found = _key_transport_for(der, credentials)
        elif der[0] == KEY_AGREEMENT:
            found = _key_agreement_for(der, credentials, allowed)
        elif der[0] == PASSWORD and password:
            found = _password_lock(der, password, allowed, max_iterations), None
        if found is not None:
            return found
    if any(der[0] == PASSWORD for der in recipients):
        raise BadRequest("the message is encrypted with a password that is not known here")
    raise BadRequest(
        "the message is encrypted to none of our certificates; "
        "fetch the CA certificates again (GetCACert)"
    )


def legacy_of(lock: Lock) -> Legacy | None:
    """Say what a lock uses that had to be allowed: the cipher of its key wrap, if it has one."""
    return None if isinstance(lock, KeyTransport) else lock.wrap.legacy


def _key_transport_for(
    der: bytes, credentials: Sequence[Credential]
) -> tuple[KeyTransport, Credential] | None:
    info = ber.decode(types.KeyTransRecipientInfo, der, "KeyTransRecipientInfo")
    for credential in credentials:
        if _addressed(info.rid, credential.certificate):
            return key_transport.read(info, credential.key), credential
    return None


def _key_agreement_for(
    der: bytes, credentials: Sequence[Credential], allowed: frozenset[Legacy]
) -> tuple[KeyAgreement, Credential] | None:
    sequence = _der.retag(der, _der.SEQUENCE)
    try:
        info = ber.decode(types.KeyAgreeRecipientInfo, sequence, "KeyAgreeRecipientInfo")
    except Malformed:
        # There are kinds that we do not know, such as names of keys in key stores: not ours.
        return None
    if len(info.recipientEncryptedKeys) > MAX_RECIPIENTS:
        raise Malformed(f"{len(info.recipientEncryptedKeys)} recipients in one key agreement")
    for recipient in info.recipientEncryptedKeys:
        rid = recipient.rid
        name = rid.subjectKeyIdentifier if isinstance(rid, types.RecipientKeyIdentifier) else rid
        for credential in credentials:
            if _addressed(name, credential.certificate):
                encrypted = recipient.encryptedKey
                return key_agreement.read(info, encrypted, credential.key, allowed), credential
    return None


def _password_lock(
    der: bytes, password: str, allowed: frozenset[Legacy], max_iterations: int
) -> PasswordLock:
    sequence = _der.retag(der, _der.SEQUENCE)
    info = ber.decode(types.PasswordRecipientInfo, sequence, "PasswordRecipientInfo")
    return password_recipient.read(info, password, allowed, max_iterations)


def _addressed(rid: types.IssuerAndSerialNumber | bytes, certificate: Certificate) -> bool:
    if isinstance(rid, bytes):
        identifier = certificate.subject_key_identifier
        # Some clients wrap the identifier in the OCTET STRING of the extension.
        return identifier is not None and rid in (identifier, _der.octet_string(identifier))
    return _der.encode(rid) == certificate.issuer_and_serial_number
