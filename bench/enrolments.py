"""Requests made beforehand, for one server: what a fleet would send; and what came back, opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256 as HASH
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import PKCSReq, RenewalReq, Success

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
    try:
        from scepkit.store import Door

        door: dict[str, Any] = {"door": Door.COMMAND_LINE}
    except ImportError:  # one of before there were several
        door = {}
    return [one.secret for one in mint(challenges, orders, by="bench", now=now, **door)]


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
    """Yield one PKCSReq for each challenge; the device is `fleet[number % len(fleet)]`."""
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
        yield _sealed(PKCSReq(csr.read(request, NO_LEGACY)), device, recipient)


def enrolled(
    fleet: Sequence[Credential], url: str, challenges: Sequence[str], recipient: Certificate
) -> list[Credential]:
    """Enrol devices, one after the other, and return them with the certificates that they got."""
    got = []
    for device, request in zip(fleet, make(fleet, challenges, recipient), strict=True):
        kind = {"Content-Type": "application/x-pki-message"}
        asked = Request(f"{url}?operation=PKIOperation", request, kind)
        with urlopen(asked) as answer:
            got.append(Credential(device.key, Certificate.read(opened(answer.read(), device))))
    return got


def renewals(fleet: Sequence[Credential], recipient: Certificate, count: int) -> Iterator[bytes]:
    """Yield RenewalReqs, each another one: it says so in an attribute that nobody reads."""
    for number in range(count):
        device = fleet[number % len(fleet)]
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            x509.load_der_x509_certificate(device.certificate.der).subject
        )
        builder = builder.add_attribute(AttributeOID.UNSTRUCTURED_NAME, f"{number}".encode())
        request = builder.sign(device.key, HASH()).public_bytes(Encoding.DER)
        yield _sealed(RenewalReq(csr.read(request, NO_LEGACY)), device, recipient)


def _sealed(request: PKCSReq | RenewalReq, device: Credential, recipient: Certificate) -> bytes:
    return pkimessage.seal_request(
        request,
        transaction_id=TransactionID.new(os.urandom),
        sender_nonce=os.urandom(16),
        signer=device,
        recipient=recipient,
        digest=SHA256,
        cipher=AES128,
        random=os.urandom,
    )


def opened(reply: bytes, device: Credential) -> bytes:
    """Open a CertRep, and return the certificate in it that has the device's key.

    Raises:
        ScepError, ValueError: it cannot be opened, or there is no such certificate.
    """
    everything = frozenset(Legacy)
    verified = pkimessage.verify(pkimessage.parse(reply), everything)
    answer = pkimessage.open_reply(verified, [device], everything, os.urandom)
    if isinstance(answer, Success):
        for one in answer.certificates:
            if Certificate.read(one).key_hash == device.certificate.key_hash:
                return bytes(one)
    raise ValueError(f"no certificate for the device: {answer}")
