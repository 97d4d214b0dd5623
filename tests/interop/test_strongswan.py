"""strongSwan's `pki --scepca` and `pki --scep` of Debian 12 and 13: SHA-2 and AES, by POST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import httpd
from interop import building
from interop.programs import expect, inside, require, run
from scepkit.protocol.scep import capabilities
from waiting import wait_until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.cannot(
        caps="it asks GetCACaps for itself alone",
        cert="it has no GetCert",
        crl="it has no GetCRL",
        next="it has no GetNextCACert",
    ),
]

LAYOUTS = ["default", "single", "ec"]

OLD, NEW = "5.9.8", "6.0.1"

NAMES = ("--dn", "C=CH, O=Interop, CN=device", "--san", "device.example")


def installed(_shared):
    return require("pki")


def newer(shared):
    return inside(building.DEBIAN_13, shared)("pki")


@pytest.fixture(
    params=[
        pytest.param(
            (OLD, installed),
            marks=pytest.mark.peer(f"strongSwan pki {OLD} (Debian 12)", role="client"),
            id=OLD,
        ),
        pytest.param(
            (NEW, newer),
            marks=pytest.mark.peer(f"strongSwan pki {NEW} (Debian 13)", role="client"),
            id=NEW,
        ),
    ]
)
def pki(request, tmp_path, tmp_path_factory):
    """Run pki."""
    version, program = request.param
    command = program(tmp_path_factory.getbasetemp())
    home = tmp_path / "pki"
    home.mkdir()

    def pki(*arguments):
        return run(*command, *arguments, cwd=home)

    pki.version = version
    return pki


@pytest.fixture
def device(pki, openssl, tmp_path):
    """Run `pki --scep` for one device, whose key is made once."""
    key = tmp_path / "device.key"
    openssl("genrsa", "-out", key, 2048)

    def device(serving, challenge, *options, url=None, key=key, names=NAMES):
        certificates = ("--cacert-enc", "--cacert-sig")
        return pki(
            *("--scep", "--url", url or serving.url, "--in", key, "--password", challenge),
            *names,
            *(part for option in certificates for part in (option, serving.recipient)),
            *("--cacert", serving.ca, "--outform", "pem", *options),
        )

    return device


def kept(done, path):
    """Write the certificate that pki printed to a file."""
    assert done.status == 0, done.text
    path.write_text(done.out)
    return path


def test_the_version(pki):
    expect(f"strongSwan {pki.version} ", pki("--help").out)


@pytest.mark.does("ca")
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


@pytest.mark.does("enrol")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_enrols(server, tap, pki, device, openssl, tmp_path, layout):
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
    request = openssl.enveloped(openssl.signed(exchange.message), serving.recipient_key)
    challenge_type = "UTF8STRING" if pki.version == OLD else "PRINTABLESTRING"
    assert openssl.attributes(request)["challengePassword"].startswith(challenge_type)
    assert openssl.signed(exchange.reply, signer=serving.recipient)


@pytest.mark.does("enrol")
def test_digests_are_mirrored(server, tap, device, openssl, tmp_path):
    serving = server("default")
    wire = tap(serving.url)
    done = device(serving, serving.challenge(), "--digest", "sha512", url=wire.url)
    openssl.check_chain(kept(done, tmp_path / "device.pem"), serving.ca)
    assert "algorithm: sha512 " in openssl.cms(wire.pki_operations[0].reply)


@pytest.mark.does("enrol", "renew")
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_rsassa_pss(server, tap, device, openssl, tmp_path, digest):
    """It signs message, own certificate and PKCS#10 with RSASSA-PSS, and reads PKCS#1 v1.5."""
    serving = server("default")
    wire = tap(serving.url)
    pss = ("--rsa-padding", "pss", "--digest", digest)
    first = kept(device(serving, serving.challenge(), *pss, url=wire.url), tmp_path / "device.pem")
    openssl.check_chain(first, serving.ca)
    assert "algorithm: rsassaPss " in openssl.cms(wire.pki_operations[0].body)
    own = ("--cert", first, "--key", tmp_path / "device.key")
    second = kept(device(serving, "", *own, *pss), tmp_path / "second.pem")
    openssl.check_chain(second, serving.ca)
    serving.answered("SUCCESS", message_type="RENEWAL_REQ")


@pytest.mark.does("enrol", "refusal")
def test_legacy_algorithms(server, tap, pki, device, openssl, tmp_path):
    """The old one asks though they are not offered, and is told why it gets nothing.

    Where they are allowed, the reply is in the algorithms of the request.
    """
    old = ("--cipher", "des3", "--digest", "sha1")
    modern = server("default")
    done = device(modern, modern.challenge(), *old)
    assert (done.status, done.out) == (1, "")
    if pki.version == OLD:
        assert "failInfo:     badAlg - unrecognized or unsupported algorithm" in done.err
        modern.answered("badAlg", operation="PKIOperation")
    else:
        assert "sha1 digest algorithm not supported by CA" in done.err
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


@pytest.mark.does("refusal")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_challenge(server, device, layout):
    serving = server(layout)
    done = device(serving, "wrong")
    assert (done.status, done.out) == (1, "")
    assert "failInfo:     badRequest - transaction not permitted or supported" in done.err
    assert "reply status is not 'SUCCESS'" in done.err
    serving.answered("badRequest", operation="PKIOperation")


@pytest.mark.does("retry")
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


@pytest.mark.does("poll")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_waits_for_approval(server, device, openssl, tmp_path, layout):
    """It polls with the RA's name for that of the CA, which does not matter."""
    serving = server(layout)
    challenge = serving.challenge("manual")
    often = ("--interval", "1", "--maxpolltime", "60")
    with ThreadPoolExecutor() as aside:
        ending = aside.submit(device, serving, challenge, *often, url=serving.manual)
        row = serving.approve_next()
        done = ending.result()
    assert "SCEP request pending, polling every 1 seconds" in done.text
    certificate = kept(done, tmp_path / "device.pem")
    openssl.check_chain(certificate, serving.ca)
    assert row["subject"] == "CN=device,O=Interop,C=CH"
    serving.answered("PENDING", message_type="PKCS_REQ")
    *before, last = serving.lines(message_type="CERT_POLL")
    assert {line["outcome"] for line in before} <= {"PENDING"}
    assert last["outcome"] == "SUCCESS"


@pytest.mark.does("refusal")
def test_a_rejected_request(server, device):
    serving = server("default")
    challenge = serving.challenge("manual")
    often = ("--interval", "1", "--maxpolltime", "60")
    with ThreadPoolExecutor() as aside:
        ending = aside.submit(device, serving, challenge, *often, url=serving.manual)
        (row,) = wait_until(serving.pending, "the request to wait")
        serving.admin("reject", row["id"], "--reason", "nobody knows it")
        done = ending.result()
    assert (done.status, done.out) == (1, "")
    assert "reply status is not 'SUCCESS'" in done.err


@pytest.mark.does("renew")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_renews(server, device, openssl, tmp_path, layout):
    """Without a challenge, by a RenewalReq that the present certificate signs."""
    serving = server(layout)
    first = kept(device(serving, serving.challenge()), tmp_path / "first.pem")
    own = ("--cert", first, "--key", tmp_path / "device.key")
    second = kept(device(serving, "", *own), tmp_path / "second.pem")
    openssl.check_chain(second, serving.ca)
    assert openssl.public_key(second) == openssl.public_key(first)
    assert openssl.serial(second) != openssl.serial(first)
    (line,) = serving.answered("SUCCESS", message_type="RENEWAL_REQ")
    assert int(line["serial"], 16) == int(openssl.serial(second), 16)


@pytest.mark.does("rekey")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rekeys(server, pki, device, openssl, tmp_path, layout):
    """The newer one takes the subject out of the present certificate, but no other name."""
    serving = server(layout)
    first = kept(device(serving, serving.challenge()), tmp_path / "first.pem")
    own = ("--cert", first, "--key", tmp_path / "device.key")
    openssl("genrsa", "-out", tmp_path / "new.key", 2048)
    names = NAMES if pki.version == OLD else NAMES[2:]
    done = device(serving, "", *own, key=tmp_path / "new.key", names=names)
    second = kept(done, tmp_path / "second.pem")
    openssl.check_chain(second, serving.ca)
    assert openssl.facts(second, "-subject") == openssl.facts(first, "-subject")
    assert "DNS:device.example" in openssl.facts(second, "-ext", "subjectAltName")
    assert openssl.public_key(second) != openssl.public_key(first)
    serving.answered("SUCCESS", message_type="RENEWAL_REQ")


def test_our_own_keyword_means_nothing_to_it(pki, openssl, tmp_path):
    """5.9.8 takes a line for each keyword that begins with it; WhenToRenew is none of that."""
    key, ca = tmp_path / "device.key", tmp_path / "ca.pem"
    openssl("genrsa", "-out", key, 2048)
    ca.write_text(httpd.ca().certificate.pem(), "ascii")
    with httpd.Site(caps=[capabilities.WHEN_TO_RENEW]) as site:
        urls = ("--scep", "--url", site.url, "--in", key, *NAMES)
        shown = pki(*urls, "--cacert-enc", ca, "--cacert-sig", ca, "--cacert", ca)
    assert shown.status != 0
    assert "digest algorithm not supported by CA" in shown.err
