"""What relying parties fetch over HTTP, CRLs and CA certificates, and how that is spared."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from hypothesis import given
from hypothesis import strategies as st

import keys
from enrolment import devices
from interop import programs
from openssl import OpenSSL
from scepkit.ca.directory import rollover
from scepkit.ca.extensions import ca_id
from scepkit.errors import SettingsError, StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.server.directory import data_directory
from scepkit.server.settings import Settings
from scepkit.server.settings.public_urls import locations, warn
from scepkit.server.web.crl_and_ca import CRL, Distribution, Resource, of_crl
from scepkit.store import CRLRow, CRLState, Store
from server.conftest import new_challenges
from server.socketless import ask, lifespan
from waiting import wait_until

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 22, 12, 0, 0, 500_000, UTC)
BASE = "http://pki.example.com"


def at(url):
    """Return the path of a URL of the test's server."""
    assert url.startswith(f"{BASE}/"), url
    return url.removeprefix(BASE)


def pointers(certificate):
    """Return the URLs of the CRL, the issuer and the OCSP responder in a certificate."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    by_method = {one.access_method: one.access_location.value for one in access}
    (crl,) = points[0].full_name
    return crl.value, by_method[Access.CA_ISSUERS], by_method[Access.OCSP]


@pytest.fixture
def running(directory, serve):
    """Return a server whose certificates name URLs."""
    return serve(directory(), SCEP_PKI_URL=BASE)


@pytest.fixture
def issued(running):
    (secret,) = new_challenges(running.directory)
    return running.enrol(secret).x509


def fetch_crl(server, certificate):
    """Fetch the CRL that a certificate names, once it is there."""
    target = at(pointers(certificate)[0])
    return wait_until(lambda: _found(server.ask(target)), "a CRL")


def _found(answer):
    return answer if answer.status == 200 else None


# --- over the wire --------------------------------------------------------------------------------


def test_what_a_certificate_names_is_there(running, issued, tmp_path):
    """The CRL and the issuer are where the certificate says, and openssl believes them."""
    _, issuer, ocsp = pointers(issued)
    assert ocsp == f"{BASE}/ocsp/default"
    found = fetch_crl(running, issued)
    assert found.headers["content-type"] == "application/pkix-crl"
    assert found.headers["content-length"] == str(len(found.body))
    fetched = running.ask(at(issuer))
    assert (fetched.status, fetched.headers["content-type"]) == (200, "application/pkix-cert")
    ca = x509.load_der_x509_certificate(fetched.body)
    assert ca == x509.load_pem_x509_certificate((running.directory / "ca.pem").read_bytes())
    judge = OpenSSL(tmp_path)
    (tmp_path / "crl.der").write_bytes(found.body)
    (tmp_path / "leaf.pem").write_bytes(issued.public_bytes(Encoding.PEM))
    judge.run("crl", "-in", tmp_path / "crl.der", "-out", tmp_path / "crl.pem")
    judge.run(
        *("verify", "-x509_strict", "-crl_check_all", "-CAfile", running.directory / "ca.pem"),
        *("-CRLfile", tmp_path / "crl.pem", tmp_path / "leaf.pem"),
    )


def test_a_revocation_reaches_who_asks(running, issued, scep, tmp_path):
    """`scep admin revoke` is another process; the server reads what it signed within moments."""
    first = fetch_crl(running, issued)
    serial = show_serial(issued.serial_number)
    status, _, err = scep("admin", "revoke", serial, "--dir", running.directory)
    assert status == 0, err
    target = at(pointers(issued)[0])

    def newer():
        answer = running.ask(target, headers={"If-None-Match": first.headers["etag"]})
        return answer if answer.status == 200 else None

    found = wait_until(newer, "a newer CRL")
    (entry,) = x509.load_der_x509_crl(found.body)
    assert entry.serial_number == issued.serial_number
    assert found.headers["etag"] != first.headers["etag"]
    (tmp_path / "crl.der").write_bytes(found.body)
    (tmp_path / "leaf.pem").write_bytes(issued.public_bytes(Encoding.PEM))
    judge = OpenSSL(tmp_path)
    judge.run("crl", "-in", tmp_path / "crl.der", "-out", tmp_path / "crl.pem")
    with pytest.raises(AssertionError, match="certificate revoked"):
        judge.run(
            *("verify", "-crl_check_all", "-CAfile", running.directory / "ca.pem"),
            *("-CRLfile", tmp_path / "crl.pem", tmp_path / "leaf.pem"),
        )


def test_get_crl_gives_the_same_octets(running, issued):
    holder = keys.Holder(keys.device().key, issued)
    found = fetch_crl(running, issued)
    wanted = devices.get_crl(
        to=running.ra,
        serial=issued.serial_number,
        issuer=issued.issuer.public_bytes(),
        signer=holder,
    )
    assert running.read(running.post(wanted), holder).rep.crls == (found.body,)


def test_curl_and_its_conditions(running, issued, tmp_path):
    """--etag-compare and --time-cond get 304 and leave the file alone."""
    (program,) = programs.require("curl")
    url = f"http://127.0.0.1:{running.port}{at(pointers(issued)[0])}"
    fetch_crl(running, issued)
    file, etag = tmp_path / "ca.crl", tmp_path / "etag"

    def curl(*options):
        command = [program, "-sS", "--fail", "-R", "-w", "%{http_code}", "-o", file, *options, url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert curl("--etag-save", etag) == "200"
    before = file.read_bytes()
    assert curl("--etag-compare", etag) == "304"
    assert curl("--time-cond", file) == "304"
    assert file.read_bytes() == before


def test_head_and_other_methods(running, issued):
    found = fetch_crl(running, issued)
    for target in map(at, pointers(issued)[:2]):
        get, head = running.ask(target), running.ask(target, "HEAD")
        assert (head.status, head.body) == (200, b"")
        for name in ("content-length", "content-type", "etag", "last-modified"):
            assert head.headers[name] == get.headers[name]
        refused = running.ask(target, "POST", b"x")
        assert refused.status == 405
        assert sorted(refused.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert found.headers["cache-control"].startswith("public, max-age=")


@pytest.mark.parametrize("path", ["/crl/{}.crl", "/ca/{}.cer"])
@pytest.mark.parametrize("name", ["0123456789abcdef", "x", "..", "%2e%2e%2fca-key", "%c3%a9"])
def test_a_ca_that_is_not_there(live, path, name):
    assert live.ask(path.format(name)).status == 404


def test_several_workers(directory, serve):
    """Each of them has every CRL, whoever made it."""
    server = serve(directory(), SCEP_PKI_URL=BASE, SCEP_WORKERS="2")
    (secret,) = new_challenges(server.directory)
    certificate = server.enrol(secret).x509
    target = at(pointers(certificate)[0])

    def same():
        answers = [server.ask(target) for _ in range(20)]
        return len({(one.status, one.body) for one in answers}) == 1 and answers[0].status == 200

    wait_until(same, "the same CRL from all")


def test_a_rollover_under_a_running_server(running, issued):
    """The old CRL stays where it is, the new CA's comes; no restart."""
    first = fetch_crl(running, issued)
    now = datetime.now(UTC)
    rollover.prepare(running.directory, now=now)
    material = rollover.activate(running.directory, now=now)
    name = ca_id(material.ca.key_hash)
    newer = wait_until(lambda: _found(running.ask(f"/crl/{name}.crl")), "the new CA's CRL")
    crl = x509.load_der_x509_crl(newer.body)
    assert crl.is_signature_valid(material.ca.certificate.public_key())
    assert running.ask(at(pointers(issued)[0])).body == first.body
    assert running.ask(at(pointers(issued)[1])).status == 200


# --- health ---------------------------------------------------------------------------------------


def test_health_tells_of_a_crl_that_cannot_be_made(app, monkeypatch, logged):
    """Degraded, so that the last one goes on being served; the log says why."""
    application, path = app()
    clock = [datetime.now(UTC)]
    monkeypatch.setattr("scepkit.server.background.crl_signing.LOOK_SECONDS", 0.001)
    monkeypatch.setattr("scepkit.server.background.crl_signing.PAUSE_SECONDS", 0)
    monkeypatch.setattr("scepkit.server.web.health.STANDS", 0)
    crls = _crls_of(application)
    monkeypatch.setattr(crls, "_now", lambda: clock[0])
    home = data_directory.open_existing(path, now=clock[0])
    name = ca_id(home.material.ca.key_hash)
    target = f"/crl/{name}.crl"

    async def until(word, reason=""):
        while True:
            answer = await ask(application, "/healthz")
            assert answer.status == 200
            told = [one.get("reason", "") for one in logged if one["event"] == "health"]
            if answer.text == f'{{"status":"{word}"}}' and any(
                reason in one for one in told or [""]
            ):
                return
            await asyncio.sleep(0)

    async def scenario():
        async with lifespan(application):
            await until("ok")
            await asyncio.to_thread(wait_until, lambda: crls.crl(name), "the first CRL")

            def refused(*_arguments):
                raise StoreError("the disk is full")

            monkeypatch.setattr(Store, "put_crl", refused)
            clock[0] += 20 * HOUR
            await until("degraded", "is served: the disk is full")
            assert (await ask(application, target)).status == 200
            clock[0] += 5 * HOUR
            await until("degraded", "UTC: the disk is full")
            assert (await ask(application, target)).status == 200

    asyncio.run(asyncio.wait_for(scenario(), 30))


def _crls_of(application):
    route = application.routes["crl"]
    assert isinstance(route.__self__, Distribution)
    return route.__self__._crls


def test_before_there_is_a_crl(app):
    """The server answers devices already; who wants the CRL is asked to come again."""
    application, path = app()
    home = data_directory.open_existing(path, now=datetime.now(UTC))
    name = ca_id(home.material.ca.key_hash)
    answer = asyncio.run(ask(application, f"/crl/{name}.crl"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.headers["cache-control"] == "no-store"
    assert asyncio.run(ask(application, f"/ca/{name}.cer")).status == 200


# --- conditions -----------------------------------------------------------------------------------


def resource(**changes):
    return Resource(**{"body": b"one", "media_type": CRL, "last_modified": NOW} | changes)


def test_which_tags_are_held():
    one = resource()
    for header in (one.etag, f"W/{one.etag}", f'"x", {one.etag}', "*", f'"a,b",{one.etag} '):
        assert one.is_held({"if-none-match": header}), header
    for header in ('"x"', "", one.etag.strip('"'), resource(body=b"two").etag):
        assert not one.is_held({"if-none-match": header}), header
    # RFC 9110 section 13.1.3: with If-None-Match the date does not count.
    date = format_datetime(NOW, usegmt=True)
    assert not one.is_held({"if-none-match": '"x"', "if-modified-since": date})


def test_which_dates_are_held():
    """To the second; where another CRL may be of the same second, only a later date will do."""
    for seconds, held, in_doubt in ((-1, False, False), (0, True, False), (1, True, True)):
        date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
        assert resource().is_held({"if-modified-since": date}) is held
        assert resource(dates_tell=False).is_held({"if-modified-since": date}) is in_doubt


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, ?[0-9]+ [A-Z][a-z]{2} [0-9 :+-]+"))
def test_what_is_no_date_is_no_condition(header):
    assert resource().is_held({"if-modified-since": header}) in (True, False)


@pytest.mark.parametrize(
    "header",
    ["", "yesterday", "0", "Sun, 99 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 99999 12:00:00 GMT"],
)
def test_a_broken_date(header):
    assert not resource().is_held({"if-modified-since": header})


def row(number, at):
    return CRLRow(number, b"", at, at + 24 * HOUR, outdated=False)


def test_when_a_date_tells_crls_apart():
    """The CRL before it is known, and is of another second."""
    later = NOW + timedelta(seconds=1)
    before = CRLState(4, NOW, NOW + 24 * HOUR, outdated=True)
    assert of_crl(row(5, later), before).dates_tell
    assert not of_crl(row(5, NOW + timedelta(milliseconds=400)), before).dates_tell
    assert not of_crl(row(6, later), before).dates_tell
    assert not of_crl(row(5, later), None).dates_tell
    assert of_crl(row(1, later), None).dates_tell


def test_how_long_caches_may_keep_it():
    """Until it is made anew at the latest: a quarter of its life before its end."""
    made = of_crl(row(1, NOW), None)
    headers = made.headers(NOW)
    assert headers["cache-control"] == f"public, max-age={18 * 3600}"
    assert parsedate_to_datetime(headers["last-modified"]) == NOW.replace(microsecond=0)
    assert made.headers(NOW + 17 * HOUR)["cache-control"] == "public, max-age=3600"
    assert made.headers(NOW + 20 * HOUR)["cache-control"] == "public, max-age=0"


# --- what certificates name -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "pki_url", "base"),
    [
        ("", "", None),
        ("http://a.example/scep", "", "http://a.example"),
        ("https://a.example:8443/pki/scep/", "", "https://a.example:8443/pki"),
        ("http://a.example/cgi-bin/pkiclient.exe", "", "http://a.example"),
        ("http://a.example/scep/pkiclient.exe", "", "http://a.example"),
        ("http://a.example", "", "http://a.example"),
        ("https://a.example/scep", "http://crl.example", "http://crl.example"),
    ],
)
def test_where_the_urls_come_from(tmp_path, public_url, pki_url, base):
    settings = Settings(directory=tmp_path, public_url=public_url, pki_url=pki_url)
    found = locations(settings, "vpn")
    assert (found and found.ocsp_url()) == (base and f"{base}/ocsp/vpn")


@pytest.mark.parametrize(
    ("public_url", "pki_url", "lines"),
    [
        ("https://a.example/scep", "", 1),
        ("https://a.example/scep", "http://a.example", 0),
        ("http://a.example/scep", "", 0),
        ("", "", 0),
    ],
)
def test_https_urls_in_certificates_are_warned_of(tmp_path, logged, public_url, pki_url, lines):
    """RFC 5280 section 8."""
    warn(Settings(directory=tmp_path, public_url=public_url, pki_url=pki_url))
    assert [one["log_level"] for one in logged] == ["warning"] * lines
    assert all("pki_url" in one["hint"] for one in logged)


def test_a_url_that_cannot_be_in_a_certificate(tmp_path):
    settings = Settings(directory=tmp_path, public_url="http://münchen.example/scep")
    with pytest.raises(SettingsError, match="is not ASCII") as refused:
        locations(settings, "default")
    assert "xn--" in refused.value.hint
