"""Writing an OCSP response (RFC 6960 section 4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import OCSPExtensionOID

from scepkit.protocol import signatures
from scepkit.protocol.algorithms import (
    SHA256,
    SHA384,
    SHA512,
    Digest,
    PrivateKey,
)
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.crl import Plain, Reason, Status

RESPONSE_TYPE = "application/ocsp-response"

_BASIC = der.oid(ObjectIdentifier("1.3.6.1.5.5.7.48.1.1"))
_NONCE = der.oid(OCSPExtensionOID.NONCE)
_ENUMERATED = 0x0A
_SUCCESSFUL = der.element(_ENUMERATED, b"\x00")
# RFC 5280 section 5.3.1: unspecified is better left out.
_REASONS = frozenset(Reason) - {Reason.unspecified}


class ErrorStatus(IntEnum):
    """RFC 6960 section 2.3: why there is no answer; unsigned."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


_PLAIN = {
    Plain.GOOD: der.tagged(0, primitive=True),
    Plain.UNKNOWN: der.tagged(2, primitive=True),
}


class SingleResponse(NamedTuple):
    """The answer for one certificate.

    Attributes:
        cert_id: the CertID as it was asked for, DER.
        status: how it stands.
    """

    cert_id: bytes
    status: Status


@dataclass(frozen=True)
class Signer:
    """A key that signs responses, with its certificate.

    Attributes:
        key: RSA or EC.
        certificate: to be sent along, so that clients can verify; None where they have it, being
            the CA's own.
    """

    key: PrivateKey = field(repr=False)
    certificate: Certificate | None

    @cached_property
    def digest(self) -> Digest:
        """Return the digest to sign with, as strong as the key (RFC 5758)."""
        return signatures.signing_digest(self.key, _digest_of(self.key))

    @cached_property
    def algorithm(self) -> bytes:
        """Return the AlgorithmIdentifier of its signatures, DER."""
        return signatures.signature_algorithm(self.key, self.digest)

    @cached_property
    def responder_id(self) -> bytes:
        """Return the ResponderID, byKey: SHA-1 names the key here, it protects nothing."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        info = ber.decode(types.SubjectPublicKeyInfo, spki, "SubjectPublicKeyInfo")
        key_hash = hashlib.sha1(info.subjectPublicKey.as_bytes(), usedforsecurity=False).digest()
        return der.tagged(2, der.octet_string(key_hash))

    @cached_property
    def certificates(self) -> bytes:
        """Return the responder's certificate for a response, DER; b"" where clients have it."""
        if self.certificate is None:
            return b""
        return der.tagged(0, der.sequence(self.certificate.der))


def sign(
    responses: Sequence[SingleResponse],
    signer: Signer,
    *,
    produced_at: datetime,
    next_update: datetime,
    nonce: bytes | None = None,
) -> bytes:
    """Sign a response (RFC 6960 section 4.2.1).

    Args:
        responses: one for each certificate that was asked for, in the same order.
        signer: whose key.
        produced_at: the time, aware; thisUpdate too, as the status is that of this moment.
        next_update: until when the response may be relied upon, aware.
        nonce: the value of the request's nonce extension, DER, to be repeated.

    Returns:
        the OCSPResponse, DER.
    """
    this = der.generalized_time(produced_at)
    until = der.tagged(0, der.generalized_time(next_update))
    data = der.sequence(
        signer.responder_id,
        this,
        der.sequence(
            *[der.sequence(one.cert_id, _status(one.status), this, until) for one in responses]
        ),
        b"" if nonce is None else der.tagged(1, der.sequence(_nonce(nonce))),
    )
    basic = der.sequence(
        data,
        signer.algorithm,
        der.bit_string(signatures.sign(signer.key, data, signer.digest)),
        signer.certificates,
    )
    return der.sequence(_SUCCESSFUL, der.tagged(0, der.sequence(_BASIC, der.octet_string(basic))))


def error(status: ErrorStatus) -> bytes:
    """Return the response that says that there is none (RFC 6960 section 4.2.1), DER."""
    return der.sequence(der.element(_ENUMERATED, bytes([status])))


def _digest_of(key: PrivateKey) -> Digest:
    bits = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    return {384: SHA384, 521: SHA512}.get(bits, SHA256)


def _status(status: Status) -> bytes:
    if isinstance(status, Plain):
        return _PLAIN[status]
    since = der.generalized_time(status.at)
    if status.reason not in _REASONS:
        return der.tagged(1, since)
    reason = der.element(_ENUMERATED, bytes([status.reason]))
    return der.tagged(1, since, der.tagged(0, reason))


def _nonce(value: bytes) -> bytes:
    return der.sequence(_NONCE, der.octet_string(value))
