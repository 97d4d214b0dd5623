"""Devices that cannot run here, rebuilt from what is known of them: what they send, octet by octet.

Each takes what a server shows and gives one HTTP request, as it goes over the wire.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import der
import forge
import keys
from der import integer, octets, printable, seq, set_, tlv, utf8
from pair import _Public
from waiting import PATIENCE

COMMON_NAME, ORGANIZATION, SERIAL_NUMBER = "2.5.4.3", "2.5.4.10", "2.5.4.5"
UNSTRUCTURED_NAME = "1.2.840.113549.1.9.2"
SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
VERSION_3 = tlv(0xA0, integer(2))

# Octets of a piece, where encoders stream a string.
PIECE = 1000


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its first line, its headers by lower-case name, its body."""

    status: str
    headers: dict[str, str]
    body: bytes


def say(url, request):
    """Send one request just as it is, and read until the server closes the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Answer(status, {name.lower(): value for name, value in pairs}, body)


def holder(pem):
    """Return whose certificate is in a PEM file, as somebody to encrypt to."""
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    return keys.Holder(_Public(certificate.public_key()), certificate)


def name(*pairs):
    """Return a Name of (OID, DER of the value)."""
    return seq(*(set_(seq(der.oid(kind), value)) for kind, value in pairs))


def names(host):
    """Return the attribute of a PKCS#10 that asks for a dNSName."""
    value = octets(seq(tlv(0x82, host.encode())))
    extensions = seq(seq(der.oid(SUBJECT_ALTERNATIVE_NAME), value))
    return forge.attribute(forge.EXTENSION_REQUEST, extensions)


def pkcs1(key):
    """Return the DER of an RSA public key alone, without its algorithm."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


def times(begin, lifetime):
    """Return the validity that begins at a time."""
    return tuple(f"{moment:%y%m%d%H%M%SZ}" for moment in (begin, begin + lifetime))


# --- Apple ----------------------------------------------------------------------------------------


def apple(key: rsa.RSAPrivateKey, challenge, recipient, *, signer=None):
    """Return a pkiMessage of iOS or macOS.

    Indefinite lengths around strings in pieces; a self-signed certificate whose CN is a UUID that
    has nothing to do with the subject asked for; the transactionID is SHA-1 of the key.
    A renewal is the same, signed with the present certificate.
    """
    uuid = utf8("6C5A4F0E-8C0E-4D5B-9E7C-2B1F0C8E6A11")
    signer = signer or forge.Odd(
        key,
        forge.certificate(
            key,
            subject=name((COMMON_NAME, uuid)),
            version=VERSION_3,
            validity=times(datetime.now(UTC), timedelta(days=365)),
        ),
    )
    secret = [forge.challenge(challenge)] if challenge else []
    subject = name((ORGANIZATION, utf8("Interop")), (COMMON_NAME, utf8("device")))
    csr = forge.csr(key, subject=subject, attributes=[*secret, names("device.example")])
    envelope = streamed(forge.envelope(csr, recipient))
    attributes = forge.scep_attributes(transaction_id=apple_id(key))
    message = der.parse(forge.pki_message(envelope, attributes, signer))
    signed = message[1][0]
    # What is signed or hashed as it is stays as it is.
    return indefinite(message, keep=(signed[3], signed[4]))


def apple_poll(key, issuer, recipient):
    """Return its GetCertInitial, for the transaction that it was told to wait for."""
    subject = name((ORGANIZATION, utf8("Interop")), (COMMON_NAME, utf8("device")))
    signer = keys.certify("6C5A4F0E-8C0E-4D5B-9E7C-2B1F0C8E6A11", key)
    return forge.request(
        seq(issuer.certificate.subject, subject),
        signer,
        recipient=recipient,
        scep={"message_type": "20", "transaction_id": apple_id(key)},
    )


def apple_id(key):
    """Return the transactionID that it makes of a key."""
    return hashlib.sha1(pkcs1(key)).hexdigest().upper()


def streamed(envelope):
    """Return EnvelopedData with indefinite lengths, the encrypted content in pieces."""
    return indefinite(der.parse(envelope))


def indefinite(node, keep=()):
    """Write a tree with indefinite lengths, long strings in pieces; some of its nodes in DER.

    An implicitly tagged OCTET STRING is told by its tag alone: [0] of a primitive.
    """
    if any(node is one for one in keep):
        return node.der()
    if node.constructed:
        return _open(node.tag, *(indefinite(child, keep) for child in node.children))
    if node.tag in (0x04, 0x80) and len(node.content) > 64:
        cut = range(0, len(node.content), PIECE)
        return _open(node.tag | 0x20, *(octets(node.content[at : at + PIECE]) for at in cut))
    return node.der()


def _open(tag, *contents):
    return bytes([tag, 0x80]) + b"".join(contents) + b"\x00\x00"


def by_post(target, message, *headers):
    """Return a POST of HTTP/1.1 that closes the connection afterwards."""
    lines = (f"POST {target} HTTP/1.1", "Host: scep.example", *headers, "Connection: close")
    length = f"Content-Length: {len(message)}"
    return "\r\n".join((*lines, length, "", "")).encode() + message


def by_get(target, *headers):
    """Return a GET of HTTP/1.1 that closes the connection afterwards."""
    lines = (f"GET {target} HTTP/1.1", "Host: scep.example", *headers, "Connection: close")
    return "\r\n".join((*lines, "", "")).encode()


# --- Cisco ----------------------------------------------------------------------------------------

_IOS = "User-Agent: Mozilla/4.0 (compatible; MSIE 5.0; Cisco PKI)"


def ios(key, challenge, recipient, *, digest, cipher):
    """Return a pkiMessage of IOS, old or new by its algorithms.

    It has names for routers, and signs with a certificate of another subject than it asks for.
    """
    host = (UNSTRUCTURED_NAME, tlv(0x16, b"router.example"))
    signer = forge.Odd(key, forge.certificate(key, subject=name(host), serial=integer(0x2A)))
    csr = forge.csr(
        key,
        subject=name(
            (SERIAL_NUMBER, printable("9ABCDEF0123")), host, (COMMON_NAME, printable("router"))
        ),
        attributes=[forge.challenge(challenge)],
        digest=digest,
    )
    scep = {"transaction_id": hashlib.md5(keys.spki(key)).hexdigest().upper()}
    return forge.request(csr, signer, recipient=recipient, cipher=cipher, digest=digest, scep=scep)


def ios_get(operation, message):
    """Return the only kind of request that IOS sends: HTTP/1.0, no Host, base64 in lines."""
    if isinstance(message, bytes):
        message = base64.encodebytes(message).decode()
    line = f"GET /cgi-bin/pkiclient.exe?operation={operation}&message={quote(message, safe='')}"
    return f"{line} HTTP/1.0\r\n{_IOS}\r\n\r\n".encode()


# --- sscep ----------------------------------------------------------------------------------------


def sscep(key, challenge, recipient):
    """Return a pkiMessage of sscep.

    Its certificate for itself has no extensions, a serial number of 32 characters, and a validity
    that slips; here it ended before it began to be of use.
    """
    transaction_id = hashlib.md5(keys.spki(key)).hexdigest().upper()
    subject = name((COMMON_NAME, utf8("device")))
    certificate = forge.certificate(
        key,
        subject=subject,
        version=VERSION_3,
        serial=tlv(0x02, transaction_id.encode()),
        validity=times(datetime.now(UTC) - timedelta(days=6), timedelta(days=5)),
    )
    csr = forge.csr(key, subject=subject, attributes=[forge.challenge(challenge)], digest="sha512")
    return forge.request(
        csr,
        forge.Odd(key, certificate),
        recipient=recipient,
        digest="sha512",
        scep={"transaction_id": transaction_id},
    )


def sscep_retrieval(message_type, key, own, issuer, recipient):
    """Return its GetCert or GetCRL: for its own certificate, with the one transactionID it has."""
    certificate = own.certificate
    return forge.request(
        seq(issuer.certificate.subject, certificate.serial_number),
        keys.Holder(key, own.x509),
        recipient=recipient,
        scep={"message_type": message_type, "transaction_id": "SSCEP transactionId"},
    )


def sscep_post(target, message):
    """Return its POST: HTTP/1.0, without a Content-Type."""
    head = f"POST {target}?operation=PKIOperation HTTP/1.0\r\nContent-length: {len(message)}"
    return f"{head}\r\n\r\n".encode() + message


# --- Windows --------------------------------------------------------------------------------------


def windows(key, challenge, recipient):
    """Return a pkiMessage of the Windows MDM client: RSAES-OAEP, Microsoft's own attributes."""
    own = [
        forge.attribute("1.3.6.1.4.1.311.13.2.3", tlv(0x16, b"10.0.22631.2")),
        forge.attribute(
            "1.3.6.1.4.1.311.21.20",
            seq(integer(5), utf8("device"), utf8("SYSTEM"), utf8("omadmclient.exe")),
        ),
    ]
    secret = forge.challenge(challenge)
    csr = forge.csr(key, subject=name((COMMON_NAME, utf8("device"))), attributes=[*own, secret])
    content = forge.envelope(csr, recipient, cipher="aes256", oaep=("sha1", "sha1"))
    return forge.request(content=content, signer=keys.certify("device", key))
