"""Join a client and a server in memory, sync and async: for the tests of your own program."""

import asyncio

import own_server
from cryptography.hazmat.primitives.hashes import SHA256

from scepkit import AsyncClient, Client, HTTPRequest, HTTPResponse, generate_key

URL = "http://ca.example/scep"
FINGERPRINT = own_server.CA.fingerprint(SHA256()).hex()
KEY = generate_key("rsa:2048")


class InMemory:
    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        assert url == URL
        return own_server.serve(request)


class AsyncInMemory:
    async def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        assert url == URL
        return await asyncio.to_thread(own_server.serve, request)


def enrol() -> None:
    client = Client(URL, transport=InMemory())
    issued = client.enrol(client.get_ca(FINGERPRINT), KEY, "CN=sync", challenge="secret")
    print(issued.certificate.subject_name)


async def enrol_async() -> None:
    client = AsyncClient(URL, transport=AsyncInMemory())
    ca = await client.get_ca(FINGERPRINT)
    issued = await client.enrol(ca, KEY, "CN=async", challenge="secret")
    print(issued.certificate.subject_name)


enrol()
asyncio.run(enrol_async())
