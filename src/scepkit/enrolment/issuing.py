"""From a request that is granted to what is stored: the certificate, or its place in the queue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.authority import Authority
from scepkit.ca.profile import Profile
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.pkimessage import VerifiedMessage
from scepkit.store import Issuance, Queued


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request that may have its certificate, now or when an operator says so.

    Attributes:
        endpoint: the endpoint's name.
        verified: the request.
        csr: what is asked for.
        fingerprint: what makes it the same request, see `fingerprint`.
        authority: the CA that is to issue.
        challenge_id: the challenge that is spent for it, if any.
        renews: the serial number of the certificate that it renews, if any.
        reply_secret: what its replies are encrypted with, concealed; None for keys that decrypt.
        passphrase: what is to revoke the certificate, concealed; None for nothing.
        now: the time of the decision, aware.
    """

    endpoint: str
    verified: VerifiedMessage
    csr: CertificationRequest
    fingerprint: bytes
    authority: Authority
    challenge_id: int | None
    renews: int | None
    reply_secret: bytes | None
    passphrase: bytes | None
    now: datetime


def issue(grant: Grant, profile: Profile) -> Issuance:
    """Sign the certificate.

    Raises:
        BadRequest: the request cannot have a certificate of this profile.
        SettingsError: the CA is not valid now.
    """
    csr = grant.csr
    certificate = grant.authority.issue(
        subject=csr.subject,
        public_key=csr.public_key,
        requested=csr.extensions,
        profile=profile,
        now=grant.now,
    )
    return Issuance(
        endpoint=grant.endpoint,
        transaction_id=grant.verified.attributes.transaction_id.value,
        signer_key=grant.verified.certificate.key_hash,
        fingerprint=grant.fingerprint,
        message_type=grant.verified.message_type,
        csr=without_secret(csr),
        csr_digest=hashlib.sha256(csr.der).digest(),
        certificate=certificate.public_bytes(Encoding.DER),
        serial=certificate.serial_number,
        subject=csr.subject.rfc4514_string(),
        issuer=grant.authority.key_hash,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        public_key=csr.key_hash,
        challenge_id=grant.challenge_id,
        renews=grant.renews,
        reply_secret=grant.reply_secret,
        passphrase=grant.passphrase,
        now=grant.now,
    )


def queue(grant: Grant, expires_at: datetime) -> Queued:
    """Put a request where an operator finds it."""
    csr = grant.csr
    return Queued(
        endpoint=grant.endpoint,
        transaction_id=grant.verified.attributes.transaction_id.value,
        signer_key=grant.verified.certificate.key_hash,
        fingerprint=grant.fingerprint,
        message_type=grant.verified.message_type,
        csr=without_secret(csr),
        csr_digest=hashlib.sha256(csr.der).digest(),
        subject=csr.subject.rfc4514_string(),
        issuer=grant.authority.key_hash,
        challenge_id=grant.challenge_id,
        renews=grant.renews,
        reply_secret=grant.reply_secret,
        passphrase=grant.passphrase,
        expires_at=expires_at,
        now=grant.now,
    )


def fingerprint(verified: VerifiedMessage, csr: CertificationRequest, *, renewal: bool) -> bytes:
    """Return what makes a request the same request (checklist P-43), 32 octets.

    The PKCS#10 counts without its signature, which may differ from one attempt to the next.
    A renewal counts with the certificate that signed it: a device that sends the bytes of its first
    request again, signed with the certificate that it got for them, wants the next one (P-45).
    """
    digest = hashlib.sha256(bytes([verified.message_type]) + csr.info)
    if renewal:
        digest.update(hashlib.sha256(verified.certificate.der).digest())
    return digest.digest()


def without_secret(csr: CertificationRequest) -> bytes:
    """Return the PKCS#10 for the archive: as received, but with stars for its challengePassword.

    The store keeps challenges as keyed digests only (RFC 8894 section 7.3).
    """
    der = csr.der
    for encoding in ("utf-8", "utf-16-be", "utf-32-be"):
        secret = (csr.challenge_password or "").encode(encoding)
        der = der.replace(secret, b"*" * len(secret)) if secret else der
    return der
