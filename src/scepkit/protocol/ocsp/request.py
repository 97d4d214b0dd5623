"""Reading an OCSP request (RFC 6960 section 4.1).

As in the readers of CMS, a request is cut, and what is looked up or repeated stays as it came.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import OCSPExtensionOID

from scepkit.errors import Malformed
from scepkit.protocol.algorithms import SHA1, SHA224, SHA256, SHA384, SHA512, Digest
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    OPTIONAL,
    REST,
    WHOLE,
    Grammar,
)
from scepkit.protocol.asn1.types import Extension

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


_WHAT = "OCSP request"
# CertID ::= SEQUENCE {
#     hashAlgorithm   AlgorithmIdentifier,
#     issuerNameHash  OCTET STRING,               -- of the issuer's Name
#     issuerKeyHash   OCTET STRING,               -- of the issuer's key, the BIT STRING's content
#     serialNumber    CertificateSerialNumber }
_CERT_ID = (
    *(_der.SEQUENCE | WHOLE | ENTER, _der.SEQUENCE | ENTER, _der.OID, ANY | OPTIONAL, END),
    *(_der.OCTET_STRING, _der.OCTET_STRING, _der.INTEGER | CONTENT, END),
)
_CERT_ID_ALONE = Grammar("CertID", *_CERT_ID)
# Request ::= SEQUENCE {
#     reqCert                      CertID,
#     singleRequestExtensions  [0] EXPLICIT Extensions OPTIONAL }
_SINGLE_EXTENSIONS = 0xA0
_FIELDS = (*_CERT_ID, _SINGLE_EXTENSIONS | OPTIONAL, END)
_SINGLE_REQUEST = Grammar(_WHAT, _der.SEQUENCE | ENTER, *_FIELDS)
# OCSPRequest ::= SEQUENCE {
#     tbsRequest             TBSRequest,
#     optionalSignature  [0] EXPLICIT Signature OPTIONAL }
#
# TBSRequest ::= SEQUENCE {
#     version            [0] EXPLICIT Version DEFAULT v1,
#     requestorName      [1] EXPLICIT GeneralName OPTIONAL,
#     requestList            SEQUENCE OF Request,
#     requestExtensions  [2] EXPLICIT Extensions OPTIONAL }
#
# Most ask about one certificate: the first is cut together with the rest of the message.
_VERSION, _NAME, _EXTENSIONS, _SIGNATURE = 0xA0, 0xA1, 0xA2, 0xA0
_REQUEST = Grammar(
    _WHAT,
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE | ENTER, _VERSION | OPTIONAL, _NAME | OPTIONAL),
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE | ENTER | OPTIONAL, *_FIELDS, REST, END),
    *(_EXTENSIONS | OPTIONAL, END, _SIGNATURE | OPTIONAL, END),
)
_NONCE = Grammar("nonce", _der.OCTET_STRING | WHOLE | CONTENT)
# RFC 5754: NULL or nothing. Anything else would be repeated, signed, in the response.
_NO_PARAMETERS = (_der.NULL, b"")


class CertID(NamedTuple):
    """The identity of a certificate in a request.

    Attributes:
        der: the CertID, to be repeated in the response.
        issuer: what names the issuer in it; see `issuer_id`.
        serial: the certificate's serial number; whatever a client thinks one can be.
    """

    der: bytes
    issuer: bytes
    serial: int

    @property
    def hash(self) -> ObjectIdentifier:
        """Return what the next two are made with; one of `HASHES`, or unknown to us."""
        return ber.oid(ber.split(self.issuer)[0])

    @property
    def issuer_name_hash(self) -> bytes:
        """Return the hash of the issuer's Name."""
        return ber.tags_and_contents(self.issuer)[1][1]

    @property
    def issuer_key_hash(self) -> bytes:
        """Return the hash of the content of the BIT STRING in the issuer's key."""
        return ber.tags_and_contents(self.issuer)[2][1]


class Request(NamedTuple):
    """A client's OCSP request.

    Attributes:
        certificates: 1 to `MAX_CERTIFICATES` of them.
        nonce: the nonce extension's value as it came, DER; None without one.
    """

    certificates: list[CertID]
    nonce: bytes | None

    @property
    def shortest(self) -> bytes | None:
        """Return the shortest request with the same answer, DER.

        None where that answer is for this request alone: it has a nonce, or asks about several.
        """
        if self.nonce is not None or len(self.certificates) > 1:
            return None
        return question(self.certificates[0].der)


def issuer_id(digest: Digest, name: bytes, key: bytes) -> bytes:
    """Return the octets that name an issuer in a CertID, whatever the parameters of the hash.

    Args:
        digest: one of `HASHES`.
        name: its Name, DER.
        key: the content of the BIT STRING in its SubjectPublicKeyInfo.
    """
    hashes = _der.octet_string(digest.of(name)) + _der.octet_string(digest.of(key))
    return _der.oid(digest.oid) + hashes


def read_request(der: bytes) -> Request:
    """Read an OCSPRequest. Its signature is not checked: everybody may ask.

    Raises:
        Malformed: it is none, has another version, asks for no certificate or for too many, has a
            nonce of a length that RFC 9654 forbids, or a critical extension that is unknown.
    """
    if len(der) > MAX_REQUEST:
        raise Malformed(f"an OCSP request of more than {MAX_REQUEST} octets")
    version, name, *first, rest, extensions, signature = _REQUEST.fields(der)
    if version and _explicit(version, _VERSION) != _der.INTEGER_0:
        raise Malformed("an OCSP request of another version than 1")
    if name:
        _explicit(name, _NAME)
    if signature:
        _explicit(signature, _SIGNATURE)
    more = ber.split(rest) if rest else []
    count = bool(first[0]) + len(more)
    if not 1 <= count <= MAX_CERTIFICATES:
        raise Malformed(f"an OCSP request for {count} certificates, not 1 to {MAX_CERTIFICATES}")
    asked = [first, *map(_SINGLE_REQUEST.fields, more)]
    return Request([_asked(*one) for one in asked], _nonce(extensions) if extensions else None)


def _explicit(tagged: bytes, tag: int, inside: int = ANY) -> bytes:
    """Return the one element inside an EXPLICIT tag."""
    return _tagged(tag, inside).fields(tagged)[0]  # type: ignore[no-any-return]


@cache
def _tagged(tag: int, inside: int) -> Grammar:
    return Grammar(_WHAT, tag | ENTER, inside, END)


def _asked(
    der: bytes,
    algorithm: bytes,
    parameters: bytes,
    name: bytes,
    key: bytes,
    number: bytes,
    extensions: bytes,
) -> CertID:
    if parameters not in _NO_PARAMETERS:
        raise Malformed("the hash of a CertID has parameters")
    if extensions:
        _extensions(extensions, _SINGLE_EXTENSIONS)
    return _cert_id(der, algorithm, name, key, number)


def _extensions(tagged: bytes, tag: int) -> list[Extension]:
    """Read Extensions, and refuse critical ones that are unknown."""
    row = _explicit(tagged, tag, _der.SEQUENCE | CONTENT)
    found = [ber.decode(Extension, one, _WHAT) for one in ber.split(row)]
    for extension in found:
        if extension.critical and extension.extnID not in _KNOWN:
            raise Malformed(
                f"the critical extension {extension.extnID.dotted_string} is not known here"
            )
    return found


def question(cert_id: bytes) -> bytes:
    """Return the request about one certificate, DER; it asks for no nonce."""
    return _der.sequence(_der.sequence(_der.sequence(_der.sequence(cert_id))))


def read_cert_id(der: bytes) -> CertID:
    """Read a CertID.

    Raises:
        Malformed: it is none.
    """
    cert_id, algorithm, _, name, key, number = _CERT_ID_ALONE.fields(der)
    return _cert_id(cert_id, algorithm, name, key, number)


def _cert_id(der: bytes, algorithm: bytes, name: bytes, key: bytes, number: bytes) -> CertID:
    ber.oid(algorithm)  # is refused unless it is one
    return CertID(der, algorithm + name + key, ber.integer(number, "CertID"))


def _nonce(tagged: bytes) -> bytes | None:
    extensions = _extensions(tagged, _EXTENSIONS)
    found = [one.extnValue for one in extensions if one.extnID == OCSPExtensionOID.NONCE]
    if not found:
        return None
    if len(found) > 1:
        raise Malformed("an OCSP request with two nonces")
    der, nonce = _NONCE.fields(found[0])
    if not 1 <= len(nonce) <= MAX_NONCE:
        raise Malformed(f"an OCSP nonce of {len(nonce)} octets, not 1 to {MAX_NONCE}")
    return der  # type: ignore[no-any-return]
