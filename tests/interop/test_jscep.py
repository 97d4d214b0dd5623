"""jscep, by a device of ours that uses it (jscep/Device.java): SHA-512 and AES, by POST, in BER."""

from __future__ import annotations

import pytest

from interop import building
from interop.programs import built, require, run

pytestmark = [
    pytest.mark.interop,
    pytest.mark.peer(f"jscep {building.JSCEP.version}", role="client"),
    pytest.mark.cannot(
        next="it takes the certificates beside the outer signature for the next CA, not those"
        " inside, which are signed (RFC 8894 section 4.7.1)"
    ),
]

LAYOUTS = ["default", "single"]

# A virtual machine that lives for a second compiles little and collects nothing.
QUICKLY = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@pytest.fixture
def device(tmp_path):
    """Run an operation of the device, whose files are in the test's directory."""
    where = built(building.JSCEP)
    (java,) = require("java")

    def device(operation, serving, argument="", *, url=None):
        fingerprint = serving.fingerprint.removeprefix("sha256:")
        return run(
            *(java, *QUICKLY, "-cp", f"{where}/classes:{where}/lib/*", "Device", operation),
            *(url or serving.url, fingerprint, tmp_path, argument),
            cwd=tmp_path,
        )

    return device


@pytest.mark.does("caps", "ca")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_server_shows(server, device, openssl, layout):
    serving = server(layout)
    done = device("caps", serving)
    assert done.status == 0, done.text
    shown = {"AES", "POSTPKIOperation", "SCEPStandard", "SHA-256", "SHA-512"}
    assert shown <= set(done.out.splitlines()[0].strip("[]").split(", "))
    done = device("ca", serving)
    assert done.status == 0, done.text
    files = {serving.ca, serving.recipient}
    ours = {openssl.fingerprints(file.read_text())[0] for file in files}
    assert set(openssl.fingerprints(done.out)) == ours


@pytest.mark.does("enrol")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_enrols(server, tap, device, openssl, tmp_path, layout):
    serving = server(layout)
    wire = tap(serving.url)
    done = device("enrol", serving, serving.challenge(), url=wire.url)
    assert done.out == "SUCCESS\n", done.text
    certificate = tmp_path / "cert.pem"
    openssl.check_chain(certificate, serving.ca)
    assert openssl.facts(certificate, "-subject") == "subject=CN=device,O=Interop\n"
    assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
    serving.answered("SUCCESS", operation="PKIOperation", message_type="PKCS_REQ")
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    # An indefinite length (X.690 8.1.3.6).
    assert exchange.message[:2] == b"\x30\x80"
    assert openssl.signed(exchange.reply, signer=serving.recipient)
    assert "algorithm: sha512 " in openssl.cms(exchange.reply)


@pytest.mark.does("refusal")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_challenge(server, device, tmp_path, layout):
    serving = server(layout)
    done = device("enrol", serving, "wrong")
    assert (done.status, done.out) == (1, "FAILURE badRequest\n")
    assert not (tmp_path / "cert.pem").exists()
    serving.answered("badRequest", operation="PKIOperation")


@pytest.mark.does("retry")
def test_a_lost_reply(server, tap, device, openssl, tmp_path):
    """Java's HTTP client sends the same bytes again by itself, and gets what was issued before."""
    serving = server("default")
    wire = tap(serving.url)
    wire.lose_reply()
    done = device("enrol", serving, serving.challenge(), url=wire.url)
    assert done.out == "SUCCESS\n", done.text
    first, second = wire.pki_operations
    assert first.message == second.message
    line, _ = serving.answered("SUCCESS", "repeated", operation="PKIOperation")
    assert int(line["serial"], 16) == int(openssl.serial(tmp_path / "cert.pem"), 16)


@pytest.mark.does("poll")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_waits_for_approval(server, device, openssl, tmp_path, layout):
    serving = server(layout)
    done = device("enrol", serving, serving.challenge("manual"), url=serving.manual)
    assert done.status == 3, done.text
    transaction_id = done.out.removeprefix("PENDING ").strip()
    again = device("poll", serving, transaction_id, url=serving.manual)
    assert (again.status, again.out) == (3, done.out)
    serving.approve_next()
    done = device("poll", serving, transaction_id, url=serving.manual)
    assert done.out == "SUCCESS\n", done.text
    openssl.check_chain(tmp_path / "cert.pem", serving.ca)
    serving.answered("PENDING", message_type="PKCS_REQ")
    serving.answered("PENDING", "SUCCESS", message_type="CERT_POLL")


@pytest.mark.does("renew", "rekey")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_renews(server, device, openssl, tmp_path, layout):
    """By a PKCSReq, since it knows no other message, that the present certificate signs."""
    serving = server(layout)
    certificate = tmp_path / "cert.pem"
    seen = []
    for operation, secret in (("enrol", serving.challenge()), ("renew", ""), ("rekey", "")):
        done = device(operation, serving, secret)
        assert done.out == "SUCCESS\n", done.text
        openssl.check_chain(certificate, serving.ca)
        seen.append((openssl.serial(certificate), openssl.public_key(certificate)))
    (first, second, third) = seen
    assert len({serial for serial, _ in seen}) == 3
    assert (second[1] == first[1], third[1] == first[1]) == (True, False)
    serving.answered("SUCCESS", "SUCCESS", "SUCCESS", message_type="PKCS_REQ")


@pytest.mark.does("cert", "crl")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_retrieves(server, device, openssl, tmp_path, layout):
    """Its own certificate again, and a CRL that names those revoked."""
    serving = server(layout)
    done = device("enrol", serving, serving.challenge())
    assert done.out == "SUCCESS\n", done.text
    certificate = tmp_path / "cert.pem"
    serial = openssl.serial(certificate)
    done = device("cert", serving, serial)
    assert done.status == 0, done.text
    assert openssl.fingerprints(done.out) == openssl.fingerprints(certificate.read_text())
    serving.admin("revoke", serial)
    done = device("crl", serving)
    assert done.status == 0, done.text
    crl = openssl("crl", "-CAfile", serving.ca, "-noout", "-text", stdin=done.out.encode())
    assert f"Serial Number: {serial.upper()}\n" in crl.decode()


@pytest.mark.does("refusal")
def test_a_certificate_that_there_is_not(server, device):
    serving = server("default")
    done = device("enrol", serving, serving.challenge())
    assert done.out == "SUCCESS\n", done.text
    assert device("cert", serving, "123456").out == "FAILURE badCertId\n"
