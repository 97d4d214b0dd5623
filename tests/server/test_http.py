"""What a real server answers over a real socket (checklist, 2b and 3)."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import forge
import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.protocol.scep.http import MAX_BODY
from server.live import PKI_MESSAGE, PKI_OPERATION, certificates, read_answer

CAPS = "/scep?operation=GetCACaps"
EVERYTHING = (
    b"AES\nPOSTPKIOperation\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\nRenewal\nWhenToRenew\n"
)


def check_refusal(answer, status, body):
    """Hold a refusal to its form: short plain text, of known length, for nobody's cache."""
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["cache-control"] == "no-store"
    assert "transfer-encoding" not in answer.headers


def posted(message, *headers):
    """Return a PKIOperation by POST, as it goes over the wire."""
    head = [f"POST {PKI_OPERATION} HTTP/1.1", "Host: a", f"Content-Length: {len(message)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode("latin-1") + message


def alive(live):
    return live.ask(CAPS).body == EVERYTHING


# --- P-70: nothing that a CertRep could answer ----------------------------------------------------


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<html>",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        forge.signed_data(b"", []),
        forge.request(content=b"x", attributes=[]),
        forge.request(content=b"x", scep={"transaction_id": None}),
        forge.envelope(b"x"),
        forge.csr(),
    ],
    ids=[
        *("empty", "text", "html", "endless", "huge length", "no signer", "no attributes"),
        *("no transactionID", "an envelope", "a bare PKCS#10"),
    ],
)
def test_not_a_pki_message(live, body):
    """What is no signed message with a transactionID is answered HTTP 400, by POST and by GET."""
    check_refusal(live.post(body), 400, b"not a SCEP message\n")
    encoded = quote(base64.b64encode(body), safe="")
    check_refusal(live.ask(f"{PKI_OPERATION}&message={encoded}"), 400, b"not a SCEP message\n")


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_truncated(live, cut):
    """A message that was cut short is answered HTTP 400."""
    message = devices.pkcs_req("guessed", to=live.ra)
    check_refusal(live.post(message[: int(len(message) * cut)]), 400, b"not a SCEP message\n")


@pytest.mark.rfc("P-70")
@pytest.mark.parametrize("message", ["M", "!!!!", "MII=MII=", "%ff%fe", "%", "MIIB%00AAA", "é"])
def test_broken_base64(live, message):
    """A GET whose message is not base64 is answered HTTP 400."""
    request = f"GET {PKI_OPERATION}&message={message} HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = live.raw(request.encode("latin-1"))
    assert answer.status == 400
    assert alive(live)


# --- P-71: HTTP itself ----------------------------------------------------------------------------


@pytest.mark.rfc("P-71", "P-40", "S-4.1-6")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 10 * 1024 * 1024])
def test_a_body_that_is_too_large(live, size, chunked):
    """413, whether the client says the size beforehand or not."""
    body = bytes(size)
    pieces = (body[at : at + 65536] for at in range(0, size, 65536))
    answer = live.ask(
        PKI_OPERATION, "POST", pieces if chunked else body, PKI_MESSAGE, encode_chunked=chunked
    )
    check_refusal(answer, 413, f"the body is larger than {MAX_BODY} octets\n".encode())


@pytest.mark.rfc("P-40")
@pytest.mark.parametrize("chunked", [False, True])
def test_the_largest_body(live, chunked):
    """A body of exactly the limit is read; it is only no SCEP message."""
    pieces = iter([bytes(MAX_BODY // 2)] * 2)
    body = pieces if chunked else bytes(MAX_BODY)
    answer = live.ask(PKI_OPERATION, "POST", body, PKI_MESSAGE, encode_chunked=chunked)
    check_refusal(answer, 400, b"not a SCEP message\n")


def test_a_body_that_is_refused_before_it_is_sent(live):
    """Who waits for "100 Continue" need not send what is too large."""
    head = f"POST {PKI_OPERATION} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    too_large = f"{head}Content-Length: {MAX_BODY + 1}\r\n\r\n".encode()
    assert live.raw(too_large).status == 413
    with live.connect() as connection:
        connection.sendall(f"{head}Content-Length: 5\r\n\r\n".encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        check_refusal(read_answer(connection), 400, b"not a SCEP message\n")


@pytest.mark.rfc("P-71", "P-40")
def test_a_query_that_is_too_long(live):
    """414 for a query above the limit; below it, 16 KiB and more, a GET is read."""
    longest = 65535 - len(f"{PKI_OPERATION}&message=")
    target = f"{PKI_OPERATION}&message={'A' * longest}"
    check_refusal(live.ask(target), 400, b"not a SCEP message\n")
    text = b"the URL is longer than 65535 octets; use POST\n"
    check_refusal(live.ask(f"{target}A"), 414, text)
    check_refusal(live.ask(f"{target}{'A' * 65536}"), 414, text)


@pytest.mark.rfc("P-40")
@pytest.mark.parametrize("what", ["URL", "header", "headers"])
def test_a_head_that_is_too_large(live, what):
    """A head that does not end is not listened to for ever: the connection is closed."""
    endless = {
        "URL": [b"GET /scep?"] + [b"a" * 65536] * 5,
        "header": [b"GET /scep HTTP/1.1\r\nX: "] + [b"a" * 65536] * 16,
        "headers": [
            b"GET /scep HTTP/1.1\r\n",
            *(b"X-%d: %s\r\n" % (i, b"a" * 999) for i in range(400)),
        ],
    }[what]
    with live.connect() as connection:
        # The server may have closed before we are done.
        with contextlib.suppress(ConnectionError):
            for piece in endless:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            received = connection.recv(100)
            assert received[9:12] in (b"400", b"414", b"")
            while connection.recv(65536):
                pass
    assert alive(live)


@pytest.mark.rfc("P-71", "P-40")
@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"]
)
@pytest.mark.parametrize("target", [CAPS, PKI_OPERATION, "/scep"])
def test_another_method(live, method, target):
    """405 with Allow, whatever the operation."""
    answer = live.ask(target, method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"
    if method != "HEAD":
        check_refusal(answer, 405, f"method {method} is not allowed\n".encode())


@pytest.mark.rfc("P-71", "L-06")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", ["GetCACertChain", "nonsense", "", "PKIOperation%00"])
def test_an_unknown_operation(live, method, name):
    """400 for an operation that RFC 8894 does not define."""
    answer = live.ask(f"/scep?operation={name}", method, b"x" if method == "POST" else None)
    check_refusal(answer, 400, b"unknown operation\n")


@pytest.mark.rfc("S-4.3-2", "P-36", "P-71", "A-11")
def test_no_operation(live, challenge):
    """A POST can only be a PKIOperation; a GET without an operation is nothing."""
    check_refusal(live.ask("/scep"), 400, b"the operation parameter is missing\n")
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id="no operation")
    assert live.read(live.ask("/scep", "POST", message)).certificate


def test_an_operation_that_is_a_get(live):
    """GetCACaps by POST is refused."""
    check_refusal(live.ask(CAPS, "POST", b""), 400, b"GetCACaps is a GET\n")


@pytest.mark.rfc("P-71")
@pytest.mark.parametrize(
    "path",
    ["/scep/other", "/scep/other/pkiclient.exe", "/scep/default/x", "/scep/../scep"],
)
def test_an_unknown_endpoint(live, path):
    """404 for an endpoint that is not there."""
    check_refusal(live.ask(f"{path}?operation=GetCACaps"), 404, b"no such SCEP endpoint\n")


def test_another_path(live):
    """What is no path of the server's is answered 404 by whoever routes."""
    for path in ("/", "/other", "/scepother", "/metricss", "/SCEP"):
        assert live.ask(path).status == 404


@pytest.mark.rfc("P-37", "S-4.1-1", "S-4.1-2")
@pytest.mark.parametrize(
    "path",
    [
        *("/scep", "/scep/", "/scep/pkiclient.exe", "/scep/default", "/scep/default/pkiclient.exe"),
        *(
            "/cgi-bin/pkiclient.exe",
            "/cgi-bin/pkiclient.exe/",
            "/cgi-bin/pkiclient.exe/pkiclient.exe",
        ),
        *("//scep", "/scep//")[1:],
    ],
)
def test_paths(live, path):
    """Devices append what they like; none of it is answered with a redirect."""
    answer = live.ask(f"{path}?operation=GetCACaps")
    assert (answer.status, answer.body) == (200, EVERYTHING)


# --- P-72 to P-77: what a CertRep can answer ------------------------------------------------------


@pytest.mark.rfc("P-72", "S-4.3.1-2", "S-3.3.2.2-1")
@pytest.mark.parametrize(
    "knobs",
    [
        {"signature": bytes(256)},
        {"signed_digest": bytes(32)},
        {"certificates": [forge.certificate(keys.rsa_key("stranger"))]},
    ],
    ids=["signature", "messageDigest", "no certificate of the signer"],
)
def test_an_integrity_check_that_fails(live, knobs):
    """200 and FAILURE(badMessageCheck)."""
    assert live.read(live.post(forge.request(**knobs))).refusal[0] == "badMessageCheck"


@pytest.mark.rfc("P-73", "S-3.3.2.2-1")
@pytest.mark.parametrize(
    "write",
    [
        lambda ra: forge.request(forge.csr(), recipient=ra, digest="sha1"),
        lambda ra: forge.request(forge.csr(), recipient=ra, digest="md5"),
        lambda ra: forge.request(forge.csr(), recipient=ra, cipher="des3"),
        lambda ra: forge.request(forge.csr(), recipient=ra, cipher="des"),
        lambda ra: forge.request(forge.csr(digest="sha1"), recipient=ra),
    ],
    ids=["SHA-1", "MD5", "3DES", "DES", "SHA-1 in the PKCS#10"],
)
def test_an_algorithm_that_is_not_allowed(live, write):
    """200 and FAILURE(badAlg)."""
    recipient = keys.Holder(keys.ra().key, live.ra.x509())
    recipient = forge.Odd(_Recipient(live.ra.public_key), live.ra.der)
    assert live.read(live.post(write(recipient))).refusal[0] == "badAlg"


class _Recipient:
    """What `forge.recipient_info` needs of a key whose private half the server has."""

    def __init__(self, public_key):
        self.public_key = lambda: public_key


@pytest.mark.rfc("P-75", "P-59", "S-3.3.2.2-1")
def test_refusals_of_content_and_policy(live, challenge):
    """200 and FAILURE(badRequest)."""
    ra = live.ra
    messages = {
        "for somebody else": forge.request(forge.csr(), recipient=keys.ra()),
        "not a PKCS#10": devices.seal(
            devices.GetCert(devices.NAMES[0], 1), to=ra, transaction_id="what"
        ).replace(forge.printable("21"), forge.printable("19")),
        "guessed": devices.pkcs_req("guessed", to=ra),
        "none": devices.pkcs_req(to=ra),
        "renewal by nobody": devices.renewal_req(challenge, to=ra),
        "unknown messageType": forge.request(scep={"message_type": "99"}),
    }
    answers = {name: live.read(live.post(m)).refusal for name, m in messages.items()}
    del answers["not a PKCS#10"]  # the signature covers the messageType
    assert {name: one[0] for name, one in answers.items()} == dict.fromkeys(answers, "badRequest")
    assert answers["guessed"] == answers["none"] == REFUSAL


@pytest.mark.rfc("P-76", "S-3.3.2.2-1")
def test_what_is_not_there(live):
    """200 and FAILURE(badCertId)."""
    wanted = [
        devices.cert_poll(to=live.ra, transaction_id="never seen"),
        devices.get_cert(to=live.ra),
        devices.get_crl(to=live.ra),
    ]
    for message in wanted:
        assert live.read(live.post(message)).refusal[0] == "badCertId"


# --- GetCACaps, GetCACert, GetNextCACert ----------------------------------------------------------


@pytest.mark.rfc("P-38", "L-05")
@pytest.mark.parametrize(
    "message", ["", "&message", "&message=", "&message=my%20CA", "&message=a=b"]
)
def test_a_ca_identifier(live, message):
    """The `message` parameter of the older drafts changes nothing."""
    caps = live.ask(CAPS + message)
    assert (caps.status, caps.body) == (200, EVERYTHING)
    assert caps.headers["content-type"] == "text/plain"
    assert caps.headers["content-length"] == str(len(EVERYTHING))
    plain = live.ask("/scep?operation=GetCACert")
    assert live.ask("/scep?operation=GetCACert" + message).body == plain.body
    assert live.ask("/scep?operation=GetNextCACert" + message).status == 404


@pytest.mark.rfc("S-4.2.1.2-1", "P-53", "S-7.2-1")
def test_ca_and_ra(live):
    """RA and CA go out in a certs-only message."""
    answer = live.ask("/scep?operation=GetCACert")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/x-x509-ca-ra-cert"
    assert answer.headers["content-length"] == str(len(answer.body))
    ra, ca = certificates(answer)
    pem = (live.directory / "ca.pem").read_bytes()
    assert ca == x509.load_pem_x509_certificate(pem)
    ra.verify_directly_issued_by(ca)
    assert f"sha256:{ca.fingerprint(keys.SHA256).hex()}" == live.fingerprint


@pytest.mark.rfc("P-42", "P-71")
def test_no_next_ca(live):
    """Without a next CA certificate: HTTP 404, and the keyword is not offered."""
    answer = live.ask("/scep?operation=GetNextCACert")
    check_refusal(answer, 404, b"this CA has no next certificate\n")
    assert b"GetNextCACert" not in live.ask(CAPS).body


# --- how clients talk -----------------------------------------------------------------------------


@pytest.mark.rfc("S-4.3.1-1", "S-4.3.1-2", "P-39", "S-4.3-1", "S-7.10-1")
def test_an_enrolment(live, challenge):
    """A PKCSReq by POST: the certificate, in a CertRep of exactly one media type."""
    reply = live.enrol(challenge, transaction_id="an enrolment")
    ca = x509.load_pem_x509_certificate((live.directory / "ca.pem").read_bytes())
    reply.x509.verify_directly_issued_by(ca)


@pytest.mark.rfc("P-35", "S-4.1-5")
@pytest.mark.parametrize(
    "write",
    [
        lambda text: quote(text, safe=""),
        lambda text: text,
        lambda text: text.replace("=", "%3D"),
        lambda text: text.rstrip("="),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: "%0A".join(text[at : at + 64] for at in range(0, len(text), 64)) + "%0A",
        lambda text: "%0D%0A".join(text[at : at + 76] for at in range(0, len(text), 76)),
        lambda text: text.replace("+", "%20"),
    ],
    ids=["escaped", "raw", "= only", "unpadded", "base64url", "twice", "IOS", "CRLF", "space"],
)
def test_get(live, challenge, write):
    """A PKIOperation by GET, in all the ways that devices write it."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id=challenge[::-1])
    text = write(base64.b64encode(message).decode())
    answer = live.raw(f"GET {PKI_OPERATION}&message={text} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert live.read(answer).certificate


@pytest.mark.rfc("P-36")
@pytest.mark.parametrize(
    "content_type",
    [None, "text/xml", "application/x-www-form-urlencoded", "application/octet-stream; a=b", "é"],
)
def test_content_types(live, challenge, content_type):
    """The Content-Type of a request does not matter, nor whether there is one."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id=challenge[::-1])
    headers = [f"Content-Type: {content_type}"] if content_type else []
    assert live.read(live.raw(posted(message, *headers))).certificate


@pytest.mark.rfc("P-37")
def test_http_1_0(live, challenge):
    """HTTP/1.0 without Host: a length, no chunks, and the connection is closed."""
    caps = b"GET /scep/pkiclient.exe?operation=GetCACaps HTTP/1.0\r\n\r\n"
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id="1.0")
    post = f"POST /scep HTTP/1.0\r\nContent-Length: {len(message)}\r\n\r\n".encode() + message
    for request in (caps, post):
        with live.connect() as connection:
            connection.sendall(request)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        headers = head.lower().split(b"\r\n")
        assert headers[0].endswith(b" 200 ok")
        assert b"content-length: %d" % len(body) in headers
        assert not any(line.startswith(b"transfer-encoding") for line in headers)
        assert b"connection: close" in headers
    assert devices.read(body, live.ra).certificate


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        ("1.1", [], 400),
        ("1.1", ["Host: a"], 200),
        ("1.1", ["Host:"], 200),
        ("1.1", ["Host: a", "Host: b"], 400),
        ("1.1", ["Host: a", "hOST: a"], 400),
        ("1.0", ["Host: a"], 200),
        ("1.0", ["Host: a", "Host: a"], 400),
    ],
)
def test_which_host_is_meant(live, version, hosts, status):
    """Whoever stands in between must not read another Host than the server (RFC 9112, 3.2)."""
    head = "\r\n".join([f"GET {CAPS} HTTP/{version}", *hosts, "", ""])
    assert live.raw(head.encode()).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Authorization: Bearer a"], 200),
        (["Authorization: Bearer a", "authorization: Bearer b"], 400),
        (["Idempotency-Key: a", "Authorization: Bearer a"], 200),
        (["Idempotency-Key: a", "Authorization: Bearer a", "Idempotency-Key: a"], 400),
    ],
)
def test_who_asks_is_said_once(live, headers, status):
    """Whoever stands in between must not have looked at another one than the server."""
    head = "\r\n".join([f"GET {CAPS} HTTP/1.1", "Host: a", *headers, "", ""])
    answer = live.raw(head.encode())
    assert answer.status == status
    assert b"Bearer" not in answer.body


def test_operations_and_parameters_in_any_case(live):
    """Some clients write the operation as they please; the first of several counts."""
    for query in (
        "OPERATION=getcacaps",
        "operation=GetCACaps&operation=x",
        "a=b&operation=GETCACAPS",
    ):
        assert live.ask(f"/scep?{query}").body == EVERYTHING


def test_a_connection_that_is_kept(live, challenges):
    """Many requests over one connection, answers of every kind among them."""
    with live.connect() as connection:
        for secret in challenges(live.directory, 3):
            message = devices.pkcs_req(secret, to=live.ra, transaction_id=secret[::-1])
            connection.sendall(posted(message))
            assert live.read(read_answer(connection)).certificate
            connection.sendall(b"GET /scep?operation=nonsense HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(connection).status == 400
            connection.sendall(posted(bytes(MAX_BODY + 1)))
            assert read_answer(connection).status == 413


def test_pipelined_requests(live, challenge):
    """Requests that do not wait for each other's answers are answered in their order."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id="pipelined")
    requests = [
        posted(message),
        b"GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: a\r\n\r\n",
        posted(message),
        b"GET /scep?operation=nonsense HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ]
    with live.connect() as connection:
        connection.sendall(b"".join(requests))
        # One reader for all: what it read ahead belongs to the next answer.
        with connection.makefile("rb") as stream:
            shared = _Stream(stream)
            first, caps, again, last = (read_answer(shared) for _ in requests)
    assert caps.body == EVERYTHING
    assert last.status == 400
    assert live.read(first).certificate == live.read(again).certificate


class _Stream:
    """A socket whose every `makefile` is the same unclosable file."""

    def __init__(self, stream):
        self._stream = stream

    def makefile(self, *_how):
        return self

    def __getattr__(self, name):
        return (lambda: None) if name in ("close", "flush") else getattr(self._stream, name)


def test_two_connections_at_once(live, challenge):
    """Certmonger holds a second connection open while it asks over the first."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id="two at once")
    with live.connect() as one, live.connect() as other:
        one.sendall(posted(message)[:200])
        other.sendall(f"GET {CAPS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert read_answer(other).body == EVERYTHING
        one.sendall(posted(message)[200:])
        other.sendall(f"GET {CAPS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert live.read(read_answer(one)).certificate
        assert read_answer(other).body == EVERYTHING


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_hangs_up(live, challenge, reset):
    """A client that goes away in the middle of its body leaves nothing behind."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id=f"gone {reset}")
    with live.connect() as connection:
        connection.sendall(posted(message)[:-1])
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert alive(live)
    assert live.read(live.post(message)).certificate
    assert "Exception" not in live.log


def test_a_client_that_does_not_read_its_answer(live, challenge):
    """A client that goes away before its answer gets the same certificate when it comes again."""
    message = devices.pkcs_req(challenge, to=live.ra, transaction_id="unread")
    with live.connect() as connection:
        connection.sendall(posted(message))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    first, again = (live.read(live.post(message)) for _ in range(2))
    assert first.certificate == again.certificate
    assert "Exception" not in live.log


def test_what_is_no_http(live):
    """Bytes that are not HTTP end the connection and nothing else."""
    for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n\r\n\r\nHELLO\r\n\r\n", b"GET\r\n\r\n"):
        with live.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(rubbish)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert alive(live)


@pytest.mark.rfc("P-37", "P-39")
def test_no_answer_is_chunked(live, challenge):
    """Every answer says its length, whatever was asked."""
    targets = [CAPS, "/scep?operation=GetCACert", "/scep", "/scep/other", "/other", "/healthz"]
    targets += ["/metrics", PKI_OPERATION]
    answers = [live.ask(target) for target in targets]
    answers.append(live.post(devices.pkcs_req(challenge, to=live.ra, transaction_id="length")))
    for answer in answers:
        assert answer.headers["content-length"] == str(len(answer.body))
        assert "transfer-encoding" not in answer.headers
        assert answer.version == 11


def test_what_the_server_says_of_itself(live):
    """No answer tells which software in which version answered."""
    headers = live.ask(CAPS).headers
    assert "server" not in headers
    assert set(headers) == {"date", "content-type", "content-length"}


def test_the_ca_in_pem(live):
    """GetCACert is DER, never PEM."""
    answer = live.ask("/scep?operation=GetCACert")
    assert b"-----BEGIN" not in answer.body
    assert certificates(answer)[1].public_bytes(Encoding.DER) in answer.body
