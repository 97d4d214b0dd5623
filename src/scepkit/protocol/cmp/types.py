"""The ASN.1 types of CMP and CRMF that a revocation needs: declarations only.

As in `scepkit.protocol.asn1.types`, what is only compared and repeated byte for byte is `TLV`; an
OPTIONAL one is `Null | TLV | None`, which is any element or none.

Grammar: RFC 9810 appendix A (its module has EXPLICIT tags), RFC 4211 appendix B (IMPLICIT tags,
but a Name is a CHOICE, which no IMPLICIT tag can replace: X.680 section 31.2.9), RFC 8018.
"""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, Explicit, Implicit, Null
from cryptography.x509 import ObjectIdentifier

from scepkit.protocol.asn1.types import AlgorithmIdentifier

# --- RFC 4211: CRMF -----------------------------------------------------------------------------


# CertId ::= SEQUENCE { issuer GeneralName, serialNumber INTEGER }
@asn1.sequence
class CertId:
    issuer: TLV
    serialNumber: int


# CertTemplate ::= SEQUENCE {
#     version      [0] Version               OPTIONAL,
#     serialNumber [1] INTEGER               OPTIONAL,
#     signingAlg   [2] AlgorithmIdentifier   OPTIONAL,
#     issuer       [3] Name                  OPTIONAL,
#     validity     [4] OptionalValidity      OPTIONAL,
#     subject      [5] Name                  OPTIONAL,
#     publicKey    [6] SubjectPublicKeyInfo  OPTIONAL,
#     issuerUID    [7] UniqueIdentifier      OPTIONAL,
#     subjectUID   [8] UniqueIdentifier      OPTIONAL,
#     extensions   [9] Extensions            OPTIONAL }
@asn1.sequence
class CertTemplate:
    version: Annotated[int | None, Implicit(0)]
    serialNumber: Annotated[int | None, Implicit(1)]
    signingAlg: Annotated[AlgorithmIdentifier | None, Implicit(2)]
    issuer: Annotated[Null | TLV | None, Explicit(3)]
    validity: Annotated[list[TLV] | None, Implicit(4)]
    subject: Annotated[Null | TLV | None, Explicit(5)]
    publicKey: Annotated[list[TLV] | None, Implicit(6)]
    issuerUID: Annotated[asn1.BitString | None, Implicit(7)]
    subjectUID: Annotated[asn1.BitString | None, Implicit(8)]
    extensions: Annotated[list[TLV] | None, Implicit(9)]


# PBMParameter ::= SEQUENCE {
#     salt            OCTET STRING,
#     owf             AlgorithmIdentifier,
#     iterationCount  INTEGER,
#     mac             AlgorithmIdentifier }
@asn1.sequence
class PBMParameter:
    salt: bytes
    owf: AlgorithmIdentifier
    iterationCount: int
    mac: AlgorithmIdentifier


# --- RFC 9810: CMP ------------------------------------------------------------------------------


# PKIMessage ::= SEQUENCE {
#     header          PKIHeader,
#     body            PKIBody,                     -- a CHOICE of [0] to [26]
#     protection  [0] PKIProtection OPTIONAL,
#     extraCerts  [1] SEQUENCE SIZE (1..MAX) OF CMPCertificate OPTIONAL }
#
# Header and body stay as they came: the protection is over their very octets.
@asn1.sequence
class PKIMessage:
    header: TLV
    body: TLV
    protection: Annotated[asn1.BitString | None, Explicit(0)]
    extraCerts: Annotated[list[TLV] | None, Explicit(1)]


# InfoTypeAndValue ::= SEQUENCE {
#     infoType   OBJECT IDENTIFIER,
#     infoValue  ANY DEFINED BY infoType OPTIONAL }
@asn1.sequence
class InfoTypeAndValue:
    infoType: ObjectIdentifier
    infoValue: Null | TLV | None


# PKIHeader ::= SEQUENCE {
#     pvno               INTEGER { cmp1999(1), cmp2000(2), cmp2021(3) },
#     sender             GeneralName,
#     recipient          GeneralName,
#     messageTime    [0] GeneralizedTime         OPTIONAL,
#     protectionAlg  [1] AlgorithmIdentifier     OPTIONAL,
#     senderKID      [2] KeyIdentifier           OPTIONAL,
#     recipKID       [3] KeyIdentifier           OPTIONAL,
#     transactionID  [4] OCTET STRING            OPTIONAL,
#     senderNonce    [5] OCTET STRING            OPTIONAL,
#     recipNonce     [6] OCTET STRING            OPTIONAL,
#     freeText       [7] PKIFreeText             OPTIONAL,
#     generalInfo    [8] SEQUENCE SIZE (1..MAX) OF InfoTypeAndValue OPTIONAL }
@asn1.sequence
class PKIHeader:
    pvno: int
    sender: TLV
    recipient: TLV
    messageTime: Annotated[Null | TLV | None, Explicit(0)]
    protectionAlg: Annotated[AlgorithmIdentifier | None, Explicit(1)]
    senderKID: Annotated[bytes | None, Explicit(2)]
    recipKID: Annotated[bytes | None, Explicit(3)]
    transactionID: Annotated[bytes | None, Explicit(4)]
    senderNonce: Annotated[bytes | None, Explicit(5)]
    recipNonce: Annotated[bytes | None, Explicit(6)]
    freeText: Annotated[list[TLV] | None, Explicit(7)]
    generalInfo: Annotated[list[InfoTypeAndValue] | None, Explicit(8)]


# PKIStatusInfo ::= SEQUENCE {
#     status        PKIStatus,                     -- an INTEGER
#     statusString  PKIFreeText      OPTIONAL,     -- SEQUENCE SIZE (1..MAX) OF UTF8String
#     failInfo      PKIFailureInfo   OPTIONAL }    -- a BIT STRING
@asn1.sequence
class PKIStatusInfo:
    status: int
    statusString: list[TLV] | None
    failInfo: asn1.BitString | None


# ErrorMsgContent ::= SEQUENCE {
#     pKIStatusInfo  PKIStatusInfo,
#     errorCode      INTEGER      OPTIONAL,
#     errorDetails   PKIFreeText  OPTIONAL }
@asn1.sequence
class ErrorMsgContent:
    pKIStatusInfo: PKIStatusInfo
    errorCode: int | None
    errorDetails: list[TLV] | None


# RevReqContent ::= SEQUENCE OF RevDetails
# RevDetails ::= SEQUENCE {
#     certDetails      CertTemplate,
#     crlEntryDetails  Extensions OPTIONAL }
@asn1.sequence
class RevDetails:
    certDetails: CertTemplate
    crlEntryDetails: list[TLV] | None


# RevRepContent ::= SEQUENCE {
#     status        SEQUENCE SIZE (1..MAX) OF PKIStatusInfo,
#     revCerts  [0] SEQUENCE SIZE (1..MAX) OF CertId OPTIONAL,
#     crls      [1] SEQUENCE SIZE (1..MAX) OF CertificateList OPTIONAL }
@asn1.sequence
class RevRepContent:
    status: list[PKIStatusInfo]
    revCerts: Annotated[list[CertId] | None, Explicit(0)]
    crls: Annotated[list[TLV] | None, Explicit(1)]


# --- RFC 8018 -----------------------------------------------------------------------------------


# PBMAC1-params ::= SEQUENCE {                                               -- RFC 8018 A.5
#     keyDerivationFunc  AlgorithmIdentifier,
#     messageAuthScheme  AlgorithmIdentifier }
@asn1.sequence
class PBMAC1Params:
    keyDerivationFunc: AlgorithmIdentifier
    messageAuthScheme: AlgorithmIdentifier
