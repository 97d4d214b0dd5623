"""A SCEP server on a socket, and a client that does not really sleep."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import httpd
import keys
from client.blocking import Blocking
from httpd import Site
from scepkit.client.aio import AsyncClient
from scepkit.client.aio_http import AsyncHTTPTransport
from scepkit.client.client import Client
from scepkit.client.http import HTTPTransport
from waiting import PATIENCE


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve():
    """Start sites that stop after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *decisions, **how: stack.enter_context(Site(*decisions, **how))


@pytest.fixture
def kind():
    """Whose tests these are: `sync`; a file whose tests are for both clients says so."""
    return "sync"


@pytest.fixture
def new_transport(kind):
    """Return a function that makes a transport; `closing` closes it."""
    if kind == "sync":
        return HTTPTransport
    return lambda **how: Blocking(lambda: AsyncHTTPTransport(**how))


@pytest.fixture
def transport(new_transport):
    with contextlib.closing(new_transport(timeout=PATIENCE)) as made:
        yield made


@pytest.fixture
def connections(monkeypatch):
    """Count the connections that are kept open for later, of all transports that were made."""
    made, really = [], HTTPTransport.__init__

    def note(transport, **how):
        really(transport, **how)
        made.append(transport)

    def count():
        managers = [one for transport in made for one in transport._managers.values()]
        assert managers, "nothing was asked"
        return sum(len(one.pools) for one in managers)

    monkeypatch.setattr(HTTPTransport, "__init__", note)
    return count


@pytest.fixture
def waits():
    """Every wait that a client was asked to make."""
    return []


@pytest.fixture
def connect(kind, transport, waits):
    """Return a client for a site; time passes at once."""

    async def pause(wait):
        waits.append(wait)

    def connect(site, **how):
        if kind == "sync":
            return Client(site.url, transport=transport, pause=waits.append, **how)
        how |= {"transport": transport.made, "pause": pause}
        return Blocking(lambda: AsyncClient(site.url, **how), transport.runner)

    return connect


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory):
    """A CA certificate, and a server's certificate and key for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    key = keys.rsa_key("tls")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.name("tls"))
        .issuer_name(httpd.ca().x509.subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(httpd.today() - httpd.DAY)
        .not_valid_after(httpd.today() + httpd.DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        # Python 3.13 and later insist on it.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(httpd.ca().key.public_key()),
            critical=False,
        )
        .sign(httpd.ca().key, keys.SHA256)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM) + pem)
    (directory / "ca.pem").write_bytes(httpd.ca().x509.public_bytes(Encoding.PEM))
    return directory
