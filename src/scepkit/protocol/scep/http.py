"""SCEP over HTTP (RFC 8894 sections 4 and 6) as values: no connection is made here.

The server's half reads what devices send in place of what the RFC says: raw `+` in a query, base64
broken into lines, base64url, missing padding, a path with something appended.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes

from scepkit.errors import HTTPRefused, Malformed
from scepkit.protocol.value import value

CA_CERT = "application/x-x509-ca-cert"
CA_RA_CERT = "application/x-x509-ca-ra-cert"
NEXT_CA_CERT = "application/x-x509-next-ca-cert"
PKI_MESSAGE = "application/x-pki-message"
TEXT = "text/plain"

# Octets. A pkiMessage with a 8192-bit key and a chain is below 16 KiB; GET adds a third.
MAX_BODY = 128 * 1024
MAX_QUERY = 192 * 1024
_MAX_IDENTIFIER = 255

# Neither DER nor PEM nor base64 begins so.
_MISTAKEN = {b"<": "a web page", b"{": "JSON", b"[": "JSON", b"\x1f\x8b": "compressed data"}

SCEP_PATH = re.compile(
    r"(?P<before>.*?)/(?:scep|cgi-bin/pkiclient\.exe|pkiclient\.exe)"
    r"(?:/(?!cgi-bin(?:/|$))(?P<name>[a-z0-9-]{1,32}))?(?:/cgi-bin)?(?:/pkiclient\.exe)?/?",
    re.IGNORECASE,
)
"""The path of a SCEP server, with the name of an endpoint and what devices append."""


class Operation(StrEnum):
    """RFC 8894 section 4: the `operation` parameter."""

    GET_CA_CAPS = "GetCACaps"
    GET_CA_CERT = "GetCACert"
    GET_NEXT_CA_CERT = "GetNextCACert"
    PKI_OPERATION = "PKIOperation"


_OPERATIONS = {operation.value.lower(): operation for operation in Operation}

# The query of a POST as RFC 8894 section 4.1 has it; nearly all are so.
_POSTED = f"operation={Operation.PKI_OPERATION}".encode("ascii")


@value()
class HTTPRequest:
    """A request of either end.

    Attributes:
        method: GET or POST.
        query: the query, still percent-encoded.
        body: of a POST.
        content_type: of the body; what a server does not look at.
        url: where it goes, if not to the server that a client's flow is run with.
    """

    method: str
    query: bytes
    body: bytes = b""
    content_type: str = ""
    url: str = ""


@value()
class HTTPResponse:
    """An answer of either end.

    Attributes:
        status: the HTTP status.
        body: the body.
        content_type: without parameters, since clients compare it literally.
        headers: further headers.
    """

    status: int
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


@value()
class SCEPRequest:
    """The operation that an HTTP request asks for.

    Attributes:
        operation: which operation.
        message: the pkiMessage of a PKIOperation.
        identifier: the CA identifier of the other operations, as older clients send it (L-05).
    """

    operation: Operation
    message: bytes = b""
    identifier: str = ""


# --- client ---------------------------------------------------------------------------------------


def get(operation: Operation, identifier: str = "") -> HTTPRequest:
    """Return the request for GetCACaps, GetCACert or GetNextCACert (RFC 8894 sections 3.5.1, 4.2).

    Args:
        operation: one of these three.
        identifier: selects among several CAs, for servers that need it.
    """
    query = f"operation={operation.value}"
    if identifier:
        query += f"&message={quote(identifier, safe='')}"
    return HTTPRequest("GET", query.encode("ascii"))


def mistaken(body: bytes) -> str:
    """Name the kind of an answer that no SCEP server gives; "" when it may be one."""
    if not body:
        return "nothing"
    start = body.removeprefix(codecs.BOM_UTF8).lstrip()
    return next((kind for begins, kind in _MISTAKEN.items() if start.startswith(begins)), "")


def pki_operation(message: bytes, *, post: bool) -> HTTPRequest:
    """Return the request for a PKIOperation (RFC 8894 section 4.1).

    Args:
        message: the pkiMessage.
        post: whether the CA takes POST; if so it must be used.
    """
    if post:
        return HTTPRequest("POST", _POSTED, message, PKI_MESSAGE)
    encoded = quote(base64.b64encode(message), safe="")
    return HTTPRequest("GET", _POSTED + b"&message=" + encoded.encode("ascii"))


# --- server ---------------------------------------------------------------------------------------


def read_request(request: HTTPRequest) -> SCEPRequest:
    """Read an HTTP request, as tolerantly as checklist P-35 to P-40 ask.

    Raises:
        HTTPRefused: method, size or operation; it carries the HTTP status.
        Malformed: the message of a GET is not base64.
    """
    if request.method not in ("GET", "POST"):
        raise HTTPRefused(405, f"method {request.method[:16]} is not allowed", allow="GET, POST")
    if len(request.query) > MAX_QUERY:
        raise HTTPRefused(414, f"the query is longer than {MAX_QUERY} octets; use POST")
    if len(request.body) > MAX_BODY:
        raise HTTPRefused(413, f"the body is longer than {MAX_BODY} octets")
    if request.method == "POST" and request.query == _POSTED:
        return SCEPRequest(Operation.PKI_OPERATION, request.body)
    parameters = _parameters(request.query)
    operation = _operation(request.method, parameters.get(b"operation"))
    message = parameters.get(b"message", b"")
    if operation is not Operation.PKI_OPERATION:
        text = unquote_to_bytes(message)[:_MAX_IDENTIFIER].decode("utf-8", "replace")
        return SCEPRequest(operation, identifier=text)
    if request.method == "POST":
        return SCEPRequest(operation, request.body)
    return SCEPRequest(operation, decode_message(message))


def named_operation(method: str, query: bytes) -> str:
    """Name the operation that a request is for, as far as can be told, for the log.

    Args:
        method: its method.
        query: its query string.

    Returns:
        `none` where it names none that there is.
    """
    try:
        return _operation(method, _parameters(query[:MAX_QUERY]).get(b"operation")).value
    except HTTPRefused:
        return "none"


def _parameters(query: bytes) -> dict[bytes, bytes]:
    """Split a query without decoding it; of a repeated parameter the first counts."""
    out: dict[bytes, bytes] = {}
    for part in query.split(b"&", 8):
        name, _, value = part.partition(b"=")
        out.setdefault(name.lower(), value)
    return out


def _operation(method: str, raw: bytes | None) -> Operation:
    if raw is None:
        # A POST can be nothing else, and some clients leave it out (S-4.3-2).
        if method == "POST":
            return Operation.PKI_OPERATION
        raise HTTPRefused(400, "the operation parameter is missing")
    name = unquote_to_bytes(raw).decode("ascii", "replace")
    operation = _OPERATIONS.get(name.lower())
    if operation is None:
        raise HTTPRefused(400, "unknown operation")
    if method == "POST" and operation is not Operation.PKI_OPERATION:
        raise HTTPRefused(400, f"{operation.value} is a GET")
    return operation


_SPACES = re.compile(rb"[\t\n\r]")
_TO_STANDARD = bytes.maketrans(b" -_", b"++/")


def decode_message(raw: bytes) -> bytes:
    """Decode the `message` of a GET PKIOperation (RFC 8894 section 4.1), tolerantly (P-35).

    A space stands for the `+` that a form decoder on the way took it from; line breaks (Cisco IOS),
    base64url (micromdm), missing padding and a second level of percent-encoding are undone.

    Args:
        raw: the parameter's value, still percent-encoded.

    Raises:
        Malformed: what is left is not base64.
    """
    text = unquote_to_bytes(raw)
    if b"%" in text:
        text = unquote_to_bytes(text)
    text = _SPACES.sub(b"", text).translate(_TO_STANDARD).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise Malformed(f"the message is not base64: {error}") from error
