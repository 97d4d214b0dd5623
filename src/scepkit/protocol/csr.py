"""PKCS#10 certification requests (RFC 2986), read leniently; `build`, next door, writes them.

The library's own reader refuses what devices send (strongSwan's attribute SET is out of DER order,
Windows writes `!` into a PrintableString), so the request is cut into its parts here, and the parts
keep their octets.
The signature is verified over the bytes as received; everything else is decoded when it is asked
for, and nothing is decoded that nobody asks for; see `certification_request`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.errors import FailInfoError, Malformed
from scepkit.protocol import csr_writing, signatures
from scepkit.protocol import spki as _keys
from scepkit.protocol.algorithms import Legacy, PublicKey
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.certification_request import CertificationRequest
from scepkit.protocol.csr_writing import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    MAX_CHALLENGE_LENGTH,
    SHA256_WITH_RSA,
    build,
)
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.signatures import AlgorithmIdentifier, SignatureScheme

__all__ = [
    "CHALLENGE_PASSWORD",
    "EXTENSION_REQUEST",
    "MAX_CHALLENGE_LENGTH",
    "CertificationRequest",
    "Unverifiable",
    "build",
    "read",
    "read_archived",
    "verify",
]

# Subject, key and attributes, after the version.
_ATTRIBUTES = 0xA0


def read(der: bytes, allowed: frozenset[Legacy]) -> CertificationRequest:
    """Read a PKCS#10, DER or BER, all of it: `verify`, then `CertificationRequest.check`.

    Args:
        der: the request.
        allowed: the legacy algorithms that are allowed for its signature, and whether the
            extensionRequest of old drafts is.

    Raises:
        Malformed: it is no PKCS#10, or its signature is wrong or cannot be checked.
        BadRequest, BadAlg: it cannot be used; see `CertificationRequest.check`.
    """
    request = verify(der)
    request.check(allowed)
    return request


def verify(der: bytes, *, is_whole: bool = True) -> CertificationRequest:
    """Read a PKCS#10, DER or BER, as far as its own signature, and verify that.

    Reading is, in order: structure; the key, bounded before it is used; the request's signature
    by that key, over the bytes as received.
    Until the signature holds, everything that is wrong is `Malformed`, after nearly the same work:
    the request may be somebody else's, opened for whoever cut its ciphertext to pieces (checklist
    P-54).
    So an algorithm that can be verified and is not allowed, or not supported, such as SHA-1 or
    SHA-3, is verified first, and `CertificationRequest.check` names it then. One that cannot be
    verified, such as a mask generation other than MGF1, is `Unverifiable`.

    Args:
        der: the request.
        is_whole: False for one that was damaged on its way, as far as is known: whatever it looks
            like, its signature is then not good enough.

    Raises:
        Unverifiable: its signature is of a kind that is not supported.
        Malformed: it is no PKCS#10, or its signature is wrong.
    """
    try:
        claim = _claim(der)
    except Malformed:
        _decoy().is_true()
        raise
    if not (claim.is_true() and is_whole):
        raise Malformed("the PKCS#10 request's own signature does not verify")
    return claim.request


def read_archived(der: bytes) -> CertificationRequest:
    """Read the `archive` of a PKCS#10 that was accepted, whose signature was verified then.

    Args:
        der: what was kept of the request.

    Raises:
        Malformed, BadRequest, BadAlg: it is not what was kept.
    """
    cut = _cut(der)
    return cut.request(_keys.load(cut.spki), None)


class Unverifiable(Malformed):
    """A PKCS#10 whose signature is of a kind that is not supported, or its key is.

    Args:
        spki: its key, DER as received.
        error: what is not supported.

    Attributes:
        key_hash: SHA-256 of the canonical SubjectPublicKeyInfo, 32 octets.
        error: what is not supported.
    """

    def __init__(self, spki: bytes, error: FailInfoError) -> None:
        super().__init__(f"the PKCS#10 request cannot be verified: {error.message}")
        self.key_hash = hashlib.sha256(_keys.canonical(spki)).digest()
        self.error = error


@dataclass(frozen=True, slots=True)
class _Claim:
    """A PKCS#10 that could be read as far as its signature, which is not verified."""

    request: CertificationRequest
    signature: bytes
    scheme: SignatureScheme

    def is_true(self) -> bool:
        """Say whether the request's key made its signature."""
        return self.scheme.verify(self.request.public_key, self.signature, self.request.info)


def _claim(der: bytes) -> _Claim:
    cut = _cut(der)
    algorithm = ber.decode(types.AlgorithmIdentifier, cut.algorithm, "signature algorithm")
    signature = ber.content(cut.signature, _der.BIT_STRING, "signature")
    if signature[:1] != b"\0":
        raise Malformed("the PKCS#10 request's signature is not made of octets")
    try:
        public_key = _keys.load_any(cut.spki)
        scheme = signatures.parse(AlgorithmIdentifier.of(algorithm))
        scheme.require_key(public_key)
    except FailInfoError as error:
        raise Unverifiable(cut.spki, error) from error
    return _Claim(cut.request(public_key, scheme), signature[1:], scheme)


@cache
def _decoy() -> _Claim:
    """Return a PKCS#10 like most, which nobody signed: work for when there is none to verify."""
    octets = hashlib.shake_256(b"scepkit").digest(256)
    modulus = int.from_bytes(octets, "big") | 1 << 2047 | 1
    public_key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    attributes = [_der.attribute(CHALLENGE_PASSWORD, csr_writing.directory_string("A" * 32))]
    info = csr_writing.info(_der.sequence(), spki, attributes)
    return _claim(csr_writing.request(info, _der.algorithm(SHA256_WITH_RSA), b"\0" + octets[1:]))


@dataclass(frozen=True, slots=True)
class _Cut:
    """The parts of a PKCS#10, octets as received; no text shows them."""

    der: bytes = field(repr=False)
    info: bytes = field(repr=False)
    subject: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    attributes: bytes = field(repr=False)
    algorithm: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def request(
        self, public_key: PublicKey, algorithm: SignatureScheme | None
    ) -> CertificationRequest:
        return CertificationRequest(
            der=self.der,
            info=self.info,
            subject=Name(self.subject),
            spki=self.spki,
            public_key=public_key,
            algorithm=algorithm,
            _attributes=self.attributes,
        )


def _cut(der: bytes) -> _Cut:
    """Cut a CertificationRequest (RFC 2986 section 4.2), and its CertificationRequestInfo."""
    try:
        info, algorithm, signature = ber.parts(der, _der.SEQUENCE, "PKCS#10 request")
        _, subject, spki, *rest = ber.parts(info, _der.SEQUENCE, "PKCS#10 request")
    except ValueError as error:
        raise Malformed("not a PKCS#10 request: parts are missing") from error
    # Some devices leave the attributes out altogether.
    attributes = ber.content(rest[0], _ATTRIBUTES, "attributes") if rest else b""
    return _Cut(der, info, subject, spki, attributes, algorithm, signature)
