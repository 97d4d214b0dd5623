"""The sender of a message: its name and its certificate."""

from __future__ import annotations

from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp.header import Header

_EMPTY_NAME = b"\x30\x00"


def is_sender(header: Header, certificate: Certificate) -> bool:
    """Say whether a header names a certificate as its sender's (RFC 9810 section 5.1.1).

    `sender` is its subject, or the empty name, which leaves it to senderKID; senderKID is its
    subjectKeyIdentifier. OpenSSL fills senderKID with -ref where the certificate has no such
    extension, so that there is nothing to compare then.
    """
    name, identifier = header.sender_name, certificate.subject_key_identifier
    if name not in (certificate.subject, _EMPTY_NAME):
        return False
    if header.sender_kid is None or identifier is None:
        return name != _EMPTY_NAME
    return header.sender_kid == identifier
