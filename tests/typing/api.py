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
    AsyncClient,
    BadRequest,
    CAInformation,
    Certificate,
    CertificationRequest,
    CertPoll,
    CertRep,
    Client,
    Credential,
    FailInfo,
    FailureReply,
    Flow,
    Folder,
    GetCert,
    GetCRL,
    HTTPRequest,
    HTTPResponse,
    Issued,
    Pending,
    PKCSReq,
    Remote,
    RenewalAdvice,
    RenewalReq,
    Request,
    RequestRefused,
    Responder,
    Revoked,
    ScepError,
    SCEPServer,
    Success,
    VerifiedMessage,
    Wait,
    capabilities,
    flows,
    generate_key,
    http,
    pkimessage,
    prepared_request,
    run,
    run_flow_async,
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
    assert_type(ca.offers_renewal_info, bool)
    assert_type(client.get_renewal_info(issued.certificate), RenewalAdvice)
    assert_type(client.revoke(ca, key, issued.certificate), Revoked)
    folder = Folder(Path("router1"))
    with folder.locked():
        assert_type(folder.certificate(), Certificate | None)


async def as_a_client_of_asyncio(names: list[x509.GeneralName]) -> None:
    async with AsyncClient("http://ca.example/scep") as client:
        assert_type(client, AsyncClient)
        ca = await client.get_ca("sha256:" + 64 * "0")
        assert_type(ca, CA)
        assert_type(await client.get_capabilities(), frozenset[str])
        key = generate_key("rsa:2048")
        issued = await client.enrol(ca, key, "CN=dev1", names=names, challenge="secret")
        assert_type(issued, Issued)
        assert_type(await client.renew(ca, key, issued.certificate, key), Issued)
        assert_type(await client.get_next_ca(ca), CA)
        assert_type(await client.get_renewal_info(issued.certificate), RenewalAdvice)
        assert_type(await client.get_cert(ca, key, issued.certificate), Certificate)
        assert_type(await client.revoke(ca, key, issued.certificate), Revoked)
        assert_type(client.trust(await client.ask(), issued.certificate), CA)
        prepared = prepared_request.of_csr(key, b"")
        assert_type(await client.submit(ca, prepared), Issued)
        assert_type(await client.run(flows.ask(client)), CAInformation)


async def what_a_client_of_asyncio_does_not_take(client: AsyncClient, ca: CA) -> None:
    # A comment that is unused breaks the build: the arguments of methods are checked as well.
    await client.get_ca(1)  # type: ignore[arg-type]
    await client.enrol(ca, generate_key(), "CN=dev1", chalenge="x")  # type: ignore[call-arg]
    AsyncClient("http://ca.example/", transport=Post())  # type: ignore[arg-type]
    Client("http://ca.example/", transport=AsyncPost())  # type: ignore[arg-type]


def what_a_client_does_not_take(client: Client, ca: CA) -> None:
    client.get_ca(1)  # type: ignore[arg-type]
    client.enrol(ca, generate_key(), "CN=dev1", chalenge="x")  # type: ignore[call-arg]


def a_flow_of_ones_own(server: SCEPServer, key: rsa.RSAPrivateKey) -> Flow[Issued]:
    ca = yield from flows.get_ca(server, "sha256:" + 64 * "0")
    assert_type(ca, CA)
    return (yield from flows.enrol(server, ca, key, "CN=dev1"))


class AsyncPost:
    async def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        return HTTPResponse(200, url.encode() + request.body)


async def over_an_async_transport_of_ones_own(flow: Flow[Issued]) -> Issued:
    async def pause(wait: Wait) -> None:
        assert_type(wait.seconds, float)

    AsyncClient("http://ca.example/", transport=AsyncPost(), pause=pause)
    return await run_flow_async(flow, AsyncPost(), "http://ca.example/scep", pause)


def with_a_block() -> frozenset[str]:
    with Client("http://ca.example/scep") as client:
        return client.get_capabilities()


def what_goes_wrong(client: Client) -> str:
    try:
        client.ask()
    except RequestRefused as error:
        assert_type(error.failure, FailureReply)
        assert_type(error.fail_info, FailInfo | None)
        assert_type(error.fail_info_text, str)
        assert_type(error.transaction_id, str)
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
