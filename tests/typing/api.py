"""What the public API is to a type checker: mypy reads this file, and nobody runs it.

A change that breaks a caller's types breaks the build here.
"""

import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never, assert_type

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import scepkit
from scepkit import (
    CA,
    BadRequest,
    Certificate,
    CertificationRequest,
    CertPoll,
    CertRep,
    Client,
    Credential,
    Flow,
    Folder,
    GetCert,
    GetCRL,
    HTTPRequest,
    HTTPResponse,
    Issued,
    Pending,
    PKCSReq,
    Refusal,
    Remote,
    RenewalReq,
    Request,
    RequestRefused,
    Responder,
    Revoked,
    ScepError,
    Success,
    VerifiedMessage,
    Wait,
    capabilities,
    generate_key,
    http,
    pkimessage,
    run,
)


def as_a_client(names: list[x509.GeneralName]) -> None:
    client = Client("http://ca.example/scep")
    ca = client.get_ca("sha256:" + 64 * "0")
    assert_type(ca, CA)
    assert_type(client.get_capabilities(), frozenset[str])
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, x509.Name([]), names=names, challenge="secret")
    assert_type(issued, Issued)
    assert_type(issued.certificate, Certificate)
    assert_type(issued.certificate.x509(), x509.Certificate)
    assert_type(issued.certificate.pem(), str)
    assert_type(client.renew(ca, key, issued.certificate, key), Issued)
    assert_type(client.get_next_ca(ca), CA)
    assert_type(client.revoke(ca, key, issued.certificate), Revoked)
    folder = Folder(Path("router1"))
    with folder.locked():
        assert_type(folder.certificate(), Certificate | None)


def what_goes_wrong(client: Client) -> str:
    try:
        client.ask()
    except RequestRefused as error:
        assert_type(error.failure, Refusal)
        return error.hint
    except Remote as error:
        return error.message
    except ScepError as error:
        return error.hint
    return ""


def as_a_server(key: rsa.RSAPrivateKey, own: Credential, body: bytes) -> bytes:
    without_clock = Responder(signer=own, credentials=[own], random=os.urandom)
    assert_type(without_clock.needs_password, bool)
    responder = Responder(
        signer=own, credentials=[own], random=os.urandom, now=lambda: datetime.now(UTC)
    )
    assert_type(capabilities.render(capabilities.offered(())), bytes)
    request = http.read_request(HTTPRequest("POST", b"operation=PKIOperation", body))
    assert_type(request.message, bytes)
    assert_type(pkimessage.parse(body), pkimessage.PKIMessage)
    return responder.respond(request.message, decide)


def decide(request: Request, sender: VerifiedMessage) -> CertRep:
    match request:
        case PKCSReq() | RenewalReq():
            assert_type(request.csr, CertificationRequest)
            assert_type(request.csr.challenge_password, str | None)
            if request.csr.spki != sender.certificate.spki:
                raise BadRequest("signed by another key")
            return Success((b"",))
        case CertPoll() | GetCert() | GetCRL():
            return Pending()
        case _:
            assert_never(request)


def over_a_transport_of_ones_own(flow: Flow[Issued]) -> Issued:
    generator: Generator[HTTPRequest | Wait, HTTPResponse | None, Issued] = flow
    return run(generator, Post(), "http://ca.example/scep")


class Post:
    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, url.encode() + request.body)


def a_name_that_is_not_there() -> None:
    # The comment is unused, which breaks the build, where any name is taken for one of the API.
    _ = scepkit.nothing  # type: ignore[attr-defined]
