"""The ASN.1 types of an OCSP request: declarations only.

As in `scepkit.protocol.asn1.types`, what is not looked at is `TLV`; an OPTIONAL one is
`Null | TLV | None`, which is any element or none.

Grammar: RFC 6960 appendix B.1 (its module has EXPLICIT tags).
"""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, Explicit, Null

from scepkit.protocol.asn1.types import AlgorithmIdentifier, Extension


# CertID ::= SEQUENCE {
#     hashAlgorithm   AlgorithmIdentifier,
#     issuerNameHash  OCTET STRING,               -- of the issuer's Name
#     issuerKeyHash   OCTET STRING,               -- of the issuer's key, the BIT STRING's content
#     serialNumber    CertificateSerialNumber }
@asn1.sequence
class CertID:
    hashAlgorithm: AlgorithmIdentifier
    issuerNameHash: bytes
    issuerKeyHash: bytes
    serialNumber: int


# Request ::= SEQUENCE {
#     reqCert                      CertID,
#     singleRequestExtensions  [0] EXPLICIT Extensions OPTIONAL }
@asn1.sequence
class Request:
    reqCert: CertID
    singleRequestExtensions: Annotated[list[Extension] | None, Explicit(0)]


# TBSRequest ::= SEQUENCE {
#     version            [0] EXPLICIT Version DEFAULT v1,
#     requestorName      [1] EXPLICIT GeneralName OPTIONAL,
#     requestList            SEQUENCE OF Request,
#     requestExtensions  [2] EXPLICIT Extensions OPTIONAL }
@asn1.sequence
class TBSRequest:
    version: Annotated[int | None, Explicit(0)]
    requestorName: Annotated[Null | TLV | None, Explicit(1)]
    requestList: list[Request]
    requestExtensions: Annotated[list[Extension] | None, Explicit(2)]


# OCSPRequest ::= SEQUENCE {
#     tbsRequest             TBSRequest,
#     optionalSignature  [0] EXPLICIT Signature OPTIONAL }
@asn1.sequence
class OCSPRequest:
    tbsRequest: TBSRequest
    optionalSignature: Annotated[Null | TLV | None, Explicit(0)]
