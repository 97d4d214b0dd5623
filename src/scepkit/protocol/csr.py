"""PKCS#10 certification requests (RFC 2986), read leniently; `build`, next door, writes them.

The library's own reader refuses what devices send (strongSwan's attribute SET is out of DER
order), so the request is taken apart here: the signature is verified over the bytes as received,
and only then names and extensions are given to the library, in a copy that is in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import BadRequest, FailInfoError, Malformed
from scepkit.protocol import _asn1, _codec, _der, _keys, _x509, csr_writing
from scepkit.protocol.algorithms import Digest, Legacy, PublicKey, signature_digest
from scepkit.protocol.cms import attribute_values
from scepkit.protocol.csr_writing import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    MAX_CHALLENGE_LENGTH,
    build,
)

__all__ = [
    "CHALLENGE_PASSWORD",
    "EXTENSION_REQUEST",
    "MAX_CHALLENGE_LENGTH",
    "CertificationRequest",
    "build",
    "read",
    "read_archived",
]

# The same by other names (P-33): PKCS#9's and Microsoft's. That of old drafts needs a switch.
_EXTENSION_REQUESTS = {EXTENSION_REQUEST, ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")}
_DRAFT_EXTENSION_REQUEST = ObjectIdentifier("2.16.840.1.113733.1.9.8")

# DirectoryString, and IA5String, which it is not but which is sent.
_STRING_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_EVERY_LEGACY = frozenset(Legacy)
_SHA256_WITH_RSA = ObjectIdentifier("1.2.840.113549.1.1.11")


@dataclass(frozen=True, slots=True)
class CertificationRequest:
    """A PKCS#10 whose own signature has been verified.

    Attributes:
        der: the request as received.
        info: its CertificationRequestInfo as received: what the device asked for, unlike `der`
            the same in every retransmission, as signatures may be randomised.
        subject: the requested subject; may be empty.
        spki: the SubjectPublicKeyInfo, DER as received.
        public_key: the key.
        extensions: the requested extensions.
        challenge_password: the challengePassword; None when missing or empty. Secret.
        archive: subject, key and extensions again, as a PKCS#10 that holds nothing secret and no
            signature: what a certificate can be issued from later. See `read_archived`.
        legacy: what it uses that had to be allowed, for the log.
    """

    der: bytes
    info: bytes
    subject: x509.Name
    spki: bytes
    public_key: PublicKey
    extensions: x509.Extensions
    challenge_password: str | None
    archive: bytes
    legacy: tuple[Legacy, ...] = ()

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"<CertificationRequest {self.subject.rfc4514_string()!r}>"

    @property
    def key_hash(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo, 32 octets."""
        return hashlib.sha256(self.spki).digest()


def read(der: bytes, allowed: frozenset[Legacy], *, is_whole: bool = True) -> CertificationRequest:
    """Read and verify a PKCS#10, DER or BER.

    Reading is, in order: structure; the key, bounded before it is used; the request's signature
    by that key, over the bytes as received; whether key and algorithms are good enough; attributes;
    names and extensions.
    Until the signature holds, everything that is wrong is `Malformed`, after nearly the same work:
    the request may be somebody else's, opened for whoever cut its ciphertext to pieces (checklist
    P-54).

    Args:
        der: the request.
        allowed: the legacy algorithms that are allowed for its signature, and whether the
            extensionRequest of old drafts is.
        is_whole: False for one that was damaged on its way, as far as is known: whatever it looks
            like, its signature is then not good enough.

    Raises:
        Malformed: it is no PKCS#10, or its signature is wrong or cannot be checked.
        BadRequest: its key is too small, or its extensionRequest is of a form that is not allowed.
        BadAlg: its signature algorithm or its key's curve is not allowed.
    """
    try:
        claim = _claim(der)
    except Malformed:
        _decoy().is_true()
        raise
    if not (claim.is_true() and is_whole):
        raise Malformed("the PKCS#10 request's own signature does not verify")
    _keys.check(claim.public_key)
    digest = signature_digest(claim.algorithm, claim.public_key, None, allowed)
    uses = (digest.legacy, _form(claim.structure, allowed))
    request = _contents(claim.structure, claim.public_key)
    return replace(request, legacy=tuple(use for use in uses if use is not None))


def _form(structure: _Structure, allowed: frozenset[Legacy]) -> Legacy | None:
    """Say whether the extensions are asked for as old drafts did it.

    Where that is off, the request is refused: a certificate without the names helps nobody.
    """
    if not _values(structure.info.attributes or [], {_DRAFT_EXTENSION_REQUEST}):
        return None
    if Legacy.DRAFT_OIDS not in allowed:
        raise BadRequest(
            "the extension request is in the old form of a draft, which is not allowed here",
            hint=f"to allow it, name {Legacy.DRAFT_OIDS.value!r} in the legacy setting",
        )
    return Legacy.DRAFT_OIDS


@dataclass(frozen=True, slots=True)
class _Structure:
    """A PKCS#10 taken apart; no text shows it, as a challengePassword may be in there."""

    der: bytes = field(repr=False)
    request: _asn1.CertificationRequest = field(repr=False)
    info: _asn1.CertificationRequestInfo = field(repr=False)
    info_der: bytes = field(repr=False)
    spki: bytes


@dataclass(frozen=True, slots=True)
class _Claim:
    """A PKCS#10 that could be read as far as its signature, which is not verified."""

    structure: _Structure
    public_key: PublicKey
    algorithm: ObjectIdentifier
    digest: Digest

    def is_true(self) -> bool:
        """Say whether the request's key made its signature."""
        signature = self.structure.request.signature.as_bytes()
        return _keys.verify(self.public_key, signature, self.structure.info_der, self.digest)


def _claim(der: bytes) -> _Claim:
    structure = _structure(der)
    algorithm = structure.request.signatureAlgorithm.algorithm
    try:
        public_key = _keys.load_any(structure.spki)
        digest = signature_digest(algorithm, public_key, None, _EVERY_LEGACY)
    except FailInfoError as error:
        raise Malformed(f"the PKCS#10 request's key cannot be used: {error.message}") from error
    return _Claim(structure, public_key, algorithm, digest)


@cache
def _decoy() -> _Claim:
    """Return a PKCS#10 like most, which nobody signed: work for when there is none to verify."""
    octets = hashlib.shake_256(b"scepkit").digest(256)
    modulus = int.from_bytes(octets, "big") | 1 << 2047 | 1
    public_key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    attributes = [_der.attribute(CHALLENGE_PASSWORD, csr_writing.directory_string("A" * 32))]
    info = csr_writing.info(_der.sequence(), spki, attributes)
    return _claim(csr_writing.request(info, _der.algorithm(_SHA256_WITH_RSA), b"\0" + octets[1:]))


def read_archived(der: bytes) -> CertificationRequest:
    """Read the `archive` of a PKCS#10 that `read` accepted, whose signature was verified then.

    Args:
        der: what was kept of the request.

    Raises:
        Malformed, BadRequest, BadAlg: it is not what was kept.
    """
    structure = _structure(der)
    return _contents(structure, _keys.load(structure.spki))


def _structure(der: bytes) -> _Structure:
    request = _codec.decode(_asn1.CertificationRequest, der, "PKCS#10 request")
    outer = request.certificationRequestInfo
    info = _codec.parse(_asn1.CertificationRequestInfo, outer, "PKCS#10 request")
    return _Structure(der, request, info, _codec.encode(outer), _codec.encode(info.subjectPKInfo))


def _contents(structure: _Structure, public_key: PublicKey) -> CertificationRequest:
    attributes = structure.info.attributes or []
    archive = _in_order(
        structure, _values(attributes, _EXTENSION_REQUESTS | {_DRAFT_EXTENSION_REQUEST})
    )
    subject, requested = _x509.request(archive)
    return CertificationRequest(
        der=structure.der,
        info=structure.info_der,
        subject=subject,
        spki=structure.spki,
        public_key=public_key,
        extensions=requested,
        challenge_password=_challenge(_values(attributes, {CHALLENGE_PASSWORD})),
        archive=archive,
    )


def _values(
    attributes: Iterable[_asn1.Attribute], wanted: AbstractSet[ObjectIdentifier]
) -> list[bytes]:
    """Return the values of an attribute, whichever OID it goes by."""
    return [
        value
        for attribute in attributes
        if attribute.attrType in wanted
        for value in attribute_values(attribute)
    ]


def _in_order(structure: _Structure, extensions: list[bytes]) -> bytes:
    """Write a copy that the library can read: in order, with one extensionRequest at most.

    The signature stays behind: it would let whoever finds the copy try out challengePasswords.
    """
    if len(extensions) > 1:
        raise Malformed("the PKCS#10 request has several extensionRequest attributes")
    attributes = [_der.attribute(EXTENSION_REQUEST, value) for value in extensions]
    subject = _codec.encode(structure.info.subject)
    copy = csr_writing.info(subject, structure.spki, attributes)
    algorithm = _codec.encode(structure.request.signatureAlgorithm)
    return csr_writing.request(copy, algorithm, b"")


def _challenge(values: list[bytes]) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        raise Malformed("the PKCS#10 request has several challengePasswords")
    tag, content = _codec.tag_and_content(values[0])
    encoding = _STRING_ENCODINGS.get(tag)
    if encoding is None:
        raise Malformed("the challengePassword is not a string")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        # Not `from`: the exception holds the password.
        raise Malformed("the challengePassword is not valid in its own encoding") from None
    if len(text) > MAX_CHALLENGE_LENGTH:
        raise Malformed("the challengePassword is too long")
    return text or None
