"""Text where DER should be: PEM (RFC 7468) and bare base64, in which some servers answer.

And a line break behind DER, which others add.

Nothing is believed because of it: what comes out is read and judged like DER that came as DER.
The work is linear in what came.
"""

from __future__ import annotations

import base64
import binascii
import re

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber

# What people write over certificates and certs-only messages (RFC 7468 sections 5, 8 and 9).
# Which of them it is decides nothing: the content tells what it is.
_PEM = re.compile(
    rb"-----BEGIN (CERTIFICATE|X509 CERTIFICATE|X\.509 CERTIFICATE|PKCS7|PKCS #7 SIGNED DATA|CMS)"
    rb"-----([A-Za-z0-9+/=\s]*)-----END \1-----"
)

_CRL = re.compile(rb"-----BEGIN (X509 CRL)-----([A-Za-z0-9+/=\s]*)-----END \1-----")  # section 6
_REQUEST = re.compile(  # section 7
    rb"-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----([A-Za-z0-9+/=\s]*)-----END \1-----"
)

# What a label says that the content is, for people.
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 .#]{1,40})-----")
_KINDS = {
    b"CERTIFICATE REQUEST": "a PKCS#10",
    b"CERTIFICATE": "a certificate",
    b"PRIVATE KEY": "a private key",
    b"PUBLIC KEY": "a public key",
    b"CRL": "a CRL",
}

# No certificate, CRL or CMS message is among these: all hold an OBJECT IDENTIFIER, whose tag is 6.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=\s-]+")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def blocks(body: bytes, most: int) -> tuple[bytes, ...]:
    """Return the contents of an answer: PEM blocks, decoded base64, or else itself.

    Args:
        body: the answer.
        most: how many PEM blocks it may have.

    Raises:
        Malformed: there are more, or one is not base64.
    """
    return pem(body, most) or (_unpacked(body),)


def pem(text: bytes, most: int) -> tuple[bytes, ...]:
    """Return the PEM blocks that a text holds, decoded; none when it holds none.

    Args:
        text: the text.
        most: how many blocks it may have.

    Raises:
        Malformed: there are more, or one is not base64.
    """
    return _blocks(_PEM, text, most)


def single(body: bytes) -> bytes:
    """Return the one message that an answer holds.

    Raises:
        Malformed: there are several, or it is not base64.
    """
    return blocks(body, 1)[0]


def crl(body: bytes) -> bytes:
    """Return the one CRL that an answer holds, as `single` does.

    Raises:
        Malformed: there are several, or it is not base64.
    """
    return (_blocks(_CRL, body, 1) or (_unpacked(body),))[0]


def request(body: bytes) -> bytes:
    """Return the one PKCS#10 that a file holds, as `single` does.

    Raises:
        Malformed: there are several, or it is not base64.
    """
    return (_blocks(_REQUEST, body, 1) or (_unpacked(body),))[0]


def kind(text: bytes) -> str:
    """Return what a PEM text says that it is, such as `a certificate`; "" where that is not known.

    It is for people, who name the wrong file: the label of the first block tells it.
    """
    found = _LABEL.search(text)
    ends = (said for end, said in _KINDS.items() if found and found[1].endswith(end))
    return next(ends, "")


def _blocks(kind: re.Pattern[bytes], text: bytes, most: int) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for block in kind.finditer(text):
        if len(found) == most:
            raise Malformed(f"more than {most} PEM blocks")
        found.append(_decode(block[2]))
    return tuple(found)


def _unpacked(body: bytes) -> bytes:
    if _BASE64.fullmatch(body):
        return _decode(body)
    # Scripts end what they print in a line break.
    end = ber.end(body)
    return body if end is None or not body[end:].isspace() else body[:end]


def _decode(text: bytes) -> bytes:
    """Decode base64 with or without line breaks and padding, or base64url (RFC 4648)."""
    packed = b"".join(text.split()).translate(_TO_STANDARD).rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise Malformed(f"not base64: {error}") from error
