"""Requests rebuilt from public reports, as their INDEX says that they are right (tests/vectors).

Their keys are gone, so another key signs the pkiMessage, which an endpoint may allow.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
from enrolment import devices
from enrolment.test_odd_requests import subject_of
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.protocol import csr
from scepkit.protocol.scep.messages import PKCSReq

CASES = Path(__file__).parents[1] / "vectors" / "cases"
UTF8, IA5 = 0x0C, 0x16


def read(name):
    (path,) = CASES.glob(f"{name}-*")
    content = path.read_bytes()
    if path.suffix == ".pem":
        return base64.b64decode(b"".join(content.splitlines()[1:-1]))
    return content


@pytest.fixture
def send(world):
    """Send one of the requests to an endpoint that knows its challenge."""

    def send(name, challenge="CHALLENGE-GOES-HERE"):
        world.use(rule=StaticChallenge(challenge), separate_keys=True)
        return devices.seal(PKCSReq(csr.verify(read(name))), to=world.ra)

    return send


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("01", (UTF8, b"WIN-DEV!0123456789AB")),
        ("02", (UTF8, "ö".encode())),
        ("03a", (IA5, b"dev3@example.com")),
        ("38", (UTF8, "Müller & Söhne".encode())),
    ],
)
def test_odd_names_are_issued(world, send, name, attribute):
    message = send(name, "CHPW" if name == "38" else "CHALLENGE-GOES-HERE")
    issued = subject_of(world.ask(message))
    tag, octets = attribute
    assert any(one[1] == tag and octets in one[2] for one in issued), issued


def test_critical_false_written_out(world, send):
    """Older certmonger, FreeIPA: the dNSName is issued, and the UPN left out."""
    issued = world.ask(send("04")).x509
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [type(one).__name__ for one in names] == ["DNSName"]


def test_both_extension_requests(world, send):
    """FortiGate: issued once, with the names."""
    issued = world.ask(send("06a")).x509
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["server01.example"]


def test_two_different_names(world, send):
    """Refused; who it is may read so, and the log does."""
    message = send("06d")
    assert world.ask(message).refusal[0] == "badRequest"
    assert "two different subjectAltName extensions" in world.reason(message)


def test_a_challenge_as_an_extension(world, send):
    message = send("37")
    assert world.ask(message).refusal[0] == "badRequest"
    assert "among the requested extensions" in world.reason(message)


def test_rsassa_pss(world, send):
    assert world.ask(send("43", "NXTTMLWV7H762RDHYCO4HOVUCRTBVCNJ")).certificate


@pytest.mark.parametrize("mask", ["nombstr", "pkix", "utf8only", "default", "MASK:0x1000"])
def test_what_openssl_writes_for_sscep(world, openssl, tmp_path, mask):
    """sscep sends the PKCS#10 that `openssl req` wrote, with whichever string_mask was in force."""
    device, secret = keys.device(), world.challenge()
    key, config = tmp_path / "key.pem", tmp_path / "req.cnf"
    key.write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    config.write_text(
        f"[req]\nprompt=no\nutf8=yes\nstring_mask={mask}\ndistinguished_name=dn\n"
        "req_extensions=ext\nattributes=at\n"
        "[dn]\nC=CH\nO=Müller & Söhne\nCN=device_1@site\nemailAddress=a@b.example\n"
        "[ext]\nsubjectAltName=DNS:device.example\nbasicConstraints=CA:FALSE\n"
        "keyUsage=critical,digitalSignature,keyEncipherment\n"
        f"[at]\nchallengePassword={secret}\n"
    )
    made = openssl.run("req", "-new", "-key", key, "-config", config, "-outform", "DER")
    issued = world.ask(devices.seal(PKCSReq(csr.verify(made)), to=world.ra)).x509
    assert issued.subject.rfc4514_string() == (
        "1.2.840.113549.1.9.1=a@b.example,CN=device_1@site,O=Müller & Söhne,C=CH"
    )
