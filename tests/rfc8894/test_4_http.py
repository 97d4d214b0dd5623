"""RFC 8894 sections 4 and 6: SCEP over HTTP."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

import forge
import keys
from pair import Pair, Server, grant
from scepkit.errors import HTTPRefused, Malformed, TransportError
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates, http, transaction
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse, Operation, SCEPRequest
from scepkit.protocol.scep.messages import Pending, RenewalReq

# Long enough for every character of base64, padding included.
MESSAGE = bytes(range(256)) + b"\xfb\xff\xfe?>"
STANDARD = base64.b64encode(MESSAGE)


def read(query, method="GET", body=b""):
    return http.read_request(HTTPRequest(method, query, body))


@pytest.mark.rfc("S-4-1", "S-4.3-3", "S-4.3-1")
def test_the_form_of_a_post():
    """POST path?operation=PKIOperation with the raw CMS, application/x-pki-message."""
    assert http.pki_operation(MESSAGE, post=True) == HTTPRequest(
        "POST", b"operation=PKIOperation", MESSAGE, "application/x-pki-message"
    )


@pytest.mark.rfc("S-4-1", "S-4.1-5")
def test_the_form_of_a_get():
    """GET path?operation=PKIOperation&message=: standard base64, then percent-escaped."""
    request = http.pki_operation(MESSAGE, post=False)
    assert (request.method, request.body) == ("GET", b"")
    assert request.query == b"operation=PKIOperation&message=" + quote(STANDARD, safe="").encode()
    assert {b"+", b"/", b"="}.isdisjoint(set(request.query.partition(b"&message=")[2].split()))
    value = request.query.partition(b"&message=")[2]
    assert not {*b"+/=-_ "} & {*value}


@pytest.mark.rfc("S-4.1-4", "S-4.2-1", "S-4.7-1", "S-3.5.1-1")
@pytest.mark.parametrize(
    "operation", [Operation.GET_CA_CAPS, Operation.GET_CA_CERT, Operation.GET_NEXT_CA_CERT]
)
def test_the_other_operations_are_get_without_data(operation):
    """GetCACaps, GetCACert and GetNextCACert are always GET, with no request data."""
    request = http.get(operation)
    assert request == HTTPRequest("GET", b"operation=" + operation.value.encode())
    assert read(request.query) == SCEPRequest(operation)


@pytest.mark.rfc("L-05", "P-38")
@pytest.mark.parametrize("identifier", ["CA", "my profile", "a/b?c&d=e+f", "Zürich", "0", "1.pem"])
def test_a_ca_identifier_may_be_given(identifier):
    """message= on these operations selects a CA: plain text, percent-escaped, not base64."""
    request = http.get(Operation.GET_CA_CERT, identifier)
    assert read(request.query) == SCEPRequest(Operation.GET_CA_CERT, identifier=identifier)


@pytest.mark.rfc("P-38")
@pytest.mark.parametrize(
    "message", [b"", b"&message=", b"&message", b"&message=%ff", b"&message=" + b"x" * 999]
)
def test_a_message_parameter_on_other_operations_does_no_harm(message):
    """A message parameter, also an empty one, is accepted on GetCACaps and its like."""
    found = read(b"operation=GetCACaps" + message)
    assert found.operation is Operation.GET_CA_CAPS
    assert len(found.identifier) <= 255


@pytest.mark.rfc("S-4.1-3", "S-4.3-1", "S-4.4-1")
def test_every_message_goes_by_pkioperation_and_post():
    """PKCSReq, CertPoll and RenewalReq go by operation=PKIOperation, by POST when supported."""
    pair = Pair(Pending(), grant, signer=keys.customer())
    pair.enrol()
    pair.enrol(RenewalReq(pair.csr(None)))
    assert pair.kinds == ["PKCSReq", "CertPoll", "RenewalReq"]
    assert {(t.sent.method, t.sent.query) for t in pair.trips} == {
        ("POST", b"operation=PKIOperation")
    }


@pytest.mark.rfc("S-2.9-2", "S-4-1", "S-4.1-5")
def test_a_whole_enrolment_by_get():
    """Where POST is not supported everything works by GET."""
    pair = Pair(Pending(), grant, caps=["AES", "SHA-256"])
    pair.enrol()
    assert {request.method for request in pair.http} == {"GET"}


@pytest.mark.rfc("S-4.1-6", "P-71", "P-40")
@pytest.mark.parametrize("size", [16 * 1024, 64 * 1024])
def test_long_queries_are_read(size):
    """Request lines of 64 kB and more are taken; past the limit it is HTTP 414, use POST."""
    message = b"m" * size
    assert read(http.pki_operation(message, post=False).query).message == message


@pytest.mark.rfc("S-4.1-6", "P-71", "P-40")
def test_sizes_are_bounded():
    """Too long a query is answered 414, too large a body 413."""
    with pytest.raises(HTTPRefused, match="use POST") as caught:
        read(b"operation=PKIOperation&message=" + b"A" * http.MAX_QUERY)
    assert caught.value.status == 414
    with pytest.raises(HTTPRefused) as caught:
        read(b"", "POST", b"x" * (http.MAX_BODY + 1))
    assert caught.value.status == 413
    assert read(b"", "POST", b"x" * http.MAX_BODY).message


@pytest.mark.rfc("P-71", "P-40", "S-4.1-4")
@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("PUT", b"operation=PKIOperation", 405),
        ("HEAD", b"operation=GetCACaps", 405),
        ("get", b"operation=GetCACaps", 405),
        ("GET", b"", 400),
        ("GET", b"message=x", 400),
        ("GET", b"operation=", 400),
        ("GET", b"operation=Nonsense", 400),
        ("GET", b"operation=%ff%fe", 400),
        ("GET", b"operation=GetCACertChain", 400),
        ("POST", b"operation=GetCACert", 400),
        ("POST", b"operation=GetCACaps", 400),
    ],
)
def test_what_cannot_be_answered(pair, method, query, status):
    """Wrong methods are 405 (Allow: GET, POST), unknown operations 400."""
    with pytest.raises(HTTPRefused) as caught:
        read(query, method)
    assert caught.value.status == status
    assert caught.value.allow == ("GET, POST" if status == 405 else "")
    assert pair.server.handle(HTTPRequest(method, query)).status == status


@pytest.mark.rfc("L-06")
def test_getcacertchain_does_not_crash(pair):
    """The withdrawn GetCACertChain is an unknown operation."""
    assert pair.server.handle(HTTPRequest("GET", b"operation=GetCACertChain")).status == 400


@pytest.mark.rfc("P-36", "S-4.3-2")
@pytest.mark.parametrize("query", [b"", b"message=", b"foo=bar", b"operation=PKIOperation"])
@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "text/plain; charset=x"])
def test_a_post_needs_neither_operation_nor_content_type(query, content_type):
    """POST with missing operation, and missing or foreign Content-Type, is a PKIOperation."""
    request = HTTPRequest("POST", query, MESSAGE, content_type)
    assert http.read_request(request) == SCEPRequest(Operation.PKI_OPERATION, MESSAGE)


@pytest.mark.rfc("L-21")
def test_a_post_is_not_base64():
    """The body of a POST is binary and stays as it is."""
    assert read(b"operation=PKIOperation", "POST", STANDARD).message == STANDARD


@pytest.mark.rfc("S-4-1")
@pytest.mark.parametrize(
    "query",
    [
        b"operation=PKIOperation&message=YWJj",
        b"message=YWJj&operation=PKIOperation",
        b"operation=pkioperation&message=YWJj",
        b"Operation=PKIOperation&Message=YWJj",
        b"operation=%50KIOperation&message=YWJj",
        b"&&operation=PKIOperation&x=y&message=YWJj&",
        b"operation=PKIOperation&message=YWJj&operation=GetCACert&message=eHh4",
        b"operation=PKIOperation&message=YWJj&a&b&c&d&e&f&g&h&i&j",
    ],
)
def test_parameters_are_found_wherever_they_stand(query):
    """Order, case and strangers among the parameters do not matter; the first one counts."""
    assert read(query) == SCEPRequest(Operation.PKI_OPERATION, b"abc")


def breaks(text, every, with_):
    return with_.join(text[i : i + every] for i in range(0, len(text), every))


URLSAFE = base64.urlsafe_b64encode(MESSAGE)
VARIANTS = {
    "as the RFC says": quote(STANDARD, safe="").encode(),
    "lower-case escapes": quote(STANDARD, safe="").lower().encode()
    if STANDARD.islower()
    else STANDARD.replace(b"+", b"%2b").replace(b"/", b"%2f").replace(b"=", b"%3d"),
    "nothing escaped": STANDARD,
    "only = escaped": STANDARD.replace(b"=", b"%3D"),
    "only + escaped": STANDARD.replace(b"+", b"%2B"),
    "+ decoded to a space": STANDARD.replace(b"+", b" "),
    "+ decoded to %20": STANDARD.replace(b"+", b"%20"),
    "LF every 64": breaks(STANDARD, 64, b"%0A"),
    "CRLF every 64": breaks(STANDARD, 64, b"%0D%0A"),
    "LF at the end": breaks(STANDARD, 64, b"%0A") + b"%0A",
    "raw LF": breaks(STANDARD, 64, b"\n"),
    "no padding": STANDARD.rstrip(b"="),
    "base64url": URLSAFE,
    "base64url, no padding": URLSAFE.rstrip(b"="),
    "base64url, escaped": quote(URLSAFE, safe="").encode(),
    "escaped twice": quote(quote(STANDARD, safe=""), safe="").encode(),
    "escaped twice with LF": quote(quote(breaks(STANDARD, 64, b"\n"), safe=""), safe="").encode(),
    "too much padding": STANDARD + b"===",
    "tabs": breaks(STANDARD, 76, b"%09"),
}


@pytest.mark.rfc("P-35")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_every_way_in_which_devices_send_a_get(variant, cut):
    """Raw +, %0A every 64, missing padding, base64url, a second escaping: all are read."""
    assert http.decode_message(VARIANTS[variant]) == MESSAGE
    assert read(b"operation=PKIOperation&message=" + VARIANTS[variant]).message == MESSAGE
    # Every length of padding.
    shorter = base64.b64encode(MESSAGE[: len(MESSAGE) - cut])
    assert http.decode_message(shorter) == MESSAGE[: len(MESSAGE) - cut]


@pytest.mark.rfc("P-35", "P-70")
@pytest.mark.parametrize(
    "sent", [b"!", b"YWJj!", b"A", b"YWJjZ", b"YW=Jj", b"%00", b"%", b"%zz", b"\xff", "ü".encode()]
)
def test_what_is_not_base64_is_http_400(pair, sent):
    """Broken base64 cannot be answered with a CertRep: HTTP 400."""
    with pytest.raises(Malformed, match="not base64"):
        http.decode_message(sent)
    answer = pair.server.handle(HTTPRequest("GET", b"operation=PKIOperation&message=" + sent))
    assert (answer.status, answer.content_type) == (400, "text/plain")


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize("query", [b"operation=PKIOperation", b"operation=PKIOperation&message="])
def test_an_empty_message_is_http_400(pair, query):
    """A PKIOperation without a message is HTTP 400."""
    assert pair.server.handle(HTTPRequest("GET", query)).status == 400
    assert pair.server.handle(HTTPRequest("POST", query)).status == 400


@pytest.mark.rfc("S-6-2")
def test_the_media_types():
    """The media types are those of sections 6.1 to 6.4, without parameters."""
    assert (http.CA_CERT, http.CA_RA_CERT, http.PKI_MESSAGE, http.TEXT) == (
        "application/x-x509-ca-cert",
        "application/x-x509-ca-ra-cert",
        "application/x-pki-message",
        "text/plain",
    )


@pytest.mark.rfc("S-4.2-1", "S-4.7-1", "S-4.1-4")
def test_getcacert_is_asked_for_without_data(pair):
    """operation=GetCACert; no request data."""
    pair.run(transaction.ca_information())
    assert pair.http[1] == HTTPRequest("GET", b"operation=GetCACert")


@pytest.mark.rfc("P-30", "S-6-2")
@pytest.mark.parametrize(
    "content_type",
    [
        *("application/x-x509-ca-cert", "application/x-x509-ca-ra-cert; charset=utf-8", ""),
        *("application/x-x509-ra-ca-certs", "text/html", "application/octet-stream"),
    ],
)
def test_what_getcacert_returned_is_seen_by_parsing(pair, content_type, monkeypatch):
    """Certificate or CMS is decided by parsing the body; the Content-Type is a hint at best."""
    for body, found in (
        (keys.ca().der, 1),
        (signed.certs_only([keys.ra().der, keys.ca().der]), 2),
        (keys.ca().x509.public_bytes(keys.Encoding.PEM), 1),
        (b"\n" + keys.ca().x509.public_bytes(keys.Encoding.PEM) * 2, 2),
    ):
        answer = HTTPResponse(200, body, content_type)
        monkeypatch.setattr(Server, "handle", lambda *_, answer=answer: answer)
        assert len(pair.run(transaction.ca_information()).certificates) == found


@pytest.mark.rfc("P-30")
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"rubbish", b"\x30\x80", signed.certs_only([])),
        forge.signed_data(None, certificates=[keys.ca().der] * 33),
        keys.ca().x509.public_bytes(keys.Encoding.PEM) * 33,
        b"-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_what_holds_no_certificates_is_said_to(body):
    """A body that is neither certificate nor CMS with certificates is an error."""
    with pytest.raises(Malformed):
        ca_certificates.parse(body)


@pytest.mark.rfc("S-4.2-1", "P-79")
def test_getcacert_has_to_be_answered(pair, monkeypatch):
    """Without GetCACert there is nothing to go on with: a transport error."""
    monkeypatch.setattr(Server, "certificates", lambda _: HTTPResponse(404, b"no such CA"))
    with pytest.raises(TransportError, match="HTTP 404: no such CA"):
        pair.run(transaction.ca_information())
