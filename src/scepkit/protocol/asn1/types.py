"""ASN.1 types, for what is rare, or written: declarations only.

What every message has is cut instead, by grammars that stand beside its readers; see `grammar`.

- Names, serial numbers and keys are `TLV` (any element): they are compared and repeated
  byte for byte, never interpreted, so a certificate that no RFC 5280 parser would take still works.
- `AlgorithmIdentifier.parameters` are `TLV` for the same reason.

Grammar: RFC 5652, RFC 5280, RFC 8017, RFC 8894 (with erratum 6372: IssuerAndSubject is a type).
"""

from __future__ import annotations

from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, Explicit, Implicit, Null
from cryptography.x509 import ObjectIdentifier

# --- RFC 5280 -----------------------------------------------------------------------------------


# AlgorithmIdentifier ::= SEQUENCE {
#     algorithm   OBJECT IDENTIFIER,
#     parameters  ANY DEFINED BY algorithm OPTIONAL }
@asn1.sequence
class AlgorithmIdentifier:
    algorithm: ObjectIdentifier
    parameters: Null | TLV | None


# SubjectPublicKeyInfo ::= SEQUENCE {
#     algorithm         AlgorithmIdentifier,
#     subjectPublicKey  BIT STRING }
@asn1.sequence
class SubjectPublicKeyInfo:
    algorithm: AlgorithmIdentifier
    subjectPublicKey: asn1.BitString


# RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }     -- RFC 8017 A.1.1
@asn1.sequence
class RSAPublicKey:
    modulus: int
    publicExponent: int


# Extension ::= SEQUENCE {
#     extnID     OBJECT IDENTIFIER,
#     critical   BOOLEAN DEFAULT FALSE,
#     extnValue  OCTET STRING }
#
# A default that is written out is no DER, but some devices do it: hence OPTIONAL, here and for the
# version below.
@asn1.sequence
class Extension:
    extnID: ObjectIdentifier
    critical: bool | None
    extnValue: bytes


# --- RFC 5652: CMS ------------------------------------------------------------------------------


# IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber CertificateSerialNumber }
@asn1.sequence
class IssuerAndSerialNumber:
    issuer: TLV
    serialNumber: TLV


# OriginatorPublicKey ::= SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }
@asn1.sequence
class OriginatorPublicKey:
    algorithm: AlgorithmIdentifier
    publicKey: asn1.BitString


# OtherKeyAttribute ::= SEQUENCE {
#     keyAttrId OBJECT IDENTIFIER,
#     keyAttr ANY DEFINED BY keyAttrId OPTIONAL }
@asn1.sequence
class OtherKeyAttribute:
    keyAttrId: ObjectIdentifier
    keyAttr: Null | TLV | None


# RecipientKeyIdentifier ::= SEQUENCE {
#     subjectKeyIdentifier SubjectKeyIdentifier,
#     date GeneralizedTime OPTIONAL,
#     other OtherKeyAttribute OPTIONAL }
@asn1.sequence
class RecipientKeyIdentifier:
    subjectKeyIdentifier: bytes
    date: asn1.GeneralizedTime | None
    other: OtherKeyAttribute | None


# RecipientEncryptedKey ::= SEQUENCE {
#     rid KeyAgreeRecipientIdentifier, -- issuerAndSerialNumber, or [0] RecipientKeyIdentifier
#     encryptedKey EncryptedKey }
@asn1.sequence
class RecipientEncryptedKey:
    rid: IssuerAndSerialNumber | Annotated[RecipientKeyIdentifier, Implicit(0)]
    encryptedKey: bytes


# KeyAgreeRecipientInfo ::= SEQUENCE {
#     version CMSVersion,
#     originator [0] EXPLICIT OriginatorIdentifierOrKey,   -- a CHOICE; [1] OriginatorPublicKey
#     ukm [1] EXPLICIT UserKeyingMaterial OPTIONAL,
#     keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
#     recipientEncryptedKeys RecipientEncryptedKeys }
@asn1.sequence
class KeyAgreeRecipientInfo:
    version: int
    originator: Annotated[TLV, Explicit(0)]
    ukm: Annotated[bytes | None, Explicit(1)]
    keyEncryptionAlgorithm: AlgorithmIdentifier
    recipientEncryptedKeys: list[RecipientEncryptedKey]


# PasswordRecipientInfo ::= SEQUENCE {
#     version CMSVersion,
#     keyDerivationAlgorithm [0] KeyDerivationAlgorithmIdentifier OPTIONAL,
#     keyEncryptionAlgorithm KeyEncryptionAlgorithmIdentifier,
#     encryptedKey EncryptedKey }
@asn1.sequence
class PasswordRecipientInfo:
    version: int
    keyDerivationAlgorithm: Annotated[AlgorithmIdentifier | None, Implicit(0)]
    keyEncryptionAlgorithm: AlgorithmIdentifier
    encryptedKey: bytes


# RSAES-OAEP-params ::= SEQUENCE {                                          -- RFC 8017 A.2.1
#     hashAlgorithm    [0] EXPLICIT HashAlgorithm    DEFAULT sha1,
#     maskGenAlgorithm [1] EXPLICIT MaskGenAlgorithm DEFAULT mgf1SHA1,
#     pSourceAlgorithm [2] EXPLICIT PSourceAlgorithm DEFAULT pSpecifiedEmpty }
@asn1.sequence
class RSAESOAEPParams:
    hashAlgorithm: Annotated[AlgorithmIdentifier | None, Explicit(0)]
    maskGenAlgorithm: Annotated[AlgorithmIdentifier | None, Explicit(1)]
    pSourceAlgorithm: Annotated[AlgorithmIdentifier | None, Explicit(2)]


# RSASSA-PSS-params ::= SEQUENCE {                                           -- RFC 8017 A.2.3
#     hashAlgorithm    [0] EXPLICIT HashAlgorithm    DEFAULT sha1,
#     maskGenAlgorithm [1] EXPLICIT MaskGenAlgorithm DEFAULT mgf1SHA1,
#     saltLength       [2] EXPLICIT INTEGER          DEFAULT 20,
#     trailerField     [3] EXPLICIT TrailerField     DEFAULT trailerFieldBC }
@asn1.sequence
class RSASSAPSSParams:
    hashAlgorithm: Annotated[AlgorithmIdentifier | None, Explicit(0)]
    maskGenAlgorithm: Annotated[AlgorithmIdentifier | None, Explicit(1)]
    saltLength: Annotated[int | None, Explicit(2)]
    trailerField: Annotated[int | None, Explicit(3)]


# PBKDF2-params ::= SEQUENCE {                                               -- RFC 8018 A.2
#     salt            CHOICE { specified OCTET STRING, otherSource AlgorithmIdentifier },
#     iterationCount  INTEGER (1..MAX),
#     keyLength       INTEGER (1..MAX) OPTIONAL,
#     prf             AlgorithmIdentifier DEFAULT algid-hmacWithSHA1 }
#
# No algorithm for another source of salt was ever defined.
@asn1.sequence
class PBKDF2Params:
    salt: bytes
    iterationCount: int
    keyLength: int | None
    prf: AlgorithmIdentifier | None


# --- RFC 8894 -----------------------------------------------------------------------------------


# IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name }               -- section 3.3.3
@asn1.sequence
class IssuerAndSubject:
    issuer: TLV
    subject: TLV
