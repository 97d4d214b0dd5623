"""Devices that cannot run here, rebuilt by devices.py, with `scep serve`; openssl judges."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import forge
import keys
from der import seq
from interop import devices
from interop.ndes import NDES
from interop.test_openssl import (
    MESSAGE_TYPE,
    PKI_STATUS,
    RECIPIENT_NONCE,
    SENDER_NONCE,
    TRANSACTION_ID,
)

pytestmark = pytest.mark.interop

PKCS8 = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
ATTRIBUTES = {MESSAGE_TYPE, PKI_STATUS, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID}


@pytest.fixture
def key():
    return keys.rsa_key()


@pytest.fixture
def opened(openssl, key, tmp_path):
    """Open a SUCCESS as a device would, and return the file of the issued certificate."""

    def opened(serving, answer):
        assert answer.status.endswith(" 200 OK"), answer
        assert answer.headers["content-type"] == "application/x-pki-message"
        assert answer.headers["content-length"] == str(len(answer.body))
        attributes = openssl.attributes(answer.body)
        assert attributes.keys() >= ATTRIBUTES
        assert attributes[PKI_STATUS] == "PRINTABLESTRING 0"
        secret = tmp_path / "key.pem"
        secret.write_bytes(key.private_bytes(*PKCS8))
        envelope = openssl.signed(answer.body, signer=serving.recipient)
        issued = openssl.certificates(openssl.enveloped(envelope, secret))
        assert issued.count("BEGIN CERTIFICATE") == 1
        certificate = tmp_path / "device.pem"
        certificate.write_text(issued)
        openssl.check_chain(certificate, serving.ca)
        return certificate

    return opened


class TestApple:
    """iOS and macOS: BER with indefinite lengths; one media type for each answer, and no other."""

    pytestmark = pytest.mark.peer("Apple iOS and macOS", role="rebuilt")

    @pytest.mark.does("ca", "caps")
    @pytest.mark.parametrize("layout", ["default", "single"])
    def test_what_it_compares(self, server, layout):
        """Media types octet by octet; keywords in canonical case between line feeds."""
        serving = server(layout)
        target = "/scep?operation=GetCACert&message=Wi-Fi%20of%20the%20house"
        answer = devices.say(serving.url, devices.by_get(target))
        kind = "ca-ra" if serving.has_ra else "ca"
        assert answer.headers["content-type"] == f"application/x-x509-{kind}-cert"
        target = "/scep?operation=GetCACaps&message=Wi-Fi%20of%20the%20house"
        lines = devices.say(serving.url, devices.by_get(target)).body.decode().split("\n")
        assert {"AES", "POSTPKIOperation", "SHA-256"} <= set(lines)

    @pytest.mark.does("enrol")
    @pytest.mark.rfc("P-04")
    @pytest.mark.parametrize("layout", ["default", "single"])
    def test_enrols(self, server, openssl, key, opened, layout):
        """Indefinite lengths at every level, strings in pieces: as DER would be, it is granted."""
        serving = server(layout)
        message = devices.apple(key, serving.challenge(), devices.holder(serving.recipient))
        assert message.startswith(b"\x30\x80\x06")
        content_type = "Content-Type: application/x-pki-message"
        request = devices.by_post("/scep?operation=PKIOperation", message, content_type)
        certificate = opened(serving, devices.say(serving.url, request))
        assert openssl.facts(certificate, "-subject") == "subject=CN=device,O=Interop\n"
        assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
        (line,) = serving.answered("SUCCESS", operation="PKIOperation")
        assert line["transaction_id"] == devices.apple_id(key)

    @pytest.mark.does("poll")
    def test_waits_for_approval(self, server, key, opened):
        """The certificate that signs the poll is another one, for the same key."""
        serving = server("default")
        recipient, issuer = devices.holder(serving.recipient), devices.holder(serving.ca)
        message = devices.apple(key, serving.challenge("manual"), recipient)
        target = "/scep/manual?operation=PKIOperation"
        devices.say(serving.url, devices.by_post(target, message))
        serving.answered("PENDING", message_type="PKCS_REQ")
        serving.approve_next()
        poll = devices.by_post(target, devices.apple_poll(key, issuer, recipient))
        opened(serving, devices.say(serving.url, poll))
        serving.answered("SUCCESS", message_type="CERT_POLL")

    @pytest.mark.does("renew")
    @pytest.mark.rfc("L-12", "P-45")
    def test_renews(self, server, openssl, key, opened):
        """A PKCSReq that the present certificate signs is a renewal, though the id is the same."""
        serving = server("default")
        recipient = devices.holder(serving.recipient)
        target = "/scep?operation=PKIOperation"
        message = devices.apple(key, serving.challenge(), recipient)
        certificate = opened(serving, devices.say(serving.url, devices.by_post(target, message)))
        before = openssl.serial(certificate)
        own = keys.Holder(key, devices.holder(certificate).x509)
        message = devices.apple(key, None, recipient, signer=own)
        certificate = opened(serving, devices.say(serving.url, devices.by_post(target, message)))
        assert openssl.serial(certificate) != before
        _, line = serving.answered("SUCCESS", "SUCCESS", message_type="PKCS_REQ")
        assert int(line["renews"], 16) == int(before, 16)


class TestIOS:
    """Cisco IOS: HTTP/1.0 and GET alone, base64 in lines; old trains MD5 and single DES as well."""

    pytestmark = pytest.mark.peer("Cisco IOS", role="rebuilt", note="MD5 and DES by `legacy`.")

    @pytest.mark.does("ca")
    def test_ca(self, server):
        """The trustpoint's name, which is no CA's here, gets the CA that there is."""
        serving = server("single")
        answer = devices.say(serving.url, devices.ios_get("GetCACert", "trustpoint"))
        assert answer.status.endswith(" 200 OK")
        assert answer.headers["content-type"] == "application/x-x509-ca-cert"

    @pytest.mark.does("enrol")
    @pytest.mark.rfc("P-35", "P-37", "L-02")
    @pytest.mark.parametrize(
        ("layout", "legacy", "digest", "cipher"),
        [
            ("default", "", "sha256", "aes128"),
            ("single", "sha1,des3,des,md5", "md5", "des"),
        ],
    )
    def test_enrols(self, server, openssl, key, opened, layout, legacy, digest, cipher):
        """HTTP/1.0 with base64 in lines: answered with a length, in the request's algorithms."""
        serving = server(layout, legacy)
        recipient = devices.holder(serving.recipient)
        message = devices.ios(key, serving.challenge(), recipient, digest=digest, cipher=cipher)
        request = devices.ios_get("PKIOperation", message)
        assert b"%0A" in request
        answer = devices.say(serving.url, request)
        certificate = opened(serving, answer)
        assert "transfer-encoding" not in answer.headers
        subject = openssl.facts(certificate, "-subject")
        assert "CN=router," in subject
        assert "unstructuredName=router.example" in subject
        assert "serialNumber=9ABCDEF0123" in subject
        assert f"algorithm: {digest} " in openssl.cms(answer.body)
        shown = {"aes128": "aes-128-cbc", "des": "des-cbc"}[cipher]
        assert f"algorithm: {shown} " in openssl.cms(openssl.signed(answer.body))
        (line,) = serving.answered("SUCCESS", operation="PKIOperation")
        assert line.get("legacy", []) == [one for one in ("md5", "des") if one in (digest, cipher)]


class TestSscep:
    """sscep: a self-signed certificate that no strict reader takes."""

    pytestmark = pytest.mark.peer("sscep", role="rebuilt")

    @pytest.mark.does("enrol")
    @pytest.mark.rfc("P-21", "P-22", "P-36", "P-37")
    @pytest.mark.parametrize("layout", ["default", "single"])
    def test_enrols(self, server, openssl, key, opened, layout):
        """No extensions, a serial number of 32 octets, expired; no Content-Type; HTTP/1.0."""
        serving = server(layout)
        message = devices.sscep(key, serving.challenge(), devices.holder(serving.recipient))
        answer = devices.say(serving.url, devices.sscep_post("/scep", message))
        certificate = opened(serving, answer)
        assert openssl.facts(certificate, "-subject") == "subject=CN=device\n"
        assert "algorithm: sha512 " in openssl.cms(answer.body)

    @pytest.mark.does("cert", "crl")
    @pytest.mark.rfc("P-49")
    def test_retrieves(self, server, openssl, key, opened, tmp_path):
        """GetCert and GetCRL under one transactionID, that has a space and is always the same."""
        serving = server("default")
        recipient, issuer = devices.holder(serving.recipient), devices.holder(serving.ca)
        message = devices.sscep(key, serving.challenge(), recipient)
        answer = devices.say(serving.url, devices.sscep_post("/scep", message))
        certificate = opened(serving, answer)
        own, serial = devices.holder(certificate), openssl.serial(certificate)

        def ask(message_type):
            message = devices.sscep_retrieval(message_type, key, own, issuer, recipient)
            answer = devices.say(serving.url, devices.sscep_post("/scep", message))
            envelope = openssl.signed(answer.body, signer=serving.recipient)
            return openssl.certificates(openssl.enveloped(envelope, tmp_path / "key.pem"))

        assert openssl.fingerprints(ask("21")) == openssl.fingerprints(certificate.read_text())
        serving.admin("revoke", serial)
        crl = openssl("crl", "-CAfile", serving.ca, "-noout", "-text", stdin=ask("22").encode())
        assert f"Serial Number: {serial.upper()}\n" in crl.decode()


class TestWindows:
    """The Windows MDM client: a path of its own making, RSAES-OAEP."""

    pytestmark = pytest.mark.peer("Windows MDM client", role="rebuilt")

    @pytest.mark.does("ca", "enrol")
    @pytest.mark.rfc("P-38")
    @pytest.mark.parametrize("layout", ["default", "single"])
    def test_enrols(self, server, openssl, key, opened, layout):
        """`message=default` is no CA's name and is ignored; OAEP is answered with OAEP."""
        serving = server(layout)
        ca = "/scep/pkiclient.exe?operation=GetCACert&message=default"
        assert devices.say(serving.url, devices.by_get(ca)).status.endswith(" 200 OK")
        message = devices.windows(key, serving.challenge(), devices.holder(serving.recipient))
        target = "/scep/pkiclient.exe?operation=PKIOperation"
        answer = devices.say(serving.url, devices.by_post(target, message))
        certificate = opened(serving, answer)
        wrap = forge.body_of(forge.content_of(answer.body))[1][0][2]
        assert wrap.der() == forge.algorithm(forge.RSAES_OAEP, seq())
        assert openssl.facts(certificate, "-subject") == "subject=CN=device\n"


class TestNDES:
    """Microsoft's NDES, with our client: no AES, RA certificates in pairs."""

    pytestmark = pytest.mark.peer(
        "Microsoft NDES", role="rebuilt", note="It needs `--legacy des3`, its failures also `sha1`."
    )

    @pytest.fixture
    def ndes(self):
        with NDES("one-time") as site:
            yield site

    @pytest.mark.does("enrol")
    @pytest.mark.rfc("P-29", "L-01")
    def test_enrols(self, ndes, enroll, openssl, tmp_path):
        """One of the RA's keys opens what is sent, and the other signs the reply."""
        done = enroll(ndes.url, ndes.fingerprint, "one-time", "--legacy", "des3")
        assert done.status == 0, done.err
        files = tmp_path / "device"
        assert openssl.facts(files / "cert.pem", "-subject") == "subject=CN=device,O=Interop\n"

    @pytest.mark.does("refusal")
    @pytest.mark.rfc("P-14", "P-15", "P-08")
    def test_a_failure(self, ndes, enroll, tmp_path):
        """It carries no certificate and a content of one octet; its HRESULT reaches the user."""
        done = enroll(ndes.url, ndes.fingerprint, "wrong", "--legacy", "des3,sha1")
        assert (done.status, done.out) == (1, "")
        assert "error: badRequest: HRESULT 0x80070057" in done.err.splitlines()
        assert not (tmp_path / "device").exists()
