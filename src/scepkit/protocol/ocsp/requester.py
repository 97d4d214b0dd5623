"""OCSP from a client's end: a request about one certificate, and its answer judged.

RFC 6960 sections 3.2, 4.1 and 4.2. The request has no nonce, as RFC 5019 has it, since responders
prepare their answers ahead; so an answer is believed for as long as it says itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID, OCSPExtensionOID

from scepkit.errors import BadReply, FailInfoError, Malformed
from scepkit.protocol import chain, signatures
from scepkit.protocol.algorithms import NO_LEGACY, SHA1, AlgorithmIdentifier, Legacy, read_algorithm
from scepkit.protocol.asn1 import ber, der, types
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.crl import SKEW, Plain, Revoked, Status
from scepkit.protocol.extensions import Extensions
from scepkit.protocol.ocsp.request import HASHES, question, read_cert_id
from scepkit.protocol.ocsp.response import ErrorStatus

MAX_RESPONSE = 64 * 1024
"""Octets. An answer about one certificate, with the responder's own, is below 8 KiB."""

# How old an answer may be that does not say until when it holds.
_UNDATED = timedelta(days=1)
_MAX_CERTIFICATES = 8
_BASIC = der.oid(ObjectIdentifier("1.3.6.1.5.5.7.48.1.1"))
_NONCE = der.oid(OCSPExtensionOID.NONCE)
_ENUMERATED = 0x0A
_GOOD, _REVOKED, _UNKNOWN = 0x80, 0xA1, 0x82
_TAGGED_0, _TAGGED_1 = 0xA0, 0xA1
_UNSPECIFIED = 0
_SUCCESSFUL = 0


@dataclass(frozen=True, slots=True)
class _Single:
    """A SingleResponse as it came."""

    cert_id: bytes
    status: bytes
    this_update: datetime
    next_update: datetime | None


@dataclass(frozen=True, slots=True)
class _Basic:
    """A BasicOCSPResponse as it came, not verified."""

    signed: bytes
    algorithm: AlgorithmIdentifier
    signature: bytes
    certificates: tuple[bytes, ...]
    singles: tuple[_Single, ...]

    def is_by(self, signer: Certificate, allowed: frozenset[Legacy]) -> bool:
        """Say whether a certificate's key made the signature."""
        try:
            key = signer.public_key
            scheme = signatures.read(self.algorithm, key, allowed)
        except (FailInfoError, Malformed):
            return False
        return scheme.verify(key, self.signature, self.signed)


def ask(certificate: Certificate, issuer: Certificate) -> bytes:
    """Return the request about one certificate, DER (RFC 6960 section 4.1).

    The issuer is named with SHA-1, which every responder knows; it protects nothing here.
    """
    name, key = (
        hashlib.sha1(part, usedforsecurity=False).digest()
        for part in (issuer.subject, _key_octets(issuer))
    )
    cert_id = der.sequence(
        der.algorithm(SHA1.oid),
        der.octet_string(name),
        der.octet_string(key),
        certificate.serial_number,
    )
    return question(cert_id)


def read(
    response: bytes,
    certificate: Certificate,
    issuer: Certificate,
    now: datetime,
    allowed: frozenset[Legacy] = NO_LEGACY,
) -> Status:
    """Judge the answer to `ask`.

    Verification is, in order (RFC 6960 section 3.2):

    1. it is a basic response without a critical extension that is not known here;
    2. it is about this certificate;
    3. the certificate's issuer signed it, or somebody whom that issuer has made a responder;
    4. it is current.

    Args:
        response: the OCSPResponse, DER.
        certificate: what was asked about.
        issuer: the certificate of its issuer.
        now: an aware datetime.
        allowed: the legacy algorithms that are allowed.

    Raises:
        BadReply: the answer must not be believed, or says that there is none.
        Malformed: it is no OCSP response.
    """
    if len(response) > MAX_RESPONSE:
        raise Malformed(f"an OCSP response of more than {MAX_RESPONSE} octets")
    # (1)
    basic = _basic(response)
    # (2)
    about = [one for one in basic.singles if _is_about(one.cert_id, certificate, issuer)]
    if not about:
        raise BadReply("the answer is about another certificate")
    # (3)
    if not any(basic.is_by(one, allowed) for one in _signers(basic, issuer, now)):
        raise BadReply("the answer is not signed by the CA or a responder of the CA")
    # (4)
    current = [one for one in about if _is_current(one, now)]
    if not current:
        raise BadReply("the answer is not current", hint="check this machine's clock")
    return _status(current[0].status)


def _basic(response: bytes) -> _Basic:
    try:
        status, *rest = ber.parts(response, der.SEQUENCE, "OCSP response")
        code = int.from_bytes(ber.content(status, _ENUMERATED, "OCSP status"), "big")
        if code != _SUCCESSFUL:
            raise BadReply(f"the responder says {_error_name(code)}")
        (held,) = ber.parts(rest[0], _TAGGED_0, "OCSP response")
        kind, octets = ber.parts(held, der.SEQUENCE, "OCSP response")
        if kind != _BASIC:
            raise BadReply("the responder gives an answer of a kind that is not known here")
        inner = ber.content(octets, der.OCTET_STRING, "OCSP response")
        signed, algorithm, bits, *more = ber.parts(inner, der.SEQUENCE, "OCSP response")
        certificates = _inside(more[0], "certificates") if more else []
        return _Basic(
            signed=signed,
            algorithm=read_algorithm(algorithm),
            signature=ber.content(bits, der.BIT_STRING, "signature")[1:],
            certificates=tuple(certificates[:_MAX_CERTIFICATES]),
            singles=tuple(_singles(signed)),
        )
    except Malformed as error:
        raise Malformed(f"this cannot be read as an OCSP response: {error.message}") from error
    except (ValueError, IndexError) as error:
        raise Malformed("this cannot be read as an OCSP response: parts are missing") from error


def _error_name(code: int) -> str:
    try:
        return ErrorStatus(code).name.lower().replace("_", " ")
    except ValueError:
        return f"status {code}"


def _inside(element: bytes, what: str) -> list[bytes]:
    (row,) = ber.parts(element, _TAGGED_0, what)
    return ber.parts(row, der.SEQUENCE, what)


def _singles(data: bytes) -> Iterator[_Single]:
    parts = ber.parts(data, der.SEQUENCE, "OCSP response data")
    if parts[0][0] == _TAGGED_0:
        # The version; there is but one.
        parts = parts[1:]
    _responder, _produced, responses, *more = parts
    _check_extensions(more)
    for one in ber.parts(responses, der.SEQUENCE, "OCSP responses"):
        cert_id, status, this_update, *rest = ber.parts(one, der.SEQUENCE, "OCSP response")
        later = [part for part in rest if part[0] == _TAGGED_0]
        _check_extensions(part for part in rest if part[0] == _TAGGED_1)
        until = ber.parts(later[0], _TAGGED_0, "nextUpdate")[0] if later else None
        yield _Single(cert_id, status, _moment(this_update), _moment(until) if until else None)


def _moment(element: bytes) -> datetime:
    found = ber.time(element[0], ber.content(element, element[0], "time"))
    if found is None:
        raise Malformed("a time in an OCSP response is none")
    return found


def _check_extensions(tagged: Sequence[bytes] | Iterator[bytes]) -> None:
    for element in tagged:
        (row,) = ber.parts(element, _TAGGED_1, "extensions")
        for one in Extensions.read(ber.parts(row, der.SEQUENCE, "extensions")):
            if one.critical and one.identifier != _NONCE:
                raise BadReply("the answer has a critical extension that is not known here")


def _is_about(cert_id: bytes, certificate: Certificate, issuer: Certificate) -> bool:
    found = read_cert_id(cert_id)
    digest = HASHES.get(found.hash)
    if digest is None or found.serial != certificate.serial:
        return False
    names = (digest.of(issuer.subject), digest.of(certificate.issuer))
    # A CA may spell its name in a certificate in another way than in its own.
    return found.issuer_name_hash in names and found.issuer_key_hash == digest.of(
        _key_octets(issuer)
    )


def _key_octets(issuer: Certificate) -> bytes:
    info = ber.decode(types.SubjectPublicKeyInfo, issuer.spki, "SubjectPublicKeyInfo")
    return info.subjectPublicKey.as_bytes()


def _signers(basic: _Basic, issuer: Certificate, now: datetime) -> Iterator[Certificate]:
    """Yield who may have signed: the issuer, and those that it says are responders."""
    yield issuer
    for one in dated(basic.certificates):
        start, end = one.validity
        if start <= now + SKEW and now <= end and _is_responder(one) and chain.issued(issuer, one):
            yield one


def _is_responder(one: Certificate) -> bool:
    try:
        purposes = one.extensions.extended_key_usage
        usage = one.extensions.key_usage
    except Malformed:
        return False
    signs = usage is None or "digital_signature" in usage
    return signs and ExtendedKeyUsageOID.OCSP_SIGNING in (purposes or ())


def _is_current(one: _Single, now: datetime) -> bool:
    # Nothing is added to the responder's times: they may be the last that there are.
    if one.next_update is None:
        is_over = one.this_update < now - SKEW - _UNDATED
    else:
        is_over = one.next_update < now - SKEW
    return one.this_update <= now + SKEW and not is_over


def _status(status: bytes) -> Status:
    match status[0]:
        case tag if tag == _GOOD:
            return Plain.GOOD
        case tag if tag == _UNKNOWN:
            return Plain.UNKNOWN
    try:
        at, *rest = ber.parts(status, _REVOKED, "certStatus")
        reason = _UNSPECIFIED
        if rest:
            (code,) = ber.parts(rest[0], _TAGGED_0, "revocationReason")
            reason = int.from_bytes(ber.content(code, _ENUMERATED, "revocationReason"), "big")
        return Revoked(_moment(at), reason)
    except ValueError as error:
        raise Malformed("this cannot be read as an OCSP response: parts are missing") from error
