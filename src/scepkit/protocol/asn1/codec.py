"""Between bytes and the types of `_asn1`: one way in, one way out.

Everything that a peer sent is read through `decode`, so that nothing but our own exceptions
leaves the protocol and BER is accepted at every nesting level.
"""

from __future__ import annotations

from typing import TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV

from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber, der

_T = TypeVar("_T")


def decode(kind: type[_T], data: bytes, what: str) -> _T:
    """Read one element, DER or BER.

    Args:
        kind: a type of `_asn1`.
        data: exactly one element.
        what: how to call it in the error.

    Raises:
        Malformed: it is not a `kind`.
    """
    try:
        return asn1.decode_der(kind, data)
    except ValueError:
        # Strict DER first: it is nearly always that, and 100 times as fast as our own reader.
        pass
    try:
        return asn1.decode_der(kind, ber.to_der(data))
    except ValueError as error:
        raise Malformed(f"not a {what}: {error}") from error


def parse(kind: type[_T], element: TLV, what: str) -> _T:
    """Read an element that is part of something decoded already."""
    try:
        return element.parse(kind)  # type: ignore[no-any-return]
    except ValueError:
        # What is inside an ANY is looked at only now, so BER may show only now.
        return decode(kind, der.encode(element), what)


def anything(der: bytes) -> TLV:
    """Return DER bytes as the element that stands for ANY.

    Raises:
        Malformed: they are not one DER element.
    """
    try:
        return asn1.decode_der(TLV, der)
    except ValueError as error:
        raise Malformed(f"not an ASN.1 element: {error}") from error


def tag_and_content(der: bytes) -> tuple[int, bytes]:
    """Take the first octet of an element's tag, and its content, apart.

    Raises:
        Malformed: it is not one DER element.
    """
    element = anything(der)
    return element.tag_bytes[0], bytes(element.data)
