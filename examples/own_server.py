"""A SCEP server of your own in a hundred lines: the standard library's HTTP, a CA in memory.

It enrols whoever knows the challenge "secret", and forgets everything when it stops; `scep serve`
is the one that remembers.
"""

import os
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepkit import (
    BadAlg,
    BadRequest,
    Certificate,
    CertRep,
    Credential,
    HTTPRefused,
    HTTPRequest,
    HTTPResponse,
    Malformed,
    PKCSReq,
    PSSPublicKey,
    Request,
    Responder,
    Success,
    VerifiedMessage,
    capabilities,
    http,
)

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example CA")])
KEY = rsa.generate_private_key(65537, 2048)


def certify(subject: x509.Name, key: CertificatePublicKeyTypes, *, ca: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(NAME)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(KEY, SHA256())
    )


CA = certify(NAME, KEY.public_key(), ca=True)
CREDENTIAL = Credential(KEY, Certificate.of(CA))
RESPONDER = Responder(
    signer=CREDENTIAL,
    credentials=[CREDENTIAL],
    random=os.urandom,
    now=lambda: datetime.now(UTC),
)


def decide(request: Request, sender: VerifiedMessage) -> CertRep:
    if not isinstance(request, PKCSReq) or request.csr.challenge_password != "secret":
        raise BadRequest("not with that challenge")
    # Else whoever records this request can sign it as their own, and gets the answer.
    is_renewal = sender.certificate.is_signed_with(CREDENTIAL.certificate.spki, frozenset())
    if request.csr.key_hash != sender.certificate.key_hash and not is_renewal:
        raise BadRequest("signed by another key than it is for")
    key = request.csr.public_key
    if isinstance(key, PSSPublicKey):
        raise BadAlg("keys for RSASSA-PSS alone are not certified here")
    certificate = certify(request.csr.subject.x509(), key, ca=False)
    return Success((certificate.public_bytes(Encoding.DER),))


def serve(request: HTTPRequest) -> HTTPResponse:
    try:
        return HTTPResponse(200, answer(http.read_request(request)), http.PKI_MESSAGE)
    except HTTPRefused as error:
        return HTTPResponse(error.status, error.message.encode())
    except Malformed as error:
        return HTTPResponse(400, error.message.encode())


def answer(request: http.SCEPRequest) -> bytes:
    if request.operation is http.Operation.GET_CA_CAPS:
        return capabilities.render(capabilities.offered(()))
    if request.operation is http.Operation.GET_CA_CERT:
        return CA.public_bytes(Encoding.DER)
    return RESPONDER.respond(request.message, decide)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), http.MAX_BODY))
        query = self.path.partition("?")[2].encode()
        response = serve(HTTPRequest(self.command, query, body))
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/scep")
        print(f"sha256:{CA.fingerprint(SHA256()).hex()}", flush=True)
        server.serve_forever()
