"""micromdm's scepserver of Debian, with our client.

It says that it can do AES and SHA-256, takes both, and answers in single DES and SHA-1.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from interop.programs import Daemon, require, run, until
from interop.serving import fetch
from scepkit import Client, Legacy, LegacyRefused, RequestRefused, generate_key
from scepkit.client.http import HTTPTransport

pytestmark = pytest.mark.interop

CHALLENGE = "interop-secret"


@dataclass(frozen=True)
class Peer:
    """scepserver as its operator knows it."""

    url: str
    ca: Path
    fingerprint: str


@pytest.fixture(scope="module")
def scepserver(tmp_path_factory):
    """Run scepserver. It listens on all addresses, having no option for that."""
    program, openssl = require("scepserver", "openssl")
    home = tmp_path_factory.mktemp("scepserver")
    made = run(program, "ca", "-init", "-depot", "depot", "-organization", "Interop", cwd=home)
    assert made.status == 0, made.text
    ca = home / "depot" / "ca.pem"
    shown = run(openssl, "x509", "-in", ca, "-noout", "-fingerprint", "-sha256", cwd=home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("-depot", "depot", "-port", port, "-challenge", CHALLENGE)
    # Else it certifies no subject twice.
    options += ("-allowrenew", "0")
    url = f"http://127.0.0.1:{port}/scep"
    with Daemon("scepserver", [program, *options], home) as daemon:
        until(lambda: answers(url, daemon), "scepserver to answer")
        yield Peer(url, ca, shown.out.partition("=")[2].strip())


def answers(url, daemon):
    if daemon.process.poll() is not None:
        pytest.fail(f"scepserver ended: {daemon.said()}")
    try:
        return fetch(f"{url}?operation=GetCACaps") == 200
    except OSError:
        return False


@pytest.fixture
def transport():
    with contextlib.closing(HTTPTransport(timeout=10)) as made:
        yield made


@pytest.mark.parametrize(
    ("options", "algorithm", "hint"),
    [
        ((), "sha1", "--legacy sha1"),
        (("--legacy", "des"), "sha1", "--legacy sha1,des"),
        (("--legacy", "sha1"), "des-cbc", "--legacy sha1,des"),
    ],
)
def test_needs_both_flags(scepserver, enroll, tmp_path, options, algorithm, hint):
    """The error says what would have to be allowed; nothing of the reply is used."""
    done = enroll(scepserver.url, scepserver.fingerprint, CHALLENGE, *options)
    assert (done.status, done.out) == (1, "")
    what = "the CA answered with an algorithm that was not allowed"
    assert done.err.splitlines() == [
        f"the key stays in {tmp_path}/device/key.pem.new: the same command asks again",
        f"error: {what}: {algorithm} is not allowed here",
        f"hint: if it can do no better, allow it: {hint}",
    ]
    assert [path.name for path in (tmp_path / "device").iterdir()] == ["key.pem.new"]


def test_enrols(scepserver, tap, enroll, openssl, tmp_path):
    """What was begun without the flag goes on with it; what we send is modern all the same."""
    wire = tap(scepserver.url)
    done = enroll(wire.url, scepserver.fingerprint, CHALLENGE)
    assert done.status == 1
    done = enroll(wire.url, scepserver.fingerprint, CHALLENGE, "--legacy", "sha1,des")
    assert done.status == 0, done.err
    assert done.err.startswith("continuing the request of ")
    certificate = tmp_path / "device" / "cert.pem"
    openssl.check_chain(certificate, scepserver.ca)
    assert openssl.facts(certificate, "-subject") == "subject=CN=device,O=Interop\n"
    assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
    ours = (tmp_path / "device" / "ca.pem").read_text()
    assert openssl.fingerprints(ours) == openssl.fingerprints(scepserver.ca.read_text())
    for exchange in wire.pki_operations:
        assert exchange.method == "POST"
        envelope = openssl.signed(exchange.message)
        assert "algorithm: sha256 " in openssl.cms(exchange.message)
        assert "algorithm: aes-128-cbc " in openssl.cms(envelope)
        assert "algorithm: sha1 " in openssl.cms(exchange.reply)
        assert "algorithm: des-cbc " in openssl.cms(openssl.signed(exchange.reply))


def test_a_wrong_challenge(scepserver, enroll, tmp_path):
    options = ("--legacy", "sha1,des")
    done = enroll(scepserver.url, scepserver.fingerprint, "wrong", *options)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[0] == "error: badRequest"
    assert list((tmp_path / "device").iterdir()) == []


def test_library(scepserver, transport, openssl, tmp_path):
    key = generate_key()
    strict = Client(scepserver.url, transport=transport)
    with pytest.raises(LegacyRefused, match="sha1") as refused:
        strict.enrol(strict.get_ca(scepserver.fingerprint), key, "CN=device", challenge=CHALLENGE)
    assert "--legacy sha1" in refused.value.hint
    lenient = Client(
        scepserver.url, transport=transport, allowed=frozenset({Legacy.SHA1, Legacy.DES})
    )
    ca = lenient.get_ca(scepserver.fingerprint)
    assert ca.choice.digest.legacy is ca.choice.cipher.legacy is None
    issued = lenient.enrol(ca, key, "CN=device", challenge=CHALLENGE)
    certificate = tmp_path / "device.pem"
    certificate.write_bytes(issued.certificate.public_bytes(Encoding.PEM))
    openssl.check_chain(certificate, scepserver.ca)
    assert issued.certificate.public_key() == key.public_key()
    with pytest.raises(RequestRefused, match="badRequest"):
        lenient.enrol(ca, key, "CN=device", challenge="wrong")
