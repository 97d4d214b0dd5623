"""The signed attributes of a pkiMessage (RFC 8894 section 3.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.ber import Attribute
from scepkit.protocol.value import value

# OIDs, DER.
MESSAGE_TYPE = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.2"))
PKI_STATUS = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.3"))
FAIL_INFO = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.4"))
SENDER_NONCE = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.5"))
RECIPIENT_NONCE = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.6"))
TRANSACTION_ID = der.oid(ObjectIdentifier("2.16.840.1.113733.1.9.7"))
SIGNING_TIME = der.oid(ObjectIdentifier("1.2.840.113549.1.9.5"))
FAIL_INFO_TEXT = der.oid(ObjectIdentifier("1.3.6.1.5.5.7.24.1"))
# NDES puts the HRESULT of a failure here: a signed decimal number as PrintableString.
MICROSOFT_HRESULT = der.oid(ObjectIdentifier("1.3.6.1.4.1.311.21.33"))

NONCE_SIZE = 16
MAX_NONCE_SIZE = 64
MAX_TRANSACTION_ID_SIZE = 255
_MAX_TEXT_SIZE = 4096

_PRINTABLE_STRING = 0x13
_UTF8_STRING = 0x0C
_TEXT_TAGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
_NAMES = {
    TRANSACTION_ID: "transactionID",
    MESSAGE_TYPE: "messageType",
    SENDER_NONCE: "senderNonce",
    RECIPIENT_NONCE: "recipientNonce",
    PKI_STATUS: "pkiStatus",
    FAIL_INFO: "failInfo",
    FAIL_INFO_TEXT: "failInfoText",
    MICROSOFT_HRESULT: "HRESULT",
    SIGNING_TIME: "signingTime",
}

# The attribute of a nonce of ours, or as long, up to the nonce.
_BEFORE_NONCE = {
    kind: der.attribute(kind, der.octet_string(bytes(NONCE_SIZE)))[:-NONCE_SIZE]
    for kind in (SENDER_NONCE, RECIPIENT_NONCE)
}

_Single: TypeAlias = Mapping[bytes, tuple[bytes, bytes]]
"""The values of those attributes that occur once, with one value: its DER, and its content."""


class MessageType(IntEnum):
    """RFC 8894 section 3.2.1.2."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


class PKIStatus(IntEnum):
    """RFC 8894 section 3.2.1.3."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


_DEFINED = {b"%d" % number: int(number) for number in (*MessageType, *PKIStatus)}
"""Numbers by their text: those that nearly every message has."""


@value()
class TransactionID:
    """A transactionID as it came (RFC 8894 section 3.2.1.1): opaque, 1 to 255 octets.

    Attributes:
        value: its octets.
        tag: the ASN.1 tag of the string; PrintableString by the RFC, repeated as received.
    """

    value: bytes
    tag: int = _PRINTABLE_STRING

    @classmethod
    def new(cls, random: Callable[[int], bytes]) -> TransactionID:
        """Make a fresh one: 128 random bits as hex, which every server takes."""
        return cls(random(16).hex().encode("ascii"))

    @classmethod
    def read(cls, text: str) -> TransactionID:
        """Read one from the text that `str` makes; what is no such text is taken as it is."""
        if "\\" in text:
            with suppress(UnicodeError):
                return cls(text.encode("ascii").decode("unicode_escape").encode("latin-1"))
        return cls(text.encode())

    def __str__(self) -> str:
        """Return it for a log or a terminal: what is not printable ASCII is escaped."""
        text = self.value.decode("latin-1")
        if text.isascii() and text.isprintable() and "\\" not in text:
            return text
        return text.encode("unicode_escape").decode("ascii")


@value()
class Attributes:
    """The SCEP attributes of one message, as the peer gave them.

    Attributes:
        transaction_id: always there.
        message_type: the number; None when missing or no number.
        sender_nonce: 1 to 64 octets; None when missing.
        recipient_nonce: the same.
        pki_status: the number; None when missing or no number.
        fail_info: the number; None when missing or no number.
        fail_info_text: for humans only.
        hresult: what NDES says about a failure.
        signed_at: the value of a signingTime, DER; None when missing. It is not SCEP's own, and
            devices have no clocks, so that a broken one is no defect (P-22).
        defects: what is wrong with them, if anything; a message with a defect is refused.
    """

    transaction_id: TransactionID
    message_type: int | None = None
    sender_nonce: bytes | None = None
    recipient_nonce: bytes | None = None
    pki_status: int | None = None
    fail_info: int | None = None
    fail_info_text: str | None = None
    hresult: str | None = None
    signed_at: bytes | None = None
    defects: tuple[str, ...] = ()

    @property
    def signing_time(self) -> datetime | None:
        """Return when the sender says it signed, aware; None when missing or unreadable."""
        return None if self.signed_at is None else ber.time(*ber.tag_and_content(self.signed_at))


def read(attributes: Collection[Attribute]) -> Attributes:
    """Read SCEP's attributes among signed attributes (RFC 8894 section 3.2.1).

    Attributes of other kinds are ignored.
    Each of SCEP's may occur once with one value; without a usable transactionID there is nothing
    to answer to, every other fault becomes a defect.

    Raises:
        Malformed: there is no single usable transactionID.
    """
    single: dict[bytes, tuple[bytes, bytes]] = {}
    for kind, values, content in attributes:
        if content is not None:
            single[kind] = values, content
    several: dict[bytes, int] = {}
    defects: list[str] = []
    if len(single) < len(attributes):
        several = _several(attributes)
        single = {kind: one for kind, one in single.items() if kind not in several}
        repeated = (kind for kind in _NAMES if kind in several and kind != SIGNING_TIME)
        defects += (f"{_NAMES[kind]} occurs {several[kind]} times" for kind in repeated)
    return Attributes(
        _transaction_id(single, several),
        _number(single, MESSAGE_TYPE, defects),
        _nonce(single, SENDER_NONCE, defects),
        _nonce(single, RECIPIENT_NONCE, defects) if RECIPIENT_NONCE in single else None,
        _number(single, PKI_STATUS, defects) if PKI_STATUS in single else None,
        _number(single, FAIL_INFO, defects) if FAIL_INFO in single else None,
        _text(single, FAIL_INFO_TEXT) if FAIL_INFO_TEXT in single else None,
        _text(single, MICROSOFT_HRESULT) if MICROSOFT_HRESULT in single else None,
        single[SIGNING_TIME][0] if SIGNING_TIME in single else None,
        tuple(defects),
    )


def _several(attributes: Iterable[Attribute]) -> dict[bytes, int]:
    """Return how many values those of SCEP's attributes have that have not a single one."""
    count: dict[bytes, int] = {}
    for kind, values, content in attributes:
        if kind in _NAMES:
            number = len(ber.split(values)) if content is None else 1
            count[kind] = count.get(kind, 0) + number
    return {kind: number for kind, number in count.items() if number > 1}


def write(
    transaction_id: TransactionID,
    message_type: int,
    sender_nonce: bytes,
    recipient_nonce: bytes | None = None,
    pki_status: int | None = None,
    fail_info: int | None = None,
    fail_info_text: str | None = None,
    signing_time: datetime | None = None,
) -> list[bytes]:
    """Return attributes for a SignerInfo, DER (section 3.2.1); None leaves one out."""
    text = der.element(transaction_id.tag, transaction_id.value)
    out = [
        der.attribute(TRANSACTION_ID, text),
        _numbered(MESSAGE_TYPE, message_type),
        _nonce_attribute(SENDER_NONCE, sender_nonce),
    ]
    if recipient_nonce is not None:
        out.append(_nonce_attribute(RECIPIENT_NONCE, recipient_nonce))
    if pki_status is not None:
        out.append(_numbered(PKI_STATUS, pki_status))
    if fail_info is not None:
        out.append(_numbered(FAIL_INFO, fail_info))
    if fail_info_text is not None:
        text = der.element(_UTF8_STRING, fail_info_text.encode())
        out.append(der.attribute(FAIL_INFO_TEXT, text))
    if signing_time is not None:
        out.append(der.attribute(SIGNING_TIME, der.time(signing_time)))
    return out


def _nonce_attribute(kind: bytes, nonce: bytes) -> bytes:
    if len(nonce) == NONCE_SIZE:
        return _BEFORE_NONCE[kind] + nonce
    return der.attribute(kind, der.octet_string(nonce))


# There are fewer than twenty.
@lru_cache(maxsize=64)
def _numbered(kind: bytes, number: int) -> bytes:
    """Return the messageType, pkiStatus or failInfo of that number."""
    return der.attribute(kind, der.element(_PRINTABLE_STRING, b"%d" % number))


def _transaction_id(single: _Single, several: Mapping[bytes, int]) -> TransactionID:
    if TRANSACTION_ID not in single:
        number = several.get(TRANSACTION_ID, 0)
        raise Malformed(f"{number} transactionIDs where one is needed")
    whole, value = single[TRANSACTION_ID]
    tag = whole[0]
    if tag not in _TEXT_TAGS:
        raise Malformed("the transactionID is not a string")
    if not 1 <= len(value) <= MAX_TRANSACTION_ID_SIZE:
        raise Malformed(
            f"a transactionID of {len(value)} octets; 1 to {MAX_TRANSACTION_ID_SIZE} are accepted"
        )
    return TransactionID(value, tag)


def _number(single: _Single, kind: bytes, defects: list[str]) -> int | None:
    if kind not in single:
        return None
    whole, octets = single[kind]
    number = _DEFINED.get(octets)
    if number is not None and whole[0] in _TEXT_TAGS:
        return number
    text = _text(single, kind)
    if text is not None and text.isascii() and text.isdigit() and len(text) <= 3:  # noqa: PLR2004
        return int(text)
    defects.append(f"{_NAMES[kind]} is not a number")
    return None


def _nonce(single: _Single, kind: bytes, defects: list[str]) -> bytes | None:
    if kind not in single:
        return None
    whole, nonce = single[kind]
    if whole[0] == der.OCTET_STRING and 1 <= len(nonce) <= MAX_NONCE_SIZE:
        return nonce
    defects.append(f"{_NAMES[kind]} is not an OCTET STRING of 1 to {MAX_NONCE_SIZE} octets")
    return None


def _text(single: _Single, kind: bytes) -> str | None:
    if kind not in single:
        return None
    whole, text = single[kind]
    encoding = _TEXT_TAGS.get(whole[0])
    if encoding is None or len(text) > _MAX_TEXT_SIZE:
        return None
    return text.decode(encoding, "replace")
