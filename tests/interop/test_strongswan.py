"""strongSwan's `pki --scepca` and `pki --scep` of Debian (5.9.8): SHA-2 and AES, by POST."""

from __future__ import annotations

import pytest

from interop.programs import require, run

pytestmark = pytest.mark.interop

LAYOUTS = ["default", "single", "ec"]


@pytest.fixture
def pki(tmp_path):
    """Run pki."""
    (program,) = require("pki")
    home = tmp_path / "pki"
    home.mkdir()

    def pki(*arguments):
        return run(program, *arguments, cwd=home)

    return pki


@pytest.fixture
def device(pki, openssl, tmp_path):
    """Run `pki --scep` for one device, whose key is made once."""
    key = tmp_path / "device.key"
    openssl("genrsa", "-out", key, 2048)

    def device(serving, challenge, *options, url=None):
        certificates = ("--cacert-enc", "--cacert-sig")
        return pki(
            *("--scep", "--url", url or serving.url, "--in", key, "--password", challenge),
            *("--dn", "C=CH, O=Interop, CN=device", "--san", "device.example"),
            *(part for option in certificates for part in (option, serving.recipient)),
            *("--cacert", serving.ca, "--outform", "pem", *options),
        )

    return device


def kept(done, path):
    """Write the certificate that pki printed to a file."""
    assert done.status == 0, done.text
    path.write_text(done.out)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scepca(server, pki, openssl, tmp_path, layout):
    """It sorts the certificates into the CA's and the RA's, and finds that they belong together."""
    serving = server(layout)
    ca, ra = tmp_path / "ca.pem", tmp_path / "ra.pem"
    files = ("--caout", ca, "--raout", ra, "--outform", "pem")
    done = pki("--scepca", "--url", serving.url, *files)
    assert done.status == 0, done.text
    assert openssl.fingerprints(ca.read_text()) == [serving.fingerprint.removeprefix("sha256:")]
    assert ra.exists() == serving.has_ra
    if serving.has_ra:
        assert "RA cert is trusted" in done.text
        recipient = openssl.fingerprints(serving.recipient.read_text())
        assert openssl.fingerprints(ra.read_text()) == recipient


@pytest.mark.parametrize("layout", LAYOUTS)
def test_enrols(server, tap, device, openssl, tmp_path, layout):
    serving = server(layout)
    wire = tap(serving.url)
    done = device(serving, serving.challenge(), url=wire.url)
    assert "Issued certificate is trusted" in done.text
    certificate = kept(done, tmp_path / "device.pem")
    openssl.check_chain(certificate, serving.ca)
    assert openssl.facts(certificate, "-subject") == "subject=CN=device,O=Interop,C=CH\n"
    assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
    serving.answered("SUCCESS", operation="PKIOperation", message_type="PKCS_REQ")
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    assert openssl.signed(exchange.reply, signer=serving.recipient)


def test_digests_are_mirrored(server, tap, device, openssl, tmp_path):
    serving = server("default")
    wire = tap(serving.url)
    done = device(serving, serving.challenge(), "--digest", "sha512", url=wire.url)
    openssl.check_chain(kept(done, tmp_path / "device.pem"), serving.ca)
    assert "algorithm: sha512 " in openssl.cms(wire.pki_operations[0].reply)


def test_legacy_algorithms(server, tap, device, openssl, tmp_path):
    """It asks for what it was told to, advertised or not, and is told why it gets nothing.

    Where they are allowed, the reply is in the algorithms of the request.
    """
    old = ("--cipher", "des3", "--digest", "sha1")
    modern = server("default")
    done = device(modern, modern.challenge(), *old)
    assert (done.status, done.out) == (1, "")
    assert "failInfo:     badAlg - unrecognized or unsupported algorithm" in done.err
    modern.answered("badAlg", operation="PKIOperation")
    serving = server("single", "sha1,des3")
    wire = tap(serving.url)
    certificate = kept(
        device(serving, serving.challenge(), *old, url=wire.url), tmp_path / "device.pem"
    )
    openssl.check_chain(certificate, serving.ca)
    (exchange,) = wire.pki_operations
    assert "algorithm: des-ede3-cbc " in openssl.cms(openssl.signed(exchange.reply))
    (line,) = serving.answered("SUCCESS", operation="PKIOperation")
    assert line["legacy"] == ["sha1", "des3"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_challenge(server, device, layout):
    serving = server(layout)
    done = device(serving, "wrong")
    assert (done.status, done.out) == (1, "")
    assert "failInfo:     badRequest - transaction not permitted or supported" in done.err
    assert "reply status is not 'SUCCESS'" in done.err
    serving.answered("badRequest", operation="PKIOperation")


def test_a_lost_reply(server, tap, device, openssl, tmp_path):
    """The same request and its spent challenge get the certificate that was issued the first time.

    A new challenge is a new request, though its transactionID is the old one: pki derives that
    from the key.
    """
    serving = server("default")
    challenge = serving.challenge()
    wire = tap(serving.url)
    wire.lose_reply()
    assert device(serving, challenge, url=wire.url).status == 1
    path = f"{wire.url}/pkiclient.exe"
    again = kept(device(serving, challenge, url=path), tmp_path / "again.pem")
    anew = kept(device(serving, serving.challenge(), url=path), tmp_path / "anew.pem")
    lines = serving.answered("SUCCESS", "repeated", "SUCCESS", operation="PKIOperation")
    assert len({line["transaction_id"] for line in lines}) == 1
    assert int(lines[0]["serial"], 16) == int(openssl.serial(again), 16)
    assert int(lines[2]["serial"], 16) == int(openssl.serial(anew), 16)
