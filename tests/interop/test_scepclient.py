"""micromdm's scepclient of Debian: SHA-1 and single DES are all it knows, by POST.

It writes client.key, csr.pem and client.pem, and takes what is there when it is run again: so the
same command is the retry after a lost reply. As soon as client.pem exists it asks for a renewal.
"""

from __future__ import annotations

import pytest

from interop.programs import require, run

pytestmark = pytest.mark.interop

BOTH = "sha1,des"


@pytest.fixture
def device(tmp_path):
    """Run scepclient for a device and return what it said."""
    (program,) = require("scepclient")

    def device(url, challenge, *options):
        names = ("-cn", "device", "-organization", "Interop", "-ou", "Tests", "-country", "CH")
        files = ("-private-key", "client.key", "-certificate", "client.pem")
        return run(
            *(program, "-server-url", url, "-challenge", challenge, *files, *names, *options),
            cwd=tmp_path,
        )

    return device


def fingerprint(openssl, certificate):
    return openssl.fingerprints(certificate.read_text())[0]


@pytest.mark.parametrize(("layout", "legacy"), [("default", ""), ("single", ""), ("single", "des")])
def test_its_algorithms_are_refused(server, device, tmp_path, layout, legacy):
    """Neither of the two is enough alone; the client names the failInfo."""
    serving = server(layout, legacy)
    done = device(serving.url, serving.challenge())
    assert done.status == 1
    assert done.out == "PKCSReq (19) request failed, failInfo: badAlg (0)\n"
    assert not (tmp_path / "client.pem").exists()
    (line,) = serving.answered("badAlg", operation="PKIOperation")
    assert "name 'sha1' in the legacy setting" in line["reason"]


@pytest.mark.parametrize("layout", ["default", "single"])
def test_enrols_where_both_are_allowed(server, tap, device, openssl, tmp_path, layout):
    serving = server(layout, BOTH)
    wire = tap(serving.url)
    done = device(wire.url, serving.challenge())
    assert done.status == 0, done.text
    assert 'msg="server returned a certificate."' in done.err
    certificate = tmp_path / "client.pem"
    openssl.check_chain(certificate, serving.ca)
    assert openssl.facts(certificate, "-subject") == "subject=CN=device,OU=Tests,O=Interop,C=CH\n"
    (line,) = serving.answered("SUCCESS", operation="PKIOperation")
    assert line["legacy"] == ["sha1", "des"]
    assert int(line["serial"], 16) == int(openssl.serial(certificate), 16)
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    # The reply is in the algorithms of the request.
    reply = openssl.signed(exchange.reply, signer=serving.recipient)
    assert "algorithm: sha1 " in openssl.cms(exchange.reply)
    assert "algorithm: des-cbc " in openssl.cms(reply)
    issued = openssl.certificates(openssl.enveloped(reply, tmp_path / "client.key"))
    assert openssl.fingerprints(issued) == openssl.fingerprints(certificate.read_text())


@pytest.mark.parametrize("layout", ["default", "ec"])
def test_enrols_with_the_certificate_that_was_chosen(server, device, openssl, tmp_path, layout):
    """It encrypts to every certificate it is shown, and dies of an EC one; unless it is told which.

    That one must be the RA's then, since it verifies the reply with no other either.
    """
    serving = server(layout, BOTH)
    which = fingerprint(openssl, serving.recipient)
    done = device(serving.url, serving.challenge(), "-ca-fingerprint", which)
    assert done.status == 0, done.text
    openssl.check_chain(tmp_path / "client.pem", serving.ca)


@pytest.mark.parametrize("layout", ["default", "single"])
def test_a_wrong_challenge(server, device, tmp_path, layout):
    serving = server(layout, BOTH)
    done = device(serving.url, "wrong")
    assert done.status == 1
    assert done.out == "PKCSReq (19) request failed, failInfo: badRequest (2)\n"
    assert not (tmp_path / "client.pem").exists()
    serving.answered("badRequest", operation="PKIOperation")


def test_a_lost_reply(server, tap, device, openssl, tmp_path):
    """The same request and its spent challenge get the certificate that was issued the first time.

    Also a third time, under another path.
    """
    serving = server("default", BOTH)
    challenge = serving.challenge()
    wire = tap(serving.url)
    wire.lose_reply()
    done = device(wire.url, challenge)
    assert done.status == 1
    assert not (tmp_path / "client.pem").exists()
    serials = set()
    for url in (wire.url, f"{wire.origin}/cgi-bin/pkiclient.exe"):
        done = device(url, challenge)
        assert done.status == 0, done.text
        serials.add(openssl.serial(tmp_path / "client.pem"))
        (tmp_path / "client.pem").unlink()
    lines = serving.answered("SUCCESS", "repeated", "repeated", operation="PKIOperation")
    assert len({line["transaction_id"] for line in lines}) == 1
    assert {int(serial, 16) for serial in serials} == {int(lines[0]["serial"], 16)}


@pytest.mark.parametrize("path", ["/scep/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/scep/"])
def test_paths_that_devices_make_up(server, device, openssl, tmp_path, path):
    serving = server("single", BOTH)
    done = device(serving.origin + path, serving.challenge(), "-cacert-message", "dev1")
    assert done.status == 0, done.text
    openssl.check_chain(tmp_path / "client.pem", serving.ca)
