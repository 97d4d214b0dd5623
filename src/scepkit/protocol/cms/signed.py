"""CMS SignedData (RFC 5652 section 5) as far as SCEP uses it, and certs-only messages.

This module has never heard of SCEP: signed attributes are octets here.
Encrypted content is next door, in `enveloped`.
What is read is cut, and keeps its octets; OIDs that are only compared stay as they came, DER.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadMessageCheck, Malformed
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import (
    RSA_ENCRYPTION,
    AlgorithmIdentifier,
    Digest,
    Legacy,
    PrivateKey,
    digest,
    read_algorithm,
)
from scepkit.protocol.asn1 import ber, der, rewriting
from scepkit.protocol.asn1.ber import Attribute
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    SKIP,
    WHOLE,
    Grammar,
    Row,
)
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.value import value

# OIDs, DER.
DATA = der.oid(ObjectIdentifier("1.2.840.113549.1.7.1"))
SIGNED_DATA = der.oid(ObjectIdentifier("1.2.840.113549.1.7.2"))
CONTENT_TYPE = der.oid(ObjectIdentifier("1.2.840.113549.1.9.3"))
MESSAGE_DIGEST = der.oid(ObjectIdentifier("1.2.840.113549.1.9.4"))

# More certificates than any chain has, and more signatures than any message: bounds on what one
# message can make us parse.
MAX_CERTIFICATES = MAX_SIGNERS = 32

# ContentInfo ::= SEQUENCE { contentType ContentType, content [0] EXPLICIT ANY }
# SignedData ::= SEQUENCE {
#     version CMSVersion,
#     digestAlgorithms SET OF DigestAlgorithmIdentifier,
#     encapContentInfo EncapsulatedContentInfo,
#     certificates [0] IMPLICIT CertificateSet OPTIONAL,
#     crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
#     signerInfos SET OF SignerInfo }
# The two sets go by where they stand, whatever their tags.
# EncapsulatedContentInfo ::= SEQUENCE {
#     eContentType ContentType, eContent [0] EXPLICIT OCTET STRING OPTIONAL }
CONTENT_INFO = Grammar("CMS ContentInfo", der.SEQUENCE | ENTER, der.OID, 0xA0 | CONTENT, END)
# SignerIdentifier, RecipientIdentifier ::= CHOICE {
#     issuerAndSerialNumber IssuerAndSerialNumber,
#     subjectKeyIdentifier [0] SubjectKeyIdentifier }
# IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber CertificateSerialNumber }
CERTIFICATE_IDENTIFIER = (
    *(der.SEQUENCE | ENTER | OPTIONAL, ANY, ANY, END),
    0x80 | CONTENT | OPTIONAL,
)
# SignerInfo ::= SEQUENCE {
#     version CMSVersion, sid SignerIdentifier,
#     digestAlgorithm DigestAlgorithmIdentifier,
#     signedAttrs [0] IMPLICIT SignedAttributes OPTIONAL,
#     signatureAlgorithm SignatureAlgorithmIdentifier,
#     signature SignatureValue,
#     unsignedAttrs [1] IMPLICIT UnsignedAttributes OPTIONAL }
_SIGNER_INFO = (
    *(der.SEQUENCE | ENTER, der.INTEGER | SKIP),
    *(*CERTIFICATE_IDENTIFIER, der.SEQUENCE),
    # Attributes that are not DER stay a row until it is known how many signatures there are.
    *(0xA0 | WHOLE | ENTER | OPTIONAL, Row(ber.SINGLE_VALUED, bytes), END),
    *(der.SEQUENCE, der.OCTET_STRING | CONTENT),
    *(0xA1 | OPTIONAL | SKIP, END),
)
_ROW = Row([ANY], ber.split, of_ones=True)
_SIGNED_DATA = (
    *(der.SEQUENCE | ENTER, der.INTEGER | SKIP, ANY | SKIP),
    *(der.SEQUENCE | ENTER, der.OID, 0xA0 | ENTER | OPTIONAL),
    *(der.OCTET_STRING | FIRST | CONTENT, END, END),
    *(0xA0 | ENTER | OPTIONAL, _ROW, END, 0xA1 | ENTER | OPTIONAL, _ROW, END),
    *(ANY | ENTER, Row(_SIGNER_INFO, Grammar("CMS SignerInfo", *_SIGNER_INFO).rows), END, END),
)
_ALONE = Grammar("CMS SignedData", *_SIGNED_DATA)
_IN_CONTENT_INFO = Grammar(
    "CMS ContentInfo",
    *(der.SEQUENCE | ENTER, der.OID, 0xA0 | ENTER),
    *(*_SIGNED_DATA, END, END),
)
_CERTIFICATES, _CRLS, _SIGNED_ATTRS = 0xA0, 0xA1, 0xA0
_SET = bytes([der.SET])
_SIGNED_ATTRIBUTES = 3  # where they stand in a SignerInfo

# Both in their ContentInfo: a SignedData over id-data with one SignerInfo, and one without content.
_DATA_CONTENT = (der.SEQUENCE, DATA, (der.EXPLICIT_0, (der.OCTET_STRING, ...)))
_ONE_SIGNER = (der.SEQUENCE, ..., (_SIGNED_ATTRS, ...), ..., (der.OCTET_STRING, ...))
_SIGNED = Skeleton(
    *(der.SEQUENCE, SIGNED_DATA),
    (der.EXPLICIT_0, (der.SEQUENCE, ..., _DATA_CONTENT, ..., (der.SET, _ONE_SIGNER))),
)
_NOTHING = der.set_of()
# Version, no digest, no content.
_NO_CONTENT = der.INTEGER_1 + _NOTHING + der.sequence(DATA)
_CERTIFICATES_ONLY = Skeleton(
    *(der.SEQUENCE, SIGNED_DATA),
    (der.EXPLICIT_0, (der.SEQUENCE, _NO_CONTENT, ..., ..., _NOTHING)),
)
_CONTENT_TYPE_IS_DATA = der.attribute(CONTENT_TYPE, DATA)


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and its certificate.

    Attributes:
        key: the private key.
        certificate: the certificate for it.
        rsa_key: the same where it is an RSA key, which key transport takes; else None.
    """

    key: PrivateKey = field(repr=False)
    certificate: Certificate
    rsa_key: rsa.RSAPrivateKey | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rsa_key = self.key if isinstance(self.key, rsa.RSAPrivateKey) else None
        object.__setattr__(self, "rsa_key", rsa_key)


@dataclass(slots=True)
class SignerInfo:
    """One signature, not verified yet (RFC 5652 section 5.3).

    Attributes:
        signer: issuer and serial number of whose certificate it claims to be, DER; or nothing.
        key_identifier: the certificate's key identifier, where that names it.
        digest_algorithm: OID of the content's digest.
        signature_algorithm: of the signature, with its parameters.
        attributes: the signed attributes in the order received.
        signed: the same as a SET, the tag and length of each DER.
        signature: the signature.
        message: the whole message as received.
        position: which of its SignerInfos this is.
    """

    signer: bytes
    key_identifier: bytes
    digest_algorithm: ObjectIdentifier
    signature_algorithm: AlgorithmIdentifier
    attributes: list[Attribute]
    signed: bytes
    signature: bytes
    message: bytes = field(repr=False, compare=False)
    position: int = field(compare=False)

    def find(self, certificates: Iterable[Certificate]) -> Certificate | None:
        """Find the certificate that the SignerIdentifier names; return None if it is not there."""
        others = []
        for one in certificates:
            named = one.issuer + one.serial_number if self.signer else one.subject_key_identifier
            if named == (self.signer or self.key_identifier):
                return one
            others.append(one)
        # An issuer may be BER inside, here or in the certificate.
        wanted = _in_der(self.signer)
        found = (one for one in others if wanted == _in_der(one.issuer + one.serial_number))
        return next(found, None) if wanted else None


def _in_der(row: bytes) -> list[bytes]:
    try:
        return rewriting.row_to_der(row)
    except Malformed:
        return []


@value()
class SignedData:
    """A SignedData as it came (RFC 5652 section 5.1).

    Attributes:
        content_type: OID of what is signed, DER.
        content: what is signed; None when there is none.
        certificates: DER, in the order in which they came.
        crls: DER, in the order in which they came.
        signers: the SignerInfos.
    """

    content_type: bytes
    content: bytes | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


# --- reading --------------------------------------------------------------------------------------


def read_signed_data(message: bytes) -> SignedData:
    """Read a ContentInfo that holds SignedData; nothing is verified.

    Raises:
        Malformed: it is something else.
    """
    fields = _IN_CONTENT_INFO.strictly(message) or _one_by_one(message)
    kind, content_type, held, content, certificates, crls, signers = fields
    if kind != SIGNED_DATA:
        raise _other_type(kind)
    if len(certificates) > MAX_CERTIFICATES:
        raise Malformed(f"{len(certificates)} certificates in one message")
    if len(signers) > MAX_SIGNERS:
        raise Malformed(f"{len(signers)} SignerInfos in one message")
    return SignedData(
        content_type,
        content if held else None,
        tuple(certificates),
        tuple(crls),
        tuple([_signer_info(message, *one) for one in enumerate(signers)]),
    )


def _one_by_one(message: bytes) -> list[Any]:
    """Cut a ContentInfo, and then the SignedData in it: it is unusual, or none."""
    kind, signed = CONTENT_INFO.fields(message)
    if kind != SIGNED_DATA:
        raise _other_type(kind)
    return [kind, *_ALONE.fields(signed)]


def _other_type(kind: bytes) -> Malformed:
    return Malformed(f"CMS content type {ber.oid(kind).dotted_string}, not SignedData")


def _signer_info(message: bytes, position: int, fields: tuple[Any, ...]) -> SignerInfo:
    issuer, serial, identifier, digest_algorithm, whole, attributes, algorithm, signature = fields
    digest_oid = read_algorithm(digest_algorithm).oid
    signature_algorithm = read_algorithm(algorithm)
    if isinstance(attributes, list):
        signed = _SET + whole[1:]
    else:
        attributes, row = ber.attributes_in_der(attributes)
        signed = der.element(der.SET, row)
    return SignerInfo(
        issuer + serial,
        identifier,
        digest_oid,
        signature_algorithm,
        attributes,
        signed,
        signature,
        message,
        position,
    )


def verify(
    data: SignedData, signer: SignerInfo, certificate: Certificate, allowed: frozenset[Legacy]
) -> Digest:
    """Check a signature and the content it covers (RFC 5652 sections 5.4 and 5.6).

    1. There are signed attributes: without them a signature over attributes could be passed
       off as one over content (checklist P-63).
    2. The digest algorithm is known and allowed.
    3. The contentType attribute, when there, is the content's type.
    4. The messageDigest attribute is the content's digest.
    5. The signature is the certificate's key's over the attributes.

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
    types = digests = b""
    for kind, values, _ in signer.attributes:
        if kind == CONTENT_TYPE:
            types += values
        elif kind == MESSAGE_DIGEST:
            digests += values
    if types and types != data.content_type:
        reason = "the contentType attribute is not the type of the content"
        raise _mismatch(CONTENT_TYPE, types, reason)
    # (4)
    if not hmac.compare_digest(digests, used.head + used.of(data.content or b"")):
        raise _mismatch(MESSAGE_DIGEST, digests, "the content does not match its digest")
    # (5)
    key = certificate.public_key
    scheme = signatures.read(signer.signature_algorithm, key, allowed, signer_digest=used)
    if scheme.verify(key, signer.signature, signer.signed):
        return used
    for one in _otherwise_signed(signer):
        if scheme.verify(key, signer.signature, one):
            return used
    raise BadMessageCheck("the signature does not verify")


def _mismatch(kind: bytes, values: bytes, reason: str) -> BadMessageCheck:
    """Return the refusal of a signed attribute that has not one value, or has a wrong one."""
    count = len(ber.split(values))
    if count == 1:
        return BadMessageCheck(reason)
    oid = ber.oid(kind).dotted_string
    return BadMessageCheck(f"{count} values of the signed attribute {oid}")


def _otherwise_signed(signer: SignerInfo) -> Iterator[bytes]:
    """Yield what else a signature may be over: the attributes as a SET, in another form.

    By the rule of RFC 5652 section 5.4 that is a DER SET OF. Nearly everybody sends them so; some
    sign the order that they send, and some the very octets that came when these are BER (P-05).
    It is safe to try: whatever octets are tried, they are the same attributes that were read, and
    a signature over them is the signer's word for them. Only their order and the form of their
    lengths are not what DER would have; nothing is read in two ways.
    """
    sent = signer.signed
    proper = der.set_of(*ber.parts(sent, der.SET, "SET of signed attributes"))
    if proper != sent:
        yield proper
    try:
        _, content = rewriting.cut(signer.message)
        (signed_data,) = rewriting.cut(content)
        signer_infos = rewriting.cut(signed_data)[-1]
        signer_info = rewriting.cut(signer_infos)[signer.position]
        attributes = rewriting.cut(signer_info)[_SIGNED_ATTRIBUTES]
    except (Malformed, ValueError, IndexError):
        return
    received = der.retag(bytes(attributes), der.SET)
    if received not in (proper, sent):
        yield received


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


# --- writing: as strictly as all of the above reads leniently -------------------------------------


class Signer:
    """Writes SignedData over id-data with one signature, of one key (RFC 5652 section 5).

    What is the same in all of them is made once. Threads may share it.

    Args:
        credential: whose key, and whose certificate goes into the messages.
        chosen: the digest, unless the key has no choice; see `signatures.signing_digest`.
        extra_certificates: DER of further certificates for the messages.
    """

    def __init__(
        self, credential: Credential, chosen: Digest, extra_certificates: Sequence[bytes] = ()
    ) -> None:
        key, certificate = credential.key, credential.certificate
        self._digest = signatures.signing_digest(key, chosen)
        self._sign = signatures.signing(key, self._digest)
        any_digest = self._digest.of(b"")
        attribute = der.attribute(MESSAGE_DIGEST, der.octet_string(any_digest))
        self._before_digest = attribute.removesuffix(any_digest)
        # NULL for old readers; Ed25519 has only new ones, which may insist on none.
        none = isinstance(key, ed25519.Ed25519PrivateKey)
        digest_algorithm = der.algorithm(self._digest.oid, b"" if none else der.NULL)
        self._head = der.INTEGER_1 + der.set_of(digest_algorithm)
        self._certificates = der.element(_CERTIFICATES, certificate.der, *extra_certificates)
        identifier = der.sequence(certificate.issuer, certificate.serial_number)
        self._signer = der.INTEGER_1 + identifier + digest_algorithm
        self._algorithm = (
            # For RSA not the OIDs that name a digest: old clients refuse them (P-06).
            der.algorithm(RSA_ENCRYPTION)
            if isinstance(key, rsa.RSAPrivateKey)
            else signatures.signature_algorithm(key, self._digest)
        )

    def sign(self, content: bytes, attributes: Iterable[bytes]) -> bytes:
        """Return SignedData.

        Args:
            content: what is signed.
            attributes: signed attributes beside contentType and messageDigest, DER.
        """
        digested = self._digest.of(content)
        message_digest = self._before_digest + digested
        # DER's order is one of octets, and so one of the attributes' lengths first.
        encoded = b"".join(sorted([_CONTENT_TYPE_IS_DATA, message_digest, *attributes]))
        signature = self._sign(der.element(der.SET, encoded))
        head, certificates, signer = self._head, self._certificates, self._signer
        return _SIGNED.write(
            head, content, certificates, signer, encoded, self._algorithm, signature
        )


def certs_only(certificates: Sequence[bytes] = (), crls: Sequence[bytes] = ()) -> bytes:
    """Return a degenerate certs-only SignedData (RFC 8894 section 3.4): no content, no signer.

    The order is kept, so that the leaf stays first, which DER's SET order would not.
    """
    return _CERTIFICATES_ONLY.write(
        der.element(_CERTIFICATES, *certificates) if certificates else b"",
        der.element(_CRLS, *crls) if crls else b"",
    )
