"""A request for a certificate, ready to be sent, and the same however often it is made.

The same key, subject, names and challenge give the same PKCS#10 and the same transactionID, so a
client that lost the answer, or was killed, asks again and gets the certificate that was issued.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier

from scepkit.client import clock, keys
from scepkit.errors import BadAlg, BadRequest, Malformed, UsageError
from scepkit.protocol import csr, public_keys, signatures
from scepkit.protocol.algorithms import NO_LEGACY, SHA256, Legacy, PrivateKey
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import (
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_ALTERNATIVE_NAME,
    Extension,
    Extensions,
    encoded,
    extension,
    read_purposes,
)
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import PKCSReq, RenewalReq

AskedExtension: TypeAlias = x509.Extension[x509.ExtensionType] | bytes
"""An extension to ask for: an object of the library, or the DER of an Extension (RFC 5280)."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request for a certificate.

    Attributes:
        request: what is wanted; a RenewalReq may go out as a PKCSReq to a CA that knows no other.
        signer: the key and the certificate that sign it: a self-signed one, or in a renewal the
            current one.
        transaction_id: under which it is asked for.
        issuers: the CAs between the signer's certificate and its root, for a CA that has to be
            shown where that comes from.
    """

    request: PKCSReq | RenewalReq
    signer: Credential
    transaction_id: TransactionID
    issuers: tuple[Certificate, ...] = ()

    @property
    def wanted(self) -> str:
        """Return the SHA-256 of the request in hex, without the challenge.

        Two requests for the same with other challenges are two transactions, but who has the
        certificate of one needs none of the other.
        """
        is_renewal = isinstance(self.request, RenewalReq)
        renewed = self.signer.certificate.der if is_renewal else b""
        return _fingerprint(self.request.csr, renewed)


def prepare(
    key: PrivateKey,
    subject: str | x509.Name,
    *,
    names: Iterable[str | x509.GeneralName] = (),
    purposes: Iterable[str | ObjectIdentifier] = (),
    extensions: Iterable[AskedExtension] = (),
    challenge: str | None = None,
    transaction_id: TransactionID | None = None,
    now: datetime | None = None,
) -> PreparedRequest:
    """Write the request for a first certificate (RFC 8894 sections 2.3, 2.4 and 3.3.1).

    Args:
        key: the key to be certified.
        subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
        names: subject alternative names, or text such as `dns:dev1.example`.
        purposes: for extendedKeyUsage, by OID or by name such as `server_auth`; none leaves them to
            the CA.
        extensions: what else to ask for. A keyUsage among them takes the place of ours.
        challenge: the challengePassword, if the CA wants one. Secret.
        transaction_id: derived from all of the above unless given.
        now: an aware datetime; by this machine's clock unless given.

    Raises:
        UsageError: the subject, a name, a purpose, an extension or the challenge cannot be written
            into a request.
    """
    wanted = parse_subject(subject) if isinstance(subject, str) else subject
    alternatives = [parse_san(n) if isinstance(n, str) else n for n in names]
    asked = [*_names(alternatives), *_purposes(purposes), *_extensions(extensions)]
    request = _request(wanted, key, challenge, asked)
    return PreparedRequest(
        request=PKCSReq(request),
        signer=keys.self_signed(key, wanted, now or clock.now()),
        transaction_id=transaction_id or _transaction_id(key, request),
    )


def prepare_renewal(
    key: PrivateKey,
    certificate: Certificate,
    new_key: PrivateKey,
    *,
    purposes: Iterable[str | ObjectIdentifier] | None = None,
    extensions: Iterable[AskedExtension] = (),
    challenge: str | None = None,
    issuers: Iterable[Certificate] = (),
    transaction_id: TransactionID | None = None,
) -> PreparedRequest:
    """Write the request for a certificate in place of one (RFC 8894 sections 2.3 and 2.5).

    It asks for the same subject and the same subject alternative names, octet for octet: some CAs
    compare them so. So it does for the purposes, unless there are others to ask for.

    Args:
        key: the current key.
        certificate: the current certificate, which signs.
        new_key: the key to be certified; the current one is allowed.
        purposes: for extendedKeyUsage; those of the certificate unless given, none leaves them to
            the CA.
        extensions: what else to ask for. Names among them take the place of the certificate's, and
            a keyUsage that of ours.
        challenge: the challengePassword, if the CA wants one here too. Secret.
        issuers: the chain of the current certificate, from its issuer up.
        transaction_id: derived from all of the above unless given.

    Raises:
        UsageError: a purpose, an extension or the challenge cannot be written into a request.
        Malformed: the certificate's names or purposes cannot be read.
    """
    asked = [*_purposes(purposes or ()), *_extensions(extensions)]
    same = {SUBJECT_ALTERNATIVE_NAME, *([EXTENDED_KEY_USAGE] if purposes is None else [])}
    same -= {one.identifier for one in asked}
    kept = [
        Extension.read(extension(one.identifier, one.value, critical=one.critical))
        for one in certificate.extensions
        if one.identifier in same and one.value
    ]
    request = _request(certificate.subject_name, new_key, challenge, [*kept, *asked])
    return PreparedRequest(
        request=RenewalReq(request),
        signer=Credential(key, certificate),
        transaction_id=transaction_id or _transaction_id(new_key, request, certificate.der),
        issuers=_below_roots(issuers),
    )


def of_csr(
    key: PrivateKey,
    wanted: bytes | CertificationRequest,
    *,
    renewed: Certificate | None = None,
    issuers: Iterable[Certificate] = (),
    allowed: frozenset[Legacy] = NO_LEGACY,
    transaction_id: TransactionID | None = None,
    now: datetime | None = None,
) -> PreparedRequest:
    """Return the request with a PKCS#10 that somebody else has written.

    It goes out octet for octet; a challengePassword has to be in it already.

    Args:
        key: the key that signs the message and reads the answer: the PKCS#10's own or, in a
            renewal, that of the current certificate.
        wanted: the PKCS#10, DER or PEM.
        renewed: the current certificate, in whose place one is wanted.
        issuers: the chain of that certificate, from its issuer up.
        allowed: the legacy algorithms that the PKCS#10 may be signed with.
        transaction_id: derived from key and request unless given.
        now: an aware datetime; by this machine's clock unless given.

    Raises:
        UsageError: that is no PKCS#10 that can be sent, or the key is another one.
    """
    request = _read(wanted, allowed)
    if renewed is None:
        _check_own(key, request.key_hash, "the PKCS#10")
        signer = keys.self_signed(key, _subject(request), now or clock.now())
    else:
        _check_own(key, renewed.key_hash, "the current certificate")
        signer = Credential(key, renewed)
    return PreparedRequest(
        request=PKCSReq(request) if renewed is None else RenewalReq(request),
        signer=signer,
        transaction_id=transaction_id
        or _transaction_id(key, request, renewed.der if renewed else b""),
        issuers=_below_roots(issuers),
    )


def _read(wanted: bytes | CertificationRequest, allowed: frozenset[Legacy]) -> CertificationRequest:
    if isinstance(wanted, CertificationRequest):
        return wanted
    try:
        return csr.read(textual.request(wanted), allowed)
    except (Malformed, BadRequest, BadAlg) as error:
        raise UsageError(f"the PKCS#10 cannot be used: {error.message}") from error


def _subject(request: CertificationRequest) -> x509.Name:
    try:
        return request.subject.x509()
    except Malformed as error:
        raise UsageError(
            f"the PKCS#10's subject cannot be written into a certificate: {error.message}"
        ) from error


def _check_own(key: PrivateKey, key_hash: bytes, whose: str) -> None:
    if public_keys.identity(keys.spki(key)) != key_hash:
        raise UsageError(
            f"the key is not the key of {whose}",
            hint="the message is signed with it, and the answer is encrypted to it",
        )


def _below_roots(issuers: Iterable[Certificate]) -> tuple[Certificate, ...]:
    # A root is nothing that somebody else's word could prove.
    return tuple(c for c in issuers if c.issuer != c.subject)


def _request(
    subject: x509.Name | Name,
    key: PrivateKey,
    challenge: str | None,
    extensions: Iterable[Extension],
) -> CertificationRequest:
    asked = list(extensions)
    kinds = [one.identifier for one in asked]
    twice = next((one for one in asked if kinds.count(one.identifier) > 1), None)
    if twice is not None:
        raise UsageError(f"an extension is asked for twice: {_named(twice)}")
    if KEY_USAGE not in kinds:
        asked += _usage(key)
    der = csr.build(subject, key, challenge_password=challenge, extensions=asked)
    return csr.read(der, NO_LEGACY)


def _named(one: Extension) -> str:
    return one.oid.dotted_string if one.oid else one.identifier.hex()


def _extensions(asked: Iterable[AskedExtension]) -> list[Extension]:
    try:
        found = [
            Extension.read(
                one if isinstance(one, bytes) else encoded(one.value, critical=one.critical)
            )
            for one in asked
        ]
        # The values of those that are known, too.
        Extensions(tuple(found)).check()
    except (Malformed, BadRequest) as error:
        raise UsageError(f"an extension cannot be asked for: {error.message}") from error
    return found


def _names(names: list[x509.GeneralName]) -> list[Extension]:
    return [Extension.read(encoded(x509.SubjectAlternativeName(names)))] if names else []


def _purposes(wanted: Iterable[str | ObjectIdentifier]) -> list[Extension]:
    found = read_purposes(wanted)
    return [Extension.read(encoded(x509.ExtendedKeyUsage(found)))] if found else []


def _usage(key: PrivateKey) -> list[Extension]:
    """Return the keyUsage to ask for: an EC key that may agree can renew without a challenge.

    All others are left to the CA.
    """
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return []
    return [Extension.read(encoded(keys.usage(key), critical=True))]


def _transaction_id(
    key: PrivateKey, request: CertificationRequest, renewed: bytes = b""
) -> TransactionID:
    """Derive the transactionID from everything in the request (RFC 8894 section 3.2.1.1).

    The request's signature is part of it, and only the key makes that: the request holds the
    challenge, which nobody who sees the transactionID may try to guess from it. A key that signs
    the same anew each time, as EC keys in some devices do, would make another transaction of each
    attempt: there the challenge and the signature are left out.
    """
    if _signs_alike(key, request):
        digest = hashlib.sha256(request.der + renewed).hexdigest()
    else:
        digest = _fingerprint(request, renewed)
    return TransactionID(digest[:32].encode())


def _signs_alike(key: PrivateKey, request: CertificationRequest) -> bool:
    """Say whether a key signs the same data again as it has signed them in a request."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return True
    digest = signatures.signing_digest(key, SHA256)
    again = signatures.sign(key, request.info, digest, deterministic=True)
    return request.der.endswith(again)


def _fingerprint(request: CertificationRequest, renewed: bytes) -> str:
    """Return the SHA-256 of a request in hex, without the challenge and the signature."""
    extensions = (one.value or b"" for one in request.extensions)
    parts = (request.spki, request.subject.der, *extensions, renewed)
    return hashlib.sha256(b"".join(parts)).hexdigest()
