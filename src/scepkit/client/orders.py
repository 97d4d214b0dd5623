"""A request for a certificate, ready to be sent, and the same however often it is made.

The same key, subject, names and challenge give the same PKCS#10 and the same transactionID, so a
client that lost the answer, or was killed, asks again and gets the certificate that was issued.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepkit.client import keys
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.attributes import TransactionID
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.envelope import Credential
from scepkit.protocol.messages import PKCSReq
from scepkit.protocol.names import parse_san, parse_subject


@dataclass(frozen=True, slots=True)
class Order:
    """A request for a certificate.

    Attributes:
        request: what is wanted.
        signer: the key and the self-signed certificate that sign it.
        transaction_id: under which it is asked for.
    """

    request: PKCSReq
    signer: Credential
    transaction_id: TransactionID


def make(
    key: rsa.RSAPrivateKey,
    subject: str | x509.Name,
    *,
    names: Iterable[str | x509.GeneralName] = (),
    challenge: str | None = None,
    transaction_id: TransactionID | None = None,
    now: datetime,
) -> Order:
    """Write the request for a first certificate (RFC 8894 sections 2.3, 2.4 and 3.3.1).

    Args:
        key: the key to be certified.
        subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
        names: subject alternative names, or text such as `dns:dev1.example`.
        challenge: the challengePassword, if the CA wants one. Secret.
        transaction_id: derived from all of the above unless given.
        now: an aware datetime.

    Raises:
        UsageError: the subject, a name or the challenge cannot be written into a request.
    """
    wanted = parse_subject(subject) if isinstance(subject, str) else subject
    extensions = _extensions([parse_san(n) if isinstance(n, str) else n for n in names])
    der = csr.build(wanted, key, challenge_password=challenge, extensions=extensions)
    request = csr.read(der, NO_LEGACY)
    return Order(
        request=PKCSReq(request),
        signer=keys.self_signed(key, wanted, now),
        transaction_id=transaction_id or _transaction_id(key, request),
    )


def _extensions(
    names: Sequence[x509.GeneralName],
) -> list[x509.Extension[x509.ExtensionType]]:
    if not names:
        return []
    value = x509.SubjectAlternativeName(names)
    return [x509.Extension(value.oid, critical=False, value=value)]


def _transaction_id(key: rsa.RSAPrivateKey, request: CertificationRequest) -> TransactionID:
    """Derive the transactionID from everything in the request (RFC 8894 section 3.2.1.1).

    Keyed with the private key: the request holds the challenge, which nobody who sees the
    transactionID may try to guess from it.
    """
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return TransactionID(hmac.digest(secret, request.info, hashlib.sha256)[:16].hex().encode())
