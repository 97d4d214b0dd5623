"""CMS (RFC 5652) as far as SCEP uses it: SignedData and certs-only messages.

This module has never heard of SCEP: signed attributes are OIDs and bytes here.
Encrypted content is next door, in `envelope`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadMessageCheck, Malformed
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import Digest, Legacy, digest
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.signing import (
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    SIGNED_DATA,
    certs_only,
    sign,
)
from scepkit.protocol.signatures import AlgorithmIdentifier

__all__ = [
    "CONTENT_TYPE",
    "DATA",
    "MAX_CERTIFICATES",
    "MESSAGE_DIGEST",
    "SIGNED_DATA",
    "SignedData",
    "SignerInfo",
    "attribute_values",
    "certs_only",
    "legacy_uses",
    "read_signed_data",
    "sign",
    "verify",
]

# More certificates than any chain has: a bound on what one message can make us parse.
MAX_CERTIFICATES = 32

# Where they stand in a SignerInfo.
_SIGNED_ATTRIBUTES = 3
_SET_TAG = bytes([_der.SET])


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature, not verified yet (RFC 5652 section 5.3).

    Attributes:
        signer: who claims to have signed: issuer and serial number as DER, or a key identifier.
        digest_algorithm: OID of the content's digest.
        signature_algorithm: of the signature, with its parameters.
        attributes: the signed attributes in the order received: OID and DER of the values.
        signed: the bytes that the signature may be over, most likely first.
        signature: the signature.
        message: the whole message as received.
        position: which of its SignerInfos this is.
    """

    signer: tuple[bytes, bytes] | bytes
    digest_algorithm: ObjectIdentifier
    signature_algorithm: AlgorithmIdentifier
    attributes: tuple[tuple[ObjectIdentifier, tuple[bytes, ...]], ...]
    signed: tuple[bytes, ...]
    signature: bytes
    message: bytes = field(repr=False, compare=False)
    position: int = field(compare=False)

    def made_by(self, certificate: Certificate) -> bool:
        """Say whether the SignerIdentifier names this certificate."""
        if isinstance(self.signer, bytes):
            return self.signer == certificate.subject_key_identifier
        return self.signer == (certificate.issuer, certificate.serial_number)


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData as it came (RFC 5652 section 5.1).

    Attributes:
        content_type: OID of what is signed.
        content: what is signed; None when there is none.
        certificates: DER, in the order in which they came.
        crls: DER, in the order in which they came.
        signers: the SignerInfos.
    """

    content_type: ObjectIdentifier
    content: bytes | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def read_signed_data(message: bytes) -> SignedData:
    """Read a ContentInfo that holds SignedData; nothing is verified.

    Raises:
        Malformed: it is something else.
    """
    info = ber.decode(types.ContentInfo, message, "CMS ContentInfo")
    if info.contentType != SIGNED_DATA:
        raise Malformed(f"CMS content type {info.contentType.dotted_string}, not SignedData")
    signed = ber.parse(types.SignedData, info.content, "CMS SignedData")
    certificates = [_der.encode(c) for c in signed.certificates or []]
    if len(certificates) > MAX_CERTIFICATES:
        raise Malformed(f"{len(certificates)} certificates in one message")
    return SignedData(
        content_type=signed.encapContentInfo.eContentType,
        content=signed.encapContentInfo.eContent,
        certificates=tuple(certificates),
        crls=tuple(_der.encode(c) for c in signed.crls or []),
        signers=tuple(
            _signer(der, message, position)
            for position, der in enumerate(ber.split(signed.signerInfos.data))
        ),
    )


def _signer(der: bytes, message: bytes, position: int) -> SignerInfo:
    info = ber.decode(types.SignerInfo, der, "CMS SignerInfo")
    attributes = [_der.encode(a) for a in info.signedAttrs or []]
    return SignerInfo(
        signer=_identifier(info.sid),
        digest_algorithm=info.digestAlgorithm.algorithm,
        signature_algorithm=AlgorithmIdentifier.of(info.signatureAlgorithm),
        attributes=tuple((a.attrType, attribute_values(a)) for a in info.signedAttrs or []),
        signed=_signed_bytes(attributes),
        signature=info.signature,
        message=message,
        position=position,
    )


def _signed_bytes(attributes: list[bytes]) -> tuple[bytes, ...]:
    """Return what a signature over these attributes may be over (RFC 5652 section 5.4).

    The rule is the DER SET OF, that is, sorted; some devices sign the order they send.
    """
    proper = sorted(attributes)
    orders = (proper,) if proper == attributes else (proper, attributes)
    return tuple(_der.element(_der.SET, *order) for order in orders)


def _candidates(signer: SignerInfo) -> Iterator[bytes]:
    """Yield what the signature may be over, the rule first, what some devices do after it.

    That is, the attributes as they came when that is BER (checklist P-05).
    It is safe to try: whatever octets are tried, they are the same attributes that were read, and
    a signature over them is the signer's word for them. Only their order and the form of their
    lengths are not what DER would have; nothing is read in two ways.
    """
    yield from signer.signed
    received = _received_attributes(signer)
    if received is not None and received not in signer.signed:
        yield received


def _received_attributes(signer: SignerInfo) -> bytes | None:
    """Return the signed attributes in the very octets that came, as the SET that was signed."""
    try:
        _, content = ber.cut(signer.message)
        (signed_data,) = ber.cut(content)
        signer_infos = ber.cut(signed_data)[-1]
        attributes = ber.cut(ber.cut(signer_infos)[signer.position])[_SIGNED_ATTRIBUTES]
    except (Malformed, ValueError, IndexError):
        return None
    return _der.retag(bytes(attributes), _der.SET)


def _identifier(sid: types.IssuerAndSerialNumber | bytes) -> tuple[bytes, bytes] | bytes:
    if isinstance(sid, bytes):
        return sid
    return _der.encode(sid.issuer), _der.encode(sid.serialNumber)


def verify(
    data: SignedData, signer: SignerInfo, certificate: Certificate, allowed: frozenset[Legacy]
) -> Digest:
    """Check a signature and the content it covers (RFC 5652 sections 5.4 and 5.6).

    Verification is, in order:

    1. there are signed attributes: without them a signature over attributes could be passed
       off as one over content (checklist P-63);
    2. the digest algorithm is known and allowed;
    3. the contentType attribute, when there, is the content's type;
    4. the messageDigest attribute is the content's digest;
    5. the signature is the certificate's key's over the attributes.

    Args:
        data: the message.
        signer: its SignerInfo that is to be checked.
        certificate: whose key has to have signed.
        allowed: the legacy algorithms that are allowed.

    Returns:
        The digest that was used.

    Raises:
        BadAlg: an algorithm is unknown or not allowed.
        BadMessageCheck: anything else does not hold.
    """
    # (1)
    if not signer.attributes:
        raise BadMessageCheck("the signature covers no signed attributes")
    # (2)
    used = digest(signer.digest_algorithm, allowed)
    # (3)
    content_type = _single(signer, CONTENT_TYPE, required=False)
    if content_type is not None and content_type != _der.oid(data.content_type):
        raise BadMessageCheck("the contentType attribute is not the type of the content")
    # (4)
    claimed = _single(signer, MESSAGE_DIGEST, required=True)
    actual = _der.octet_string(used.of(data.content or b""))
    if not hmac.compare_digest(claimed or b"", actual):
        raise BadMessageCheck("the content does not match its digest")
    # (5)
    key = certificate.public_key
    scheme = signatures.read(signer.signature_algorithm, key, allowed, signer_digest=used)
    if not any(scheme.verify(key, signer.signature, one) for one in _candidates(signer)):
        raise BadMessageCheck("the signature does not verify")
    return used


def legacy_uses(signer: SignerInfo, certificate: Certificate) -> frozenset[Legacy]:
    """Name everything that has to be allowed for a signature, whether it holds or not.

    Args:
        signer: the SignerInfo.
        certificate: whose key is said to have signed.

    Raises:
        BadAlg: an algorithm is not supported, whatever is allowed.
    """
    every = frozenset(Legacy)
    used = digest(signer.digest_algorithm, every)
    key = certificate.public_key
    scheme = signatures.read(signer.signature_algorithm, key, every, signer_digest=used)
    return frozenset(one for one in (used.legacy, *scheme.legacy) if one is not None)


def _single(signer: SignerInfo, oid: ObjectIdentifier, *, required: bool) -> bytes | None:
    values = [value for kind, found in signer.attributes if kind == oid for value in found]
    if len(values) > 1 or (required and not values):
        raise BadMessageCheck(f"{len(values)} values of the signed attribute {oid.dotted_string}")
    return values[0] if values else None


def attribute_values(attribute: types.Attribute) -> tuple[bytes, ...]:
    """Cut the SET of an attribute's values into the values' DER.

    Raises:
        Malformed: it is not a SET.
    """
    if attribute.attrValues.tag_bytes != _SET_TAG:
        raise Malformed("attribute values are not a SET")
    return tuple(ber.split(attribute.attrValues.data))
