"""Certificates as CMS needs them: by name, number and key, read leniently.

Devices sign with certificates that they made up themselves: version 1, serial numbers of 33 octets
or negative, no extensions, validity in the past (checklist P-21, P-22).
This reader takes from a certificate only what addressing and verifying a message needs, and takes
it byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import FailInfoError, Malformed
from scepkit.protocol import _asn1, _codec, _der, _keys, _x509
from scepkit.protocol.algorithms import Legacy, PublicKey, signature_digest

_SUBJECT_KEY_IDENTIFIER = x509.ObjectIdentifier("2.5.29.14")


@dataclass(frozen=True)
class Certificate:
    """A certificate as it came.

    Attributes:
        der: the certificate.
        issuer: its issuer Name, DER as received.
        serial_number: its serialNumber INTEGER, DER as received.
        subject: its subject Name, DER as received.
        spki: its SubjectPublicKeyInfo, DER as received.
        extensions: its extensions, each DER as received.
    """

    der: bytes
    issuer: bytes
    serial_number: bytes
    subject: bytes
    spki: bytes
    extensions: tuple[bytes, ...]

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Read a DER (or BER) certificate.

        Raises:
            Malformed: it is not a certificate.
        """
        tbs = _codec.decode(_asn1.Certificate, der, "certificate").tbsCertificate
        return cls(
            der=der,
            issuer=_codec.encode(tbs.issuer),
            serial_number=_codec.encode(tbs.serialNumber),
            subject=_codec.encode(tbs.subject),
            spki=_codec.encode(tbs.subjectPublicKeyInfo),
            extensions=tuple(_codec.encode(extension) for extension in tbs.extensions or ()),
        )

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        """Return the library's certificate as one of ours."""
        return cls.read(certificate.public_bytes(Encoding.DER))

    @cached_property
    def public_key(self) -> PublicKey:
        """The subject's key, bounded and loaded.

        Raises:
            Malformed, BadRequest, BadAlg: see `scepkit.protocol._keys.load`.
        """
        return _keys.load(self.spki)

    @cached_property
    def issuer_and_serial_number(self) -> bytes:
        """The IssuerAndSerialNumber by which CMS names it, DER (RFC 5652 section 10.2.4)."""
        return _der.sequence(self.issuer, self.serial_number)

    @cached_property
    def key_hash(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo, 32 octets: the identity of a key."""
        return hashlib.sha256(self.spki).digest()

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        """The value of that extension, if there is one that can be read."""
        for der in self.extensions:
            try:
                extension = _codec.decode(_asn1.Extension, der, "extension")
                if extension.extnID == _SUBJECT_KEY_IDENTIFIER:
                    return _codec.decode(bytes, extension.extnValue, "subjectKeyIdentifier")
            except Malformed:
                continue
        return None

    @property
    def serial(self) -> int:
        """The serial number."""
        content = _codec.anything(self.serial_number).data
        return int.from_bytes(content, "big", signed=True)

    def x509(self) -> x509.Certificate:
        """Return the certificate as the library's strict type.

        Raises:
            Malformed: the library refuses it.
        """
        return _x509.certificate(self.der)

    def is_self_signed(self, allowed: frozenset[Legacy]) -> bool:
        """Say whether issuer and subject are the same and its own key made its signature."""
        if self.issuer != self.subject:
            return False
        certificate = _codec.decode(_asn1.Certificate, self.der, "certificate")
        try:
            digest = signature_digest(
                certificate.signatureAlgorithm.algorithm, self.public_key, None, allowed
            )
        except (FailInfoError, Malformed):
            return False
        signed = _codec.encode(certificate.tbsCertificate)
        return _keys.verify(self.public_key, certificate.signatureValue.as_bytes(), signed, digest)


def readable(certificates: Iterable[bytes]) -> Iterator[Certificate]:
    """Yield those of some certificates that can be read, in their order."""
    for der in certificates:
        try:
            yield Certificate.read(der)
        except Malformed:
            # Another one may still be the signer's.
            continue


def fingerprint(der: bytes) -> str:
    """Return `sha256:` and the lower-case hex SHA-256 of a whole certificate (RFC 8894 2.2)."""
    return "sha256:" + hashlib.sha256(der).hexdigest()
