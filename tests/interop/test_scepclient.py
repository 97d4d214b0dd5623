"""micromdm's scepclient, Debian's and the newest: SHA-1 and single DES are all it knows, by POST.

It writes client.key, csr.pem and client.pem, and takes what is there when it is run again: so the
same command is the retry after a lost reply. As soon as client.pem exists it asks for a renewal.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from interop import building
from interop.programs import built, expect, require, run
from waiting import wait_until

BOTH = "sha1,des"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.cannot(
        ca="it asks GetCACert for itself alone and shows fingerprints, not certificates",
        caps="it asks GetCACaps for itself alone",
        cert="it has no GetCert",
        crl="it has no GetCRL",
        next="it has no GetNextCACert",
        renew="it signs with SHA-1, which is never enough for a renewal",
        rekey="it signs a renewal with the key that it asks for",
    ),
]

NOTE = (
    'SHA-1 and single DES are all that it knows: it needs `legacy = ["sha1", "des"]`, and a'
    " CA with an EC key also `-ca-fingerprint`."
)


def debian():
    return require("scepclient")[0]


def newest():
    return built(building.MICROMDM) / "scepclient"


DEBIAN = pytest.mark.peer("micromdm scepclient 2.1.0 (Debian 12)", role="client", note=NOTE)
NEWEST = pytest.mark.peer(
    f"micromdm scepclient {building.MICROMDM.version}", role="client", note=NOTE
)


@pytest.fixture(
    params=[
        pytest.param(debian, marks=DEBIAN, id="2.1.0"),
        pytest.param(newest, marks=NEWEST, id=building.MICROMDM.version),
    ]
)
def program(request):
    """Return the path of a scepclient."""
    return request.param()


def enrol(program, directory, url, challenge, *options):
    """Run a scepclient for the device in a directory and return what it said."""
    names = ("-cn", "device", "-organization", "Interop", "-ou", "Tests", "-country", "CH")
    files = ("-private-key", "client.key", "-certificate", "client.pem")
    return run(
        *(program, "-server-url", url, "-challenge", challenge, *files, *names, *options),
        cwd=directory,
    )


@pytest.fixture
def device(program, tmp_path):
    """Run scepclient for a device and return what it said."""
    return partial(enrol, program, tmp_path)


def fingerprint(openssl, certificate):
    return openssl.fingerprints(certificate.read_text())[0]


def test_debians_version(tmp_path):
    expect("2.1.0", run(debian(), "-version", cwd=tmp_path).text)


@pytest.mark.does("refusal")
@pytest.mark.parametrize(("layout", "legacy"), [("default", ""), ("single", ""), ("single", "des")])
def test_its_algorithms_are_refused(server, device, tmp_path, layout, legacy):
    """Neither of the two is enough alone; the client names the failInfo."""
    serving = server(layout, legacy)
    done = device(serving.url, serving.challenge())
    assert done.status == 1
    assert done.out == "PKCSReq (19) request failed, failInfo: badAlg (0)\n"
    assert not (tmp_path / "client.pem").exists()
    (line,) = serving.answered("badAlg", operation="PKIOperation")
    missing = "'sha1'" if legacy else "'sha1', 'des'"
    assert f"name {missing} in the legacy setting" in line["reason"]


@pytest.mark.does("enrol")
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


@pytest.mark.does("enrol")
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


@pytest.mark.does("refusal")
@pytest.mark.parametrize("layout", ["default", "single"])
def test_a_wrong_challenge(server, device, tmp_path, layout):
    serving = server(layout, BOTH)
    done = device(serving.url, "wrong")
    assert done.status == 1
    assert done.out == "PKCSReq (19) request failed, failInfo: badRequest (2)\n"
    assert not (tmp_path / "client.pem").exists()
    serving.answered("badRequest", operation="PKIOperation")


@pytest.mark.does("retry")
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


@pytest.mark.does("enrol")
@pytest.mark.parametrize("path", ["/scep/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/scep/"])
def test_paths_that_devices_make_up(server, device, openssl, tmp_path, path):
    serving = server("single", BOTH)
    done = device(serving.origin + path, serving.challenge(), "-cacert-message", "dev1")
    assert done.status == 0, done.text
    openssl.check_chain(tmp_path / "client.pem", serving.ca)


@pytest.mark.does("refusal")
def test_a_renewal_is_refused(server, device, openssl, tmp_path):
    """Since a certificate that stands for a challenge must not sign with SHA-1."""
    serving = server("default", BOTH)
    assert device(serving.url, serving.challenge()).status == 0
    before = (tmp_path / "client.pem").read_bytes()
    done = device(serving.url, "")
    assert done.out == "RenewalReq (17) request failed, failInfo: badAlg (0)\n"
    assert (tmp_path / "client.pem").read_bytes() == before
    serving.answered("badAlg", message_type="RENEWAL_REQ")


@DEBIAN
@NEWEST
@pytest.mark.long
@pytest.mark.does("poll")
def test_wait_for_approval(server, openssl, tmp_path):
    """Both at once, since they sleep for half a minute; then they send the same bytes again."""
    serving = server("default", BOTH)
    devices = {tmp_path / "old": debian(), tmp_path / "new": newest()}
    with ThreadPoolExecutor() as aside:
        ending = []
        for directory, program in devices.items():
            directory.mkdir()
            secret = serving.challenge("manual")
            ending.append(aside.submit(enrol, program, directory, serving.manual, secret))
        wait_until(lambda: len(serving.pending()) == len(devices), "the requests to wait")
        serving.admin("approve", *(row["id"] for row in serving.pending()))
        done = [one.result() for one in ending]
    assert [one.status for one in done] == [0, 0], [one.text for one in done]
    for directory in devices:
        openssl.check_chain(directory / "client.pem", serving.ca)
    serving.answered("PENDING", "PENDING", "repeated", "repeated", operation="PKIOperation")
