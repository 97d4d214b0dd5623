"""micromdm's scepserver, Debian's and the newest, with our client.

It says that it can do AES and SHA-256, takes both, and answers in single DES and SHA-1.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import building
from interop.judge import fingerprint
from interop.programs import Daemon, built, expect, require, run
from interop.serving import SCEP, wait_for
from interop.test_openssl import MESSAGE_TYPE
from ports import free_port
from scepkit import Client, Legacy, LegacyRefused, RequestRefused, generate_key
from scepkit.client.http import HTTPTransport
from waiting import PATIENCE

pytestmark = [
    pytest.mark.interop,
    pytest.mark.cannot(
        retry="it issues a second certificate for the same request",
        poll="it decides at once and never answers PENDING",
        cert="it has no GetCert",
        crl="it has no GetCRL",
        next="it has no GetNextCACert",
    ),
]

CHALLENGE = "interop-secret"

NOTE = (
    "It answers in SHA-1 and single DES, whatever it is asked in: `--legacy sha1,des`."
    " It wants its challenge for a renewal as well: `scep renew --challenge`."
)

DEBIAN = pytest.param(
    lambda: require("scepserver")[0],
    marks=pytest.mark.peer("micromdm scepserver 2.1.0 (Debian 12)", role="server", note=NOTE),
    id="2.1.0",
)
NEWEST = pytest.param(
    lambda: built(building.MICROMDM) / "scepserver",
    marks=pytest.mark.peer(
        f"micromdm scepserver {building.MICROMDM.version}", role="server", note=NOTE
    ),
    id=building.MICROMDM.version,
)


@dataclass(frozen=True)
class Peer:
    """scepserver as its operator knows it."""

    url: str
    ca: Path
    fingerprint: str


@pytest.fixture(scope="module", params=[DEBIAN, NEWEST])
def scepserver(request, tmp_path_factory):
    """Run scepserver. It listens on all addresses: Debian's has no option for that."""
    program = request.param()
    home = tmp_path_factory.mktemp("scepserver")
    options = ("-depot", "depot", "-organization", "Interop", "-keySize", 2048)
    made = run(program, "ca", "-init", *options, cwd=home)
    assert made.status == 0, made.text
    ca = home / "depot" / "ca.pem"
    port = free_port()
    options = ("-depot", "depot", "-port", port, "-challenge", CHALLENGE)
    # Else it certifies no subject twice.
    options += ("-allowrenew", "0")
    url = f"http://127.0.0.1:{port}/scep"
    with Daemon("scepserver", [program, *options], home) as daemon:
        wait_for(url, daemon)
        yield Peer(url, ca, fingerprint(ca))


@pytest.fixture
def transport():
    with contextlib.closing(HTTPTransport(timeout=PATIENCE)) as made:
        yield made


def test_debians_version(tmp_path):
    expect("2.1.0", run(*require("scepserver"), "-version", cwd=tmp_path).text)


@pytest.mark.does("caps", "ca")
def test_what_it_shows(scepserver, openssl, tmp_path):
    done = run(*SCEP, "get", "caps", scepserver.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert set(done.out.split()) >= {"AES", "POSTPKIOperation", "Renewal", "SHA-256"}
    done = run(*SCEP, "get", "ca", scepserver.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert openssl.fingerprints(done.out) == [scepserver.fingerprint]


@pytest.mark.does("refusal")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "sha1 and des, which were"),
        (("--legacy", "des"), "sha1, which was"),
        (("--legacy", "sha1"), "des, which was"),
    ],
)
def test_needs_both_flags(scepserver, enroll, tmp_path, options, said):
    """The hint names both, and what is allowed already; nothing of the reply is used."""
    done = enroll(scepserver.url, scepserver.fingerprint, CHALLENGE, *options)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        f"the key stays in {tmp_path}/device/key.pem.new: the same command asks again",
        f"error: the CA answered with {said} not allowed",
        "hint: if it can do no better, allow it: --legacy sha1,des",
    ]
    assert not (tmp_path / "device" / "cert.pem").exists()


@pytest.mark.does("enrol")
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


def test_a_lost_reply(scepserver, tap, enroll, openssl, tmp_path):
    """We ask again for the same key and take what comes, though it is another certificate."""
    wire = tap(scepserver.url)
    wire.lose_reply()
    done = enroll(wire.url, scepserver.fingerprint, CHALLENGE, "--legacy", "sha1,des")
    assert done.status == 0, done.err
    files = tmp_path / "device"
    lost, last = (
        openssl.certificates(openssl.enveloped(openssl.signed(exchange.reply), files / "key.pem"))
        for exchange in wire.pki_operations
    )
    assert openssl.fingerprints(lost) != openssl.fingerprints(last)
    ours = (files / "cert.pem").read_text()
    assert openssl.fingerprints(ours) == openssl.fingerprints(last)


@pytest.mark.does("renew")
def test_renews(scepserver, tap, enroll, renew, openssl, tmp_path):
    """With a RenewalReq, signed with the current certificate."""
    wire = tap(scepserver.url)
    done = enroll(wire.url, scepserver.fingerprint, CHALLENGE, "--legacy", "sha1,des")
    assert done.status == 0, done.err
    certificate = tmp_path / "device" / "cert.pem"
    before = openssl.public_key(certificate), openssl.serial(certificate)
    done = renew("--same-key", challenge=CHALLENGE)
    assert done.status == 0, done.err
    after = openssl.public_key(certificate), openssl.serial(certificate)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    openssl.check_chain(certificate, scepserver.ca)
    attributes = openssl.attributes(wire.pki_operations[-1].message)
    assert attributes[MESSAGE_TYPE] == "PRINTABLESTRING 17"


@pytest.mark.does("rekey")
def test_rekeys(scepserver, enroll, renew, openssl, tmp_path):
    """With a new key: the old one signs the request."""
    done = enroll(scepserver.url, scepserver.fingerprint, CHALLENGE, "--legacy", "sha1,des")
    assert done.status == 0, done.err
    certificate = tmp_path / "device" / "cert.pem"
    before = openssl.public_key(certificate)
    done = renew(challenge=CHALLENGE)
    assert done.status == 0, done.err
    assert openssl.public_key(certificate) != before
    openssl.check_chain(certificate, scepserver.ca)


@pytest.mark.does("refusal")
def test_a_wrong_challenge(scepserver, enroll, tmp_path):
    options = ("--legacy", "sha1,des")
    done = enroll(scepserver.url, scepserver.fingerprint, "wrong", *options)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[0] == "error: badRequest"
    assert not (tmp_path / "device" / "cert.pem").exists()


@pytest.mark.does("enrol", "refusal")
def test_library(scepserver, transport, openssl, tmp_path):
    key = generate_key()
    strict = Client(scepserver.url, transport=transport)
    with pytest.raises(LegacyRefused, match="sha1") as refused:
        strict.enrol(strict.get_ca(scepserver.fingerprint), key, "CN=device", challenge=CHALLENGE)
    assert refused.value.names[:2] == ("sha1", "des")
    lenient = Client(
        scepserver.url, transport=transport, allowed=frozenset({Legacy.SHA1, Legacy.DES})
    )
    ca = lenient.get_ca(scepserver.fingerprint)
    assert ca.choice.digest.legacy is ca.choice.cipher.legacy is None
    issued = lenient.enrol(ca, key, "CN=device", challenge=CHALLENGE)
    certificate = tmp_path / "device.pem"
    certificate.write_bytes(issued.certificate.pem().encode())
    openssl.check_chain(certificate, scepserver.ca)
    assert issued.certificate.public_key == key.public_key()
    with pytest.raises(RequestRefused, match="badRequest"):
        lenient.enrol(ca, key, "CN=device", challenge="wrong")
