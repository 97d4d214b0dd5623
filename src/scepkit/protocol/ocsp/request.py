"""Reading an OCSP request (RFC 6960 section 4.1).

Its ASN.1 types come first, by appendix B.1, whose module has EXPLICIT tags.
As in `scepkit.protocol.asn1.types`, what is not looked at is `TLV`; an OPTIONAL one is
`Null | TLV | None`, which is any element or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, Explicit, Null
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import OCSPExtensionOID

from scepkit.errors import Malformed
from scepkit.protocol.algorithms import SHA1, SHA224, SHA256, SHA384, SHA512
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.types import AlgorithmIdentifier, Extension


# CertID ::= SEQUENCE {
#     hashAlgorithm   AlgorithmIdentifier,
#     issuerNameHash  OCTET STRING,               -- of the issuer's Name
#     issuerKeyHash   OCTET STRING,               -- of the issuer's key, the BIT STRING's content
#     serialNumber    CertificateSerialNumber }
@asn1.sequence
class _CertID:
    hashAlgorithm: AlgorithmIdentifier
    issuerNameHash: bytes
    issuerKeyHash: bytes
    serialNumber: int


# Request ::= SEQUENCE {
#     reqCert                      CertID,
#     singleRequestExtensions  [0] EXPLICIT Extensions OPTIONAL }
@asn1.sequence
class _SingleRequest:
    reqCert: _CertID
    singleRequestExtensions: Annotated[list[Extension] | None, Explicit(0)]


# TBSRequest ::= SEQUENCE {
#     version            [0] EXPLICIT Version DEFAULT v1,
#     requestorName      [1] EXPLICIT GeneralName OPTIONAL,
#     requestList            SEQUENCE OF Request,
#     requestExtensions  [2] EXPLICIT Extensions OPTIONAL }
@asn1.sequence
class _TBSRequest:
    version: Annotated[int | None, Explicit(0)]
    requestorName: Annotated[Null | TLV | None, Explicit(1)]
    requestList: list[_SingleRequest]
    requestExtensions: Annotated[list[Extension] | None, Explicit(2)]


# OCSPRequest ::= SEQUENCE {
#     tbsRequest             TBSRequest,
#     optionalSignature  [0] EXPLICIT Signature OPTIONAL }
@asn1.sequence
class _OCSPRequest:
    tbsRequest: _TBSRequest
    optionalSignature: Annotated[Null | TLV | None, Explicit(0)]


REQUEST_TYPE = "application/ocsp-request"

MAX_CERTIFICATES = 100
"""In one request: each costs a look into the database, and all of them one signature."""

MAX_REQUEST = 64 * 1024
"""Octets. A hundred CertIDs of the longest kind are below 20 KiB; the rest is for extensions."""

MAX_NONCE = 128
"""Octets (RFC 9654 section 2.1)."""

HASHES = {one.oid: one for one in (SHA1, SHA256, SHA224, SHA384, SHA512)}
"""The digests that a CertID may name its issuer with. SHA-1 only identifies here."""

# What may be critical: we know what it means, also where we need not act on it.
_KNOWN = frozenset(
    {
        OCSPExtensionOID.NONCE,
        ObjectIdentifier("1.3.6.1.5.5.7.48.1.4"),  # acceptable responses: we have the basic one
        ObjectIdentifier("1.3.6.1.5.5.7.48.1.7"),  # serviceLocator: for those who pass it on
        ObjectIdentifier("1.3.6.1.5.5.7.48.1.8"),  # preferred signatures: our key has one
    }
)


@dataclass(frozen=True, slots=True)
class CertID:
    """The identity of a certificate in a request.

    Attributes:
        der: the CertID, to be repeated in the response.
        hash: what the next two are made with; one of `HASHES`, or unknown to us.
        issuer_name_hash: of the issuer's Name.
        issuer_key_hash: of the content of the BIT STRING in the issuer's SubjectPublicKeyInfo.
        serial: the certificate's serial number; whatever a client thinks one can be.
    """

    der: bytes
    hash: ObjectIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Request:
    """A client's OCSP request.

    Attributes:
        certificates: 1 to `MAX_CERTIFICATES` of them.
        nonce: the nonce extension's value as it came, DER; None without one.
    """

    certificates: tuple[CertID, ...]
    nonce: bytes | None


def read_request(der: bytes) -> Request:
    """Read an OCSPRequest. Its signature is not checked: everybody may ask.

    Raises:
        Malformed: it is none, has another version, asks for no certificate or for too many, has a
            nonce of a length that RFC 9654 forbids, or a critical extension that is unknown.
    """
    if len(der) > MAX_REQUEST:
        raise Malformed(f"an OCSP request of more than {MAX_REQUEST} octets")
    request = ber.decode(_OCSPRequest, der, "OCSP request").tbsRequest
    if request.version not in (None, 0):
        raise Malformed("an OCSP request of another version than 1")
    if not 1 <= len(request.requestList) <= MAX_CERTIFICATES:
        raise Malformed(
            f"an OCSP request for {len(request.requestList)} certificates, "
            f"not 1 to {MAX_CERTIFICATES}"
        )
    for one in request.requestList:
        # RFC 5754: NULL or nothing. Anything else would be repeated, signed, in the response.
        if not isinstance(one.reqCert.hashAlgorithm.parameters, Null | None):
            raise Malformed("the hash of a CertID has parameters")
        _check(one.singleRequestExtensions or ())
    extensions = request.requestExtensions or []
    _check(extensions)
    return Request(
        certificates=tuple(_cert_id(one.reqCert) for one in request.requestList),
        nonce=_nonce(extensions),
    )


def _check(extensions: Iterable[Extension]) -> None:
    for extension in extensions:
        if extension.critical and extension.extnID not in _KNOWN:
            raise Malformed(
                f"the critical extension {extension.extnID.dotted_string} is not known here"
            )


def read_cert_id(der: bytes) -> CertID:
    """Read a CertID.

    Raises:
        Malformed: it is none.
    """
    return _cert_id(ber.decode(_CertID, der, "CertID"))


def _cert_id(found: _CertID) -> CertID:
    return CertID(
        der=der.encode(found),
        hash=found.hashAlgorithm.algorithm,
        issuer_name_hash=found.issuerNameHash,
        issuer_key_hash=found.issuerKeyHash,
        serial=found.serialNumber,
    )


def _nonce(extensions: Iterable[Extension]) -> bytes | None:
    found = [one.extnValue for one in extensions if one.extnID == OCSPExtensionOID.NONCE]
    if not found:
        return None
    if len(found) > 1:
        raise Malformed("an OCSP request with two nonces")
    nonce = ber.decode(bytes, found[0], "nonce")
    if not 1 <= len(nonce) <= MAX_NONCE:
        raise Malformed(f"an OCSP nonce of {len(nonce)} octets, not 1 to {MAX_NONCE}")
    return der.encode(nonce)
