"""CMS (RFC 5652) as far as SCEP uses it: SignedData and certs-only messages.

This module has never heard of SCEP: signed attributes are OIDs and bytes here.
Encrypted content is next door, in `enveloped`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadMessageCheck, Malformed
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import RSA_ENCRYPTION, Digest, Legacy, PrivateKey, digest
from scepkit.protocol.asn1 import ber, der, rewriting, types
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.signatures import AlgorithmIdentifier

DATA = ObjectIdentifier("1.2.840.113549.1.7.1")
SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")

_NOTHING = der.set_of()
_CONTENT_TYPE_IS_DATA = der.attribute(CONTENT_TYPE, der.oid(DATA))

# More certificates than any chain has: a bound on what one message can make us parse.
MAX_CERTIFICATES = 32

# Where they stand in a SignerInfo.
_SIGNED_ATTRIBUTES = 3
_SET_TAG = bytes([der.SET])


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
    certificates = [der.encode(c) for c in signed.certificates or []]
    if len(certificates) > MAX_CERTIFICATES:
        raise Malformed(f"{len(certificates)} certificates in one message")
    return SignedData(
        content_type=signed.encapContentInfo.eContentType,
        content=signed.encapContentInfo.eContent,
        certificates=tuple(certificates),
        crls=tuple(der.encode(c) for c in signed.crls or []),
        signers=tuple(
            _signer(element, message, position)
            for position, element in enumerate(ber.split(signed.signerInfos.data))
        ),
    )


def _signer(element: bytes, message: bytes, position: int) -> SignerInfo:
    info = ber.decode(types.SignerInfo, element, "CMS SignerInfo")
    attributes = [der.encode(a) for a in info.signedAttrs or []]
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
    return tuple(der.element(der.SET, *order) for order in orders)


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
        _, content = rewriting.cut(signer.message)
        (signed_data,) = rewriting.cut(content)
        signer_infos = rewriting.cut(signed_data)[-1]
        attributes = rewriting.cut(rewriting.cut(signer_infos)[signer.position])[_SIGNED_ATTRIBUTES]
    except (Malformed, ValueError, IndexError):
        return None
    return der.retag(bytes(attributes), der.SET)


def _identifier(sid: types.IssuerAndSerialNumber | bytes) -> tuple[bytes, bytes] | bytes:
    if isinstance(sid, bytes):
        return sid
    return der.encode(sid.issuer), der.encode(sid.serialNumber)


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
    if content_type is not None and content_type != der.oid(data.content_type):
        raise BadMessageCheck("the contentType attribute is not the type of the content")
    # (4)
    claimed = _single(signer, MESSAGE_DIGEST, required=True)
    actual = der.octet_string(used.of(data.content or b""))
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


# --- writing: as strictly as all of the above reads leniently ------------------------------------


def sign(
    content: bytes | None,
    attributes: Iterable[tuple[ObjectIdentifier, bytes]],
    *,
    key: PrivateKey,
    certificate: Certificate,
    chosen: Digest,
    extra_certificates: Sequence[bytes] = (),
) -> bytes:
    """Return SignedData over id-data with one signature (RFC 5652 section 5).

    Args:
        content: what is signed; None leaves eContent out.
        attributes: signed attributes beside contentType and messageDigest: OID, DER of the value.
        key: the signer's private key.
        certificate: the signer's certificate; it goes into the message.
        chosen: the digest, unless the key has no choice; see `signatures.signing_digest`.
        extra_certificates: DER of further certificates for the message.
    """
    chosen = signatures.signing_digest(key, chosen)
    digest_algorithm = _digest_algorithm(key, chosen)
    digest_of_content = der.octet_string(chosen.of(content or b""))
    encoded = sorted(
        [
            _CONTENT_TYPE_IS_DATA,
            der.attribute(MESSAGE_DIGEST, digest_of_content),
            *(der.attribute(oid, value) for oid, value in attributes),
        ]
    )
    signer = der.sequence(
        der.INTEGER_1,
        certificate.issuer_and_serial_number,
        digest_algorithm,
        der.tagged(0, *encoded),
        _signature_algorithm(key, chosen),
        der.octet_string(signatures.sign(key, der.element(der.SET, *encoded), chosen)),
    )
    return _signed_data(
        digest_algorithms=der.set_of(digest_algorithm),
        content=content,
        certificates=(certificate.der, *extra_certificates),
        signer_infos=der.set_of(signer),
    )


def certs_only(certificates: Sequence[bytes] = (), crls: Sequence[bytes] = ()) -> bytes:
    """Return a degenerate certs-only SignedData (RFC 8894 section 3.4): no content, no signer.

    The order is kept, so that the leaf stays first, which DER's SET order would not.
    """
    return _signed_data(certificates=certificates, crls=crls)


def _signed_data(
    *,
    digest_algorithms: bytes = _NOTHING,
    content: bytes | None = None,
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    signer_infos: bytes = _NOTHING,
) -> bytes:
    """Write the ContentInfo of a SignedData over id-data (RFC 5652 section 5.1)."""
    e_content = () if content is None else (der.tagged(0, der.octet_string(content)),)
    signed = der.sequence(
        der.INTEGER_1,
        digest_algorithms,
        der.sequence(der.oid(DATA), *e_content),
        *((der.tagged(0, *certificates),) if certificates else ()),
        *((der.tagged(1, *crls),) if crls else ()),
        signer_infos,
    )
    return der.sequence(der.oid(SIGNED_DATA), der.tagged(0, signed))


def _digest_algorithm(key: PrivateKey, chosen: Digest) -> bytes:
    """Write NULL for old readers; Ed25519 has only new ones, which may insist on none."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return der.algorithm(chosen.oid, b"")
    return der.algorithm(chosen.oid)


def _signature_algorithm(key: PrivateKey, chosen: Digest) -> bytes:
    """Say rsaEncryption for RSA: old clients refuse the OIDs that name a digest (P-06)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return der.algorithm(RSA_ENCRYPTION)
    return signatures.signature_algorithm(key, chosen)
