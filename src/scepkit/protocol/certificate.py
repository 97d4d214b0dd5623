"""Certificates: read leniently, by name, number and key, and shown to people.

Devices sign with certificates that they made up themselves: version 1, serial numbers of 33 octets
or negative, no extensions, validity in the past (checklist P-21, P-22).
This reader takes from a certificate only what addressing and verifying a message needs, and takes
it byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import FailInfoError, Malformed
from scepkit.protocol import extensions, general_name, public_keys, signatures
from scepkit.protocol.algorithms import Legacy, PublicKey, read_algorithm
from scepkit.protocol.asn1 import ber, rewriting
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    OPTIONAL,
    REST,
    SKIP,
    WHOLE,
    Grammar,
)
from scepkit.protocol.asn1.pattern import Pattern
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import Extensions
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.value import once, value

_VERSION, _EXTENSIONS = 0xA0, 0xA3
# Version; serial number, signature, issuer, validity, subject, key; then what is optional.
_SIGNED: Pattern = (
    *(_VERSION | OPTIONAL | ENTER, _der.INTEGER | CONTENT, END),
    *(_der.INTEGER | WHOLE | CONTENT, _der.SEQUENCE | SKIP),
    *(*[_der.SEQUENCE] * 4, _EXTENSIONS | WHOLE | CONTENT | OPTIONAL, REST, END),
)
_CERTIFICATE = Grammar(
    "certificate",
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE | WHOLE | ENTER, *_SIGNED),
    *(ANY, _der.BIT_STRING | CONTENT, END),
)
# The same in two steps.
_OUTSIDE = Grammar(
    "certificate",
    *(_der.SEQUENCE | ENTER, _der.SEQUENCE, ANY, _der.BIT_STRING | CONTENT, END),
)
_INSIDE = Grammar(
    "certificate: a part is of another type, or missing", _der.SEQUENCE | ENTER, *_SIGNED
)
_VALIDITY = Grammar("validity", _der.SEQUENCE | ENTER, *[ANY | WHOLE | CONTENT] * 2, END)
_PEM_WIDTH = 64


@value(keeps=True)
class Certificate:
    """A certificate as it came.

    Attributes:
        der: the certificate.
        issuer: its issuer Name, DER as received.
        serial_number: its serialNumber INTEGER, DER as received.
        subject: its subject Name, DER as received.
        spki: its SubjectPublicKeyInfo, DER as received.
    """

    der: bytes
    issuer: bytes
    serial_number: bytes
    subject: bytes
    spki: bytes
    # Contents, but for the validity, and for what is signed and how.
    _version: bytes
    _serial: bytes
    _validity: bytes
    _extensions: bytes
    _signed: bytes
    _algorithm: bytes
    _signature: bytes

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Read a DER (or BER) certificate: cut it into its parts, which keep their octets.

        Raises:
            Malformed: it is not a certificate.
        """
        fields = _CERTIFICATE.strictly(der) or _one_by_one(der)
        signed, version, serial, number, issuer, validity, subject, spki = fields[:8]
        held, extensions, more, algorithm, signature = fields[8:]
        if more:
            # Such as issuerUniqueID, which nobody has made for decades.
            others = [content for tag, content in ber.tags_and_contents(more) if tag == _EXTENSIONS]
            extensions = extensions if held or not others else others[0]
        return cls(
            der,
            issuer,
            serial,
            subject,
            spki,
            version,
            number,
            validity,
            extensions,
            signed,
            algorithm,
            signature[1:],
        )

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        """Return the library's certificate as one of ours."""
        return cls.read(certificate.public_bytes(Encoding.DER))

    @property
    def version(self) -> int:
        """Return its version, 1 to 3."""
        return int.from_bytes(self._version, "big", signed=True) + 1

    @property
    def serial(self) -> int:
        """Return its serial number; devices and old CAs have negative ones, and 0."""
        return int.from_bytes(self._serial, "big", signed=True)

    @once
    def public_key(self) -> PublicKey:
        """Return the subject's key, bounded and loaded.

        Raises:
            Malformed, BadRequest, BadAlg: see `scepkit.protocol.public_keys.load`.
        """
        return public_keys.load(self.spki)

    @property
    def canonical_spki(self) -> bytes:
        """Return the SubjectPublicKeyInfo, DER, in the one form that each key has."""
        return public_keys.canonical(self.spki)

    @once
    def key_hash(self) -> bytes:
        """Return the identity of its key, 32 octets: SHA-256 of `canonical_spki`."""
        return public_keys.identity(self.spki)

    @once
    def extensions(self) -> Extensions:
        """Return its extensions, undecoded.

        Raises:
            Malformed: they cannot be told apart.
        """
        if not self._extensions:
            return extensions.NO_EXTENSIONS
        return Extensions.read_sequence(self._extensions)

    @once
    def is_ca(self) -> bool:
        """Say whether it is a CA's (RFC 5280 section 4.2.1.9)."""
        try:
            basic = self.extensions.basic_constraints
        except Malformed:
            return False
        if basic is None:
            # Version 1 roots have no extensions at all.
            return self.version == 1 and self.issuer == self.subject
        return basic[0]

    @property
    def alternative_names(self) -> tuple[GeneralName, ...]:
        """Return the names in its subjectAltName.

        Raises:
            Malformed: they cannot be read.
        """
        return self.extensions.subject_alternative_names

    @property
    def asserts_key_agreement(self) -> bool:
        """Say whether its keyUsage asserts keyAgreement: then answers may be encrypted that way."""
        try:
            usage = self.extensions.key_usage
        except Malformed:
            return False
        return usage is not None and "key_agreement" in usage

    @once
    def subject_key_identifier(self) -> bytes | None:
        """Return the value of that extension, if there is one that can be read."""
        try:
            value = self.extensions.find(extensions.SUBJECT_KEY_IDENTIFIER)
            if value is None:
                return None
            return ber.content(value, _der.OCTET_STRING, "subjectKeyIdentifier")
        except Malformed:
            return None

    @once
    def subject_name(self) -> Name:
        """Return its subject."""
        return Name(self.subject)

    @once
    def issuer_name(self) -> Name:
        """Return its issuer."""
        return Name(self.issuer)

    @once
    def validity(self) -> tuple[datetime, datetime]:
        """Return from when and until when it is valid, aware (RFC 5280 section 4.1.2.5).

        Raises:
            Malformed: they are no times.
        """
        first, start, last, end = _VALIDITY.fields(self._validity)
        not_before, not_after = ber.time(first[0], start), ber.time(last[0], end)
        if not_before is None or not_after is None:
            raise Malformed("not the validity of a certificate")
        return not_before, not_after

    @property
    def not_before(self) -> datetime:
        """Return from when it is valid, aware; raises as `validity` does."""
        return self.validity[0]

    @property
    def not_after(self) -> datetime:
        """Return the end of its validity, aware; raises as `validity` does."""
        return self.validity[1]

    def __repr__(self) -> str:
        """Return a line for a debugger: subject and serial number."""
        return f"<Certificate {self.subject_name} serial={show_serial(self.serial)}>"

    def pem(self) -> str:
        """Return it as PEM (RFC 7468 section 5), octet for octet what came."""
        return pem(self.der)

    def x509(self) -> x509.Certificate:
        """Return the certificate as the library's strict type.

        Raises:
            Malformed: the library refuses it.
        """
        return _x509.certificate(self.der)

    def is_self_signed(self, allowed: frozenset[Legacy]) -> bool:
        """Say whether issuer and subject are the same and its own key made its signature."""
        return self.issuer == self.subject and self.is_signed_with(self.spki, allowed)

    def is_signed_with(self, spki: bytes, allowed: frozenset[Legacy]) -> bool:
        """Say whether a key made its signature; names are not looked at.

        Args:
            spki: the key's SubjectPublicKeyInfo, DER.
            allowed: the legacy algorithms that are allowed.
        """
        try:
            key = public_keys.load_any(spki)
            scheme = signatures.read(read_algorithm(self._algorithm), key, allowed)
        except (FailInfoError, Malformed):
            return False
        if scheme.verify(key, self._signature, self._signed):
            return True
        # What is signed is DER, whatever BER it was sent in.
        try:
            der = rewriting.to_der(self._signed)
        except Malformed:
            return False
        return der != self._signed and scheme.verify(key, self._signature, der)


def _one_by_one(der: bytes) -> list[Any]:
    """Cut a certificate, and then what is signed in it: one of them is unusual, or is none."""
    signed, algorithm, signature = _OUTSIDE.fields(der)
    return [signed, *_INSIDE.fields(signed), algorithm, signature]


def readable(certificates: Iterable[bytes]) -> Iterator[Certificate]:
    """Return those of some certificates that can be read, in their order, each when asked for.

    They come from no generator: to end one before its time takes an exception, and whoever looks
    for a signer's certificate mostly finds it first.
    """
    return filter(None, map(_if_readable, certificates))


def _if_readable(der: bytes) -> Certificate | None:
    try:
        return Certificate.read(der)
    except Malformed:
        # Another one may still be the signer's.
        return None


def dated(certificates: Iterable[bytes]) -> Iterator[Certificate]:
    """Yield those of some certificates of which it can be read when they are valid, too."""
    for certificate in readable(certificates):
        try:
            _ = certificate.validity
        except Malformed:
            # It could be valid at no time, and is of no use to anybody.
            continue
        yield certificate


def pem(der: bytes, label: str = "CERTIFICATE") -> str:
    """Return a certificate as PEM, whether it can be read or not; or what the label says."""
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + _PEM_WIDTH] for at in range(0, len(text), _PEM_WIDTH)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def fingerprint(der: bytes) -> str:
    """Return `sha256:` and the lower-case hex SHA-256 of a whole certificate (RFC 8894 2.2)."""
    return "sha256:" + hashlib.sha256(der).hexdigest()


def show_serial(serial: int) -> str:
    """Return a serial number as text, the same in every command, log line and answer of ours.

    Each octet has two hexadecimal digits, as OpenSSL and browsers show them, so that the text of
    one program is found in the output of another.

    Args:
        serial: what a certificate has (RFC 5280 section 4.1.2.2); devices make negative ones too.
    """
    octets = abs(serial).to_bytes((serial.bit_length() + 7) // 8 or 1)
    return f"-{octets.hex()}" if serial < 0 else octets.hex()


def read_serial(text: str) -> int:
    """Read a serial number: hexadecimal digits, with or without colons, as programs show it.

    Raises:
        ValueError: it is none.
    """
    return int(text.replace(":", "").strip(), 16)


def listed_names(der: bytes) -> str:
    """Return a certificate's alternative names to search in (`general_name.listed`)."""
    if extensions.SUBJECT_ALTERNATIVE_NAME not in der:
        return ""  # nor has it to be read
    try:
        return general_name.listed(Certificate.read(der).alternative_names)
    except Malformed:
        return ""


def subject_digest(der: bytes) -> bytes | None:
    """Return what a certificate's subject has in common with equal ones; None for no subject."""
    try:
        return Certificate.read(der).subject_name.digest
    except Malformed:
        return None
