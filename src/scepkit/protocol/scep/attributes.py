"""The signed attributes of a pkiMessage (RFC 8894 section 3.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber, der

MESSAGE_TYPE = ObjectIdentifier("2.16.840.1.113733.1.9.2")
PKI_STATUS = ObjectIdentifier("2.16.840.1.113733.1.9.3")
FAIL_INFO = ObjectIdentifier("2.16.840.1.113733.1.9.4")
SENDER_NONCE = ObjectIdentifier("2.16.840.1.113733.1.9.5")
RECIPIENT_NONCE = ObjectIdentifier("2.16.840.1.113733.1.9.6")
TRANSACTION_ID = ObjectIdentifier("2.16.840.1.113733.1.9.7")
SIGNING_TIME = ObjectIdentifier("1.2.840.113549.1.9.5")
FAIL_INFO_TEXT = ObjectIdentifier("1.3.6.1.5.5.7.24.1")
# NDES puts the HRESULT of a failure here: a signed decimal number as PrintableString.
MICROSOFT_HRESULT = ObjectIdentifier("1.3.6.1.4.1.311.21.33")

NONCE_SIZE = 16
MAX_NONCE_SIZE = 64
MAX_TRANSACTION_ID_SIZE = 255
_MAX_TEXT_SIZE = 4096

_PRINTABLE_STRING = 0x13
_UTF8_STRING = 0x0C
_TEXT_TAGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
_OCTET_STRING = 0x04


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


@dataclass(frozen=True, slots=True)
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

    def __str__(self) -> str:
        """Return it for a log or a terminal: what is not printable ASCII is escaped."""
        return self.value.decode("latin-1").encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
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
        signing_time: when the sender says it signed, aware; None when missing or unreadable. It
            is not SCEP's own and devices have no clocks, so that a broken one is no defect (P-22).
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
    signing_time: datetime | None = None
    defects: tuple[str, ...] = ()


def read(attributes: Iterable[tuple[ObjectIdentifier, Sequence[bytes]]]) -> Attributes:
    """Read SCEP's attributes among signed attributes (RFC 8894 section 3.2.1).

    Attributes of other kinds are ignored.
    Each of SCEP's may occur once with one value; without a usable transactionID there is nothing
    to answer to, every other fault becomes a defect.

    Args:
        attributes: OID and DER of the values.

    Raises:
        Malformed: there is no single usable transactionID.
    """
    values: dict[ObjectIdentifier, list[bytes]] = {}
    for oid, attribute in attributes:
        values.setdefault(oid, []).extend(attribute)
    defects: list[str] = []

    def single(oid: ObjectIdentifier, name: str) -> bytes | None:
        found = values.get(oid, [])
        if len(found) > 1:
            defects.append(f"{name} occurs {len(found)} times")
        return found[0] if len(found) == 1 else None

    return Attributes(
        transaction_id=_transaction_id(values.get(TRANSACTION_ID, [])),
        message_type=_number(single(MESSAGE_TYPE, "messageType"), "messageType", defects),
        sender_nonce=_nonce(single(SENDER_NONCE, "senderNonce"), "senderNonce", defects),
        recipient_nonce=_nonce(
            single(RECIPIENT_NONCE, "recipientNonce"), "recipientNonce", defects
        ),
        pki_status=_number(single(PKI_STATUS, "pkiStatus"), "pkiStatus", defects),
        fail_info=_number(single(FAIL_INFO, "failInfo"), "failInfo", defects),
        fail_info_text=_text(single(FAIL_INFO_TEXT, "failInfoText")),
        hresult=_text(single(MICROSOFT_HRESULT, "HRESULT")),
        signing_time=_signing_time(values.get(SIGNING_TIME, [])),
        defects=tuple(defects),
    )


def write(attributes: Attributes) -> list[tuple[ObjectIdentifier, bytes]]:
    """Return the attributes for a SignerInfo: OID and DER of the one value (section 3.2.1)."""
    transaction_id = attributes.transaction_id
    out = [(TRANSACTION_ID, der.element(transaction_id.tag, transaction_id.value))]
    for oid, number in (
        (MESSAGE_TYPE, attributes.message_type),
        (PKI_STATUS, attributes.pki_status),
        (FAIL_INFO, attributes.fail_info),
    ):
        if number is not None:
            out.append((oid, der.element(_PRINTABLE_STRING, b"%d" % number)))
    for oid, nonce in (
        (SENDER_NONCE, attributes.sender_nonce),
        (RECIPIENT_NONCE, attributes.recipient_nonce),
    ):
        if nonce is not None:
            out.append((oid, der.octet_string(nonce)))
    if attributes.fail_info_text is not None:
        out.append((FAIL_INFO_TEXT, der.element(_UTF8_STRING, attributes.fail_info_text.encode())))
    if attributes.signing_time is not None:
        out.append((SIGNING_TIME, der.time(attributes.signing_time)))
    return out


def _signing_time(values: list[bytes]) -> datetime | None:
    if len(values) != 1:
        return None
    return ber.time(*ber.tag_and_content(values[0]))


def _transaction_id(values: list[bytes]) -> TransactionID:
    if len(values) != 1:
        raise Malformed(f"{len(values)} transactionIDs where one is needed")
    tag, value = ber.tag_and_content(values[0])
    if tag not in _TEXT_TAGS:
        raise Malformed("the transactionID is not a string")
    if not 1 <= len(value) <= MAX_TRANSACTION_ID_SIZE:
        raise Malformed(
            f"a transactionID of {len(value)} octets; 1 to {MAX_TRANSACTION_ID_SIZE} are accepted"
        )
    return TransactionID(value, tag)


def _number(value: bytes | None, name: str, defects: list[str]) -> int | None:
    text = _text(value)
    if text is not None and text.isascii() and text.isdigit() and len(text) <= 3:  # noqa: PLR2004
        return int(text)
    if value is not None:
        defects.append(f"{name} is not a number")
    return None


def _nonce(value: bytes | None, name: str, defects: list[str]) -> bytes | None:
    if value is None:
        return None
    tag, nonce = ber.tag_and_content(value)
    if tag == _OCTET_STRING and 1 <= len(nonce) <= MAX_NONCE_SIZE:
        return nonce
    defects.append(f"{name} is not an OCTET STRING of 1 to {MAX_NONCE_SIZE} octets")
    return None


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    tag, text = ber.tag_and_content(value)
    encoding = _TEXT_TAGS.get(tag)
    if encoding is None or len(text) > _MAX_TEXT_SIZE:
        return None
    return text.decode(encoding, "replace")
