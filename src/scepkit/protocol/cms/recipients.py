"""RecipientInfo (RFC 5652 section 6.2): the one of an envelope that is for us, and its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.algorithms import RSAES_OAEP, Legacy, read_algorithm
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.asn1.grammar import CONTENT, END, ENTER, SKIP, Grammar
from scepkit.protocol.cms import key_agreement, key_transport, password_recipient
from scepkit.protocol.cms.key_agreement import KeyAgreement
from scepkit.protocol.cms.key_transport import OAEP, KeyTransport
from scepkit.protocol.cms.password_recipient import PasswordLock
from scepkit.protocol.cms.pbkdf2 import MAX_ITERATIONS
from scepkit.protocol.cms.signed import CERTIFICATE_IDENTIFIER, Credential

# A client that encrypts to every certificate it was given needs a handful.
MAX_RECIPIENTS = 16

# RecipientInfo's alternatives: ktri has no tag of its own.
KEY_TRANSPORT = der.SEQUENCE
KEY_AGREEMENT = 0xA1
PASSWORD = 0xA3

# KeyTransRecipientInfo ::= SEQUENCE {
#     version CMSVersion,
#     rid RecipientIdentifier,
#     keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
#     encryptedKey EncryptedKey }
_OAEP_OID = der.oid(RSAES_OAEP)
_KEY_TRANSPORT = Grammar(
    "KeyTransRecipientInfo",
    *(der.SEQUENCE | ENTER, der.INTEGER | SKIP),
    *(*CERTIFICATE_IDENTIFIER, der.SEQUENCE),
    *(der.OCTET_STRING | CONTENT, END),
)

Lock: TypeAlias = KeyTransport | KeyAgreement | PasswordLock
"""A content-encryption key that can be unwrapped."""


def find(
    infos: list[bytes] | bytes,
    credentials: Sequence[Credential],
    password: str | None,
    allowed: frozenset[Legacy],
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Lock, Credential | None]:
    """Take up the first RecipientInfo that is for us; what is not ours is not read further.

    Args:
        infos: RecipientInfos, or a row of them.
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
    recipients = infos if isinstance(infos, list) else ber.split(infos)
    if len(recipients) > MAX_RECIPIENTS:
        raise Malformed(f"{len(recipients)} recipients in one envelope")
    for element in recipients:
        if element[0] == KEY_TRANSPORT:
            issuer, serial, identifier, algorithm, encrypted = _KEY_TRANSPORT.fields(element)
            credential = _addressee(issuer + serial, identifier, credentials)
            if credential is not None:
                way = read_algorithm(algorithm)
                return key_transport.read(way, encrypted, credential.rsa_key), credential
        elif element[0] == KEY_AGREEMENT:
            found = _key_agreement_for(element, credentials, allowed)
            if found is not None:
                return found
        elif element[0] == PASSWORD and password:
            return _password_lock(element, password, allowed, max_iterations), None
    if any(element[0] == PASSWORD for element in recipients):
        raise BadRequest("the message is encrypted with a password that is not known here")
    raise BadRequest(
        "the message is encrypted to none of our certificates; "
        "fetch the CA certificates again (GetCACert)"
    )


def oaep(infos: list[bytes] | bytes, credentials: Sequence[Credential]) -> OAEP | None:
    """Return the RSAES-OAEP that answers the RecipientInfo for us; None where it uses none.

    Args:
        infos: RecipientInfos, or a row of them.
        credentials: the keys that it may be for.

    Raises:
        Malformed: it cannot be read.
        BadAlg: an algorithm is unknown.
    """
    whole = b"".join(infos) if isinstance(infos, list) else infos
    if whole.find(_OAEP_OID) < 0:  # `in` asks first whether that is a number, by an exception
        return None
    for element in ber.split(whole)[:MAX_RECIPIENTS]:
        if element[0] == KEY_TRANSPORT:
            issuer, serial, identifier, algorithm, _ = _KEY_TRANSPORT.fields(element)
            if _addressee(issuer + serial, identifier, credentials) is not None:
                return key_transport.oaep(read_algorithm(algorithm))
    return None


def _key_agreement_for(
    element: bytes, credentials: Sequence[Credential], allowed: frozenset[Legacy]
) -> tuple[KeyAgreement, Credential] | None:
    sequence = der.retag(element, der.SEQUENCE)
    try:
        info = ber.decode(types.KeyAgreeRecipientInfo, sequence, "KeyAgreeRecipientInfo")
    except Malformed:
        # There are kinds that we do not know, such as names of keys in key stores: not ours.
        return None
    if len(info.recipientEncryptedKeys) > MAX_RECIPIENTS:
        raise Malformed(f"{len(info.recipientEncryptedKeys)} recipients in one key agreement")
    for recipient in info.recipientEncryptedKeys:
        rid, encrypted = recipient.rid, recipient.encryptedKey
        if isinstance(rid, types.RecipientKeyIdentifier):
            credential = _addressee(b"", rid.subjectKeyIdentifier, credentials)
        else:
            name = der.encode(rid.issuer) + der.encode(rid.serialNumber)
            credential = _addressee(name, b"", credentials)
        if credential is not None:
            return key_agreement.read(info, encrypted, credential.key, allowed), credential
    return None


def _password_lock(
    element: bytes, password: str, allowed: frozenset[Legacy], max_iterations: int
) -> PasswordLock:
    sequence = der.retag(element, der.SEQUENCE)
    info = ber.decode(types.PasswordRecipientInfo, sequence, "PasswordRecipientInfo")
    return password_recipient.read(info, password, allowed, max_iterations)


def _addressee(
    name: bytes, identifier: bytes, credentials: Sequence[Credential]
) -> Credential | None:
    """Return the credential whose certificate a RecipientInfo names.

    Args:
        name: issuer and serial number that it has, DER; or nothing.
        identifier: the key identifier that it has in place of that.
        credentials: to choose from.
    """
    for one in credentials:
        if name:
            if name == one.certificate.issuer + one.certificate.serial_number:
                return one
            continue
        own = one.certificate.subject_key_identifier
        # Some clients wrap the identifier in the OCTET STRING of the extension.
        if own is not None and identifier in (own, der.octet_string(own)):
            return one
    return None
