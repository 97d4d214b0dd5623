"""Certificate revocation lists (RFC 5280 section 5).

A list may have a million entries, so it is written here octet by octet, entry after entry: with the
library's builder each of them is an object, and a million take 400 MiB and twice the time.
"""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import SignatureAlgorithmOID as Algorithm

from scepkit.ca import checks
from scepkit.ca.extensions import authority_key_identifier
from scepkit.keys.pem import signature_hash
from scepkit.protocol.asn1 import der

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from scepkit.ca.authority import Authority
    from scepkit.keys.pem import PrivateKey

# RFC 5280 sections 4.1.2.2 and 5.2.3: at most 20 octets.
_NUMBERS = 2**159

# Entries that are joined at a time: some 50 KiB.
_PIECE = 1000

# RFC 5280 section 5.3.1. Not here: unspecified (0), which SHOULD be left out, and
# removeFromCRL (8), which only a delta CRL may have.
_REASONS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}

_ECDSA = {
    "sha256": Algorithm.ECDSA_WITH_SHA256,
    "sha384": Algorithm.ECDSA_WITH_SHA384,
    "sha512": Algorithm.ECDSA_WITH_SHA512,
}


class CRLEntry(NamedTuple):
    """A certificate in a CRL.

    Attributes:
        serial: its number, 1 to 2**159 - 1.
        revoked_at: since when, aware.
        reason: a CRLReason; one that a complete CRL cannot state is left out: better than no CRL.
        invalidity_date: since when it is thought to be in wrong hands, aware, if that is known
            (RFC 5280 section 5.3.2).
    """

    serial: int
    revoked_at: datetime
    reason: int = 0
    invalidity_date: datetime | None = None


def sign_crl(
    authority: Authority,
    revoked: Iterable[CRLEntry],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """Sign the complete CRL of a CA: version 2, with authorityKeyIdentifier and cRLNumber.

    The entries may come one by one from a database: only their octets are kept, twice. A million
    make 45 MB and take a few seconds (`make bench-crl`).

    Args:
        authority: whose certificates they are.
        revoked: the entries, in the order that they are to have.
        number: of the CRL, 0 to 2**159 - 1; higher than that of every one before.
        this_update: the time, aware.
        next_update: until when there will be a newer one, aware; later than `this_update`.

    Returns:
        the CertificateList in DER.

    Raises:
        SettingsError: the CA's certificate does not have the keyUsage cRLSign.
        ValueError: a number or a time that cannot be in a CRL.
    """
    if not 0 <= number < _NUMBERS:
        raise ValueError(f"a CRL cannot have the number {number}")
    if next_update <= this_update:
        raise ValueError("a CRL cannot end before it begins")
    certificate = authority.certificate
    checks.check_key_usage(
        certificate, "crl_sign", hint="nobody would accept its CRL (RFC 5280 section 4.2.1.3)"
    )
    algorithm = _algorithm(authority.private_key)
    to_be_signed = _sequence(
        der.INTEGER_1,  # version 2
        algorithm,
        certificate.subject.public_bytes(),
        der.time(this_update),
        der.time(next_update),
        *_sequence_of(_entries(revoked)),
        der.tagged(0, _extensions((authority_key_identifier(certificate), x509.CRLNumber(number)))),
    )
    signature = der.bit_string(_signature(authority.private_key, to_be_signed))
    return b"".join(_sequence(*to_be_signed, algorithm, signature))


def _sequence(*parts: bytes) -> list[bytes]:
    """Return a SEQUENCE in parts that are not joined, as that would copy them."""
    size = sum(map(len, parts))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    # X.690 section 8.1.3: sizes below 128 are their own octet.
    length = bytes([size]) if size < 0x80 else bytes([0x80 | len(octets)]) + octets  # noqa: PLR2004
    return [bytes([der.SEQUENCE]), length, *parts]


def _sequence_of(elements: Iterable[bytes]) -> list[bytes]:
    """Return a SEQUENCE in parts; nothing when it is empty (RFC 5280 section 5.1.2.6)."""
    parts = list(_pieces(elements))
    return _sequence(*parts) if parts else []


def _pieces(elements: Iterable[bytes]) -> Iterator[bytes]:
    """Join small elements by the thousand: each by itself takes twice as much memory."""
    rest = iter(elements)
    while piece := b"".join(islice(rest, _PIECE)):
        yield piece


def _entries(revoked: Iterable[CRLEntry]) -> Iterator[bytes]:
    """Yield the entries of revokedCertificates (RFC 5280 section 5.3)."""
    for serial, revoked_at, reason, invalidity_date in revoked:
        if not 0 < serial < _NUMBERS:
            raise ValueError(f"a certificate cannot have the serial number {serial}")
        size = serial.bit_length() // 8 + 1
        number = b"\x02%c%b" % (size, serial.to_bytes(size, "big"))
        stated = _stated(reason) if invalidity_date is None else _stated(reason, invalidity_date)
        yield der.element(der.SEQUENCE, number, der.time(revoked_at), stated)


@lru_cache(maxsize=1024)
def _stated(reason: int, invalidity_date: datetime | None = None) -> bytes:
    """Return crlEntryExtensions; nothing when there is nothing to say."""
    extensions: list[x509.ExtensionType] = []
    if reason in _REASONS:
        extensions.append(x509.CRLReason(_REASONS[reason]))
    if invalidity_date is not None:
        date = invalidity_date.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        extensions.append(x509.InvalidityDate(date))
    return _extensions(extensions) if extensions else b""


def _extensions(values: Sequence[x509.ExtensionType]) -> bytes:
    """Return Extensions, none of them critical."""
    return der.sequence(
        *(der.sequence(der.oid(one.oid), der.octet_string(one.public_bytes())) for one in values)
    )


def _algorithm(key: PrivateKey) -> bytes:
    """Return the AlgorithmIdentifier of what `_signature` signs with."""
    if isinstance(key, rsa.RSAPrivateKey):
        return der.algorithm(Algorithm.RSA_WITH_SHA256)
    return der.algorithm(_ECDSA[signature_hash(key).name], b"")


def _signature(key: PrivateKey, parts: Iterable[bytes]) -> bytes:
    digest = signature_hash(key)
    context = hashes.Hash(digest)
    for part in parts:
        context.update(part)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(context.finalize(), padding.PKCS1v15(), Prehashed(digest))
    return key.sign(context.finalize(), ec.ECDSA(Prehashed(digest)))
