"""Enrolment requests made beforehand, for one server: what a fleet would send."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256 as HASH
from cryptography.x509.oid import NameOID

from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import PKCSReq

# Making a key costs as much as twenty enrolments; a request is new by its challenge, not its key.
KEYS = 16


def minted(
    challenges: Any, count: int, *, now: datetime, lifetime: timedelta = timedelta(hours=1)
) -> list[str]:
    """Mint challenges; return the secrets."""
    try:
        from scepkit.operations.challenges import mint
    except ImportError:  # a scepkit of before, to compare with
        return [*challenges.new(count=count, now=now, lifetime=lifetime)]
    orders = [ChallengeOrder.of(lifetime)] * count
    return [one.secret for one in mint(challenges, orders, by="bench", now=now)]


def devices(count: int = KEYS) -> list[Credential]:
    """Make devices: RSA-2048 keys with self-signed certificates."""
    return [_device(number) for number in range(count)]


def _device(number: int) -> Credential:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"device{number}")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number + 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, HASH())
    )
    return Credential(key, Certificate.of(certificate))


def make(
    fleet: Sequence[Credential], challenges: Sequence[str], recipient: Certificate
) -> Iterator[bytes]:
    """Yield one PKCSReq for each challenge."""
    for number, challenge in enumerate(challenges):
        device = fleet[number % len(fleet)]
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, f"device{number}"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bench"),
            ]
        )
        san = x509.SubjectAlternativeName([x509.DNSName(f"device{number}.example")])
        request = csr.build(
            subject,
            device.key,
            challenge_password=challenge,
            extensions=[x509.Extension(san.oid, False, san)],
        )
        yield pkimessage.seal_request(
            PKCSReq(csr.read(request, NO_LEGACY)),
            transaction_id=TransactionID.new(os.urandom),
            sender_nonce=os.urandom(16),
            signer=device,
            recipient=recipient,
            digest=SHA256,
            cipher=AES128,
            random=os.urandom,
        )
