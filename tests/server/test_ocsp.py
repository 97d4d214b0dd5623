"""OCSP over HTTP, with openssl as the judge, and every bad request with its exact answer."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as library
from prometheus_client import REGISTRY

import keys
from ocsp import asking
from scepkit.ca.directory import rotation
from scepkit.errors import SettingsError, StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.server import app as application_module
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.server.endpoints import assembly
from scepkit.server.web import worker_pool
from scepkit.store import Store
from server import socketless
from server.test_app import run
from stored import make_issuance
from waiting import PATIENCE

PATH = "/ocsp/default"
HOUR = timedelta(hours=1)
MALFORMED, INTERNAL, LATER, UNAUTHORIZED = (
    bytes([0x30, 3, 0x0A, 1, number]) for number in (1, 2, 3, 6)
)


def ca_of(path):
    return x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())


def issued(path, serial=4711):
    """Store a certificate of the directory's CA, as far as OCSP looks at it."""
    issuer = sha256(keys.spki(ca_of(path))).digest()
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        store.record(make_issuance(serial=serial, issuer=issuer)).result()
    return serial


def get(message, path=PATH):
    return {"target": f"{path}/{quote(base64.b64encode(message), safe='')}"}


def post(message, path=PATH):
    return {
        "target": path,
        "method": "POST",
        "body": message,
        "headers": [("Content-Type", "application/ocsp-request")],
    }


def about(path, *serials, **how):
    return asking.request(*(asking.cert_id(ca_of(path), one) for one in serials), **how)


def ocsp_error(answer, expected):
    """Fail unless the answer is that error, in OCSP's words, and no proxy may keep it."""
    assert (answer.status, answer.body) == (200, expected)
    assert answer.headers["content-type"] == "application/ocsp-response"
    assert answer.headers["cache-control"] == "no-store"


def test_get_may_be_kept_by_proxies(app):
    """RFC 5019 section 6.2."""
    application, path = app()
    request = about(path, issued(path))
    before = datetime.now(UTC).replace(microsecond=0)
    first, again = run(application, get(request), get(request))
    assert (first.status, first.headers["content-type"]) == (200, "application/ocsp-response")
    assert first.body == again.body
    found = asking.verified(first.body, ca_of(path))
    assert found.certificate_status is library.OCSPCertStatus.GOOD
    assert before <= found.this_update_utc <= datetime.now(UTC)
    assert found.next_update_utc - found.this_update_utc == HOUR
    assert parsedate_to_datetime(first.headers["last-modified"]) == found.produced_at_utc
    assert parsedate_to_datetime(first.headers["expires"]) == found.next_update_utc
    first_word, *others = first.headers["cache-control"].split(",")
    assert others == ["public", "no-transform", "must-revalidate"]
    name, seconds = first_word.split("=")
    assert name == "max-age"
    # Later than thisUpdate, earlier than nextUpdate.
    assert 0 < int(seconds) < HOUR.total_seconds()


def test_who_has_it_already_is_told_so(app):
    application, path = app()
    request = get(about(path, issued(path)))

    async def session():
        async with socketless.lifespan(application):
            first = await socketless.ask(application, **request)
            tag = first.headers["etag"]
            has = [request | {"headers": [("If-None-Match", one)]} for one in (tag, '"x"')]
            return first, *[await socketless.ask(application, **one) for one in has]

    first, same, other = asyncio.run(session())
    assert (same.status, same.body) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    assert (other.status, other.body) == (200, first.body)


def app_again(path):
    home = data_directory.prepare(path, now=datetime.now(UTC))
    return application_module.create(home)


@pytest.mark.parametrize("how", ["post", "nonce", "unknown"])
def test_what_no_proxy_may_keep(app, how):
    application, path = app()
    serial = issued(path)
    request = {
        "post": post(about(path, serial)),
        "nonce": get(about(path, serial, extensions=[asking.nonce(b"n" * 32)])),
        "unknown": get(about(path, 1)),
    }[how]
    (answer,) = run(application, request)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert asking.verified(answer.body, ca_of(path)).serial_number in (serial, 1)


@pytest.mark.parametrize(
    "target",
    [
        *("garbage", "%00%ff", "====", "", "/", "MA", "MAA%3D", "a" * 60_000),
        base64.b64encode(b"\x30\x80" * 100).decode(),
    ],
)
def test_garbage_in_the_path(app, target):
    application, _ = app()
    (answer,) = run(application, {"target": f"{PATH}/{target}"})
    ocsp_error(answer, MALFORMED)


@pytest.mark.parametrize("path", [PATH, PATH + "/"])
def test_nothing_at_all(app, path):
    application, _ = app()
    for answer in run(application, {"target": path}, post(b"", path)):
        ocsp_error(answer, MALFORMED)


def test_other_ways_to_write_base64_in_a_path(app):
    """Without padding, in lines, or without percent-encoding where a path allows it."""
    application, path = app()
    text = base64.b64encode(about(path, issued(path))).decode()
    lines = base64.encodebytes(about(path, 4711)).decode()
    ways = [text, text.rstrip("="), quote(text, safe=""), quote(lines, safe="")]
    answers = run(application, *({"target": f"{PATH}/{one}"} for one in ways))
    assert len({answer.body for answer in answers}) == 1
    asking.verified(answers[0].body, ca_of(path))


@pytest.mark.parametrize("junk", ["!", "%00", "%20", "%C3%A4"])
def test_base64_with_something_in_between(app, junk):
    application, path = app()
    text = quote(base64.b64encode(about(path, issued(path))), safe="")
    (answer,) = run(application, {"target": f"{PATH}/{text[:6]}{junk}{text[6:]}"})
    ocsp_error(answer, MALFORMED)


def test_bad_requests(app):
    application, path = app()
    foreign = asking.request(asking.cert_id(keys.ca().x509, 1))
    hashless = asking.request(asking.raw_cert_id("1.2.3", b"n" * 32, b"k" * 32, 1))
    long_nonce = about(path, 1, extensions=[asking.nonce(b"n" * 129)])
    answers = run(
        application,
        post(foreign),
        post(hashless),
        post(long_nonce),
        post(about(path, *range(101))),
        post(b"garbage"),
        post([b"0" * 1_000_000] * 10),
    )
    for answer in answers[:2]:
        ocsp_error(answer, UNAUTHORIZED)
    for answer in answers[2:]:
        ocsp_error(answer, MALFORMED)


def test_a_hundred_in_one(app):
    application, path = app()
    serial = issued(path)
    (answer,) = run(application, post(about(path, *range(99), serial)))
    states = [
        one.certificate_status.name for one in library.load_der_ocsp_response(answer.body).responses
    ]
    assert states == ["UNKNOWN"] * 99 + ["GOOD"]


def test_other_endpoints_and_methods(app):
    application, _ = app()
    missing, put = run(
        application, get(b"", "/ocsp/nowhere"), {"target": PATH, "method": "PUT", "body": b""}
    )
    assert (missing.status, missing.text) == (404, "no such OCSP responder\n")
    assert put.status == 405
    assert set(put.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_dead_database(app, monkeypatch, logged):
    """The client shall come back; whatever was signed before is not shown as if it were so."""
    application, path = app()
    request = post(about(path, issued(path)))

    def dead(*_how):
        raise StoreError("cannot read the database", hint="look at the disk")

    monkeypatch.setattr(Store, "ocsp_statuses", dead)
    for answer in run(application, request, get(about(path, 4711))):
        ocsp_error(answer, LATER)
    assert [one for one in logged if one["event"] == "server fault"]


def test_a_bug_of_ours(app, monkeypatch, logged):
    application, path = app()
    monkeypatch.setattr(Store, "ocsp_statuses", None)
    (answer,) = run(application, post(about(path, 1)))
    ocsp_error(answer, INTERNAL)
    assert [one for one in logged if "bug in scepkit" in one["event"]]


def test_too_many_at_once(app, monkeypatch):
    application, path = app()
    monkeypatch.setattr(worker_pool, "LIMIT", 0)
    (answer,) = run(application, post(about(path, 1)))
    ocsp_error(answer, LATER)


def test_who_sends_slowly_keeps_nobody_out(app, monkeypatch):
    """A request counts from when it is whole."""
    application, path = app()
    monkeypatch.setattr(worker_pool, "LIMIT", 1)
    request = about(path, issued(path))
    answer = asyncio.run(socketless.ask_while_another_stalls(application, PATH, request))
    asking.verified(answer.body, ca_of(path))


def test_who_hangs_up(app):
    application, path = app()
    half = {"target": PATH, "method": "POST", "body": [b"\x30"], "gone": True}
    _, answer = run(application, half, post(about(path, issued(path))))
    asking.verified(answer.body, ca_of(path))


def test_the_log_and_the_metrics(app, logged):
    application, path = app()
    serial = issued(path)
    labels = {"endpoint": "default", "outcome": "good"}

    def count(kept):
        return REGISTRY.get_sample_value("scep_ocsp_responses_total", labels | {"kept": kept}) or 0

    before = count("no"), count("yes")
    run(application, get(about(path, serial)), get(about(path, serial)), post(b"garbage"))
    assert (count("no"), count("yes")) == (before[0] + 1, before[1] + 1)
    lines = [one for one in logged if one["event"] == "ocsp"]
    assert [one["outcome"] for one in lines] == ["good", "good", "malformedRequest"]
    assert lines[0]["serial"] == show_serial(serial)
    assert lines[2]["reason"]


def test_a_serial_number_of_any_length_stays_out_of_the_log(app, logged):
    application, path = app()
    run(application, post(about(path, 2**400_000)))
    (line,) = [one for one in logged if one["event"] == "ocsp"]
    assert line["outcome"] == "unknown"
    assert len(str(line)) < 500


def test_a_new_key_is_taken_up(app):
    """A running server signs with it without a restart; see Catalog."""
    application, path = app()
    request = post(about(path, issued(path), extensions=[asking.nonce(b"n" * 32)]))
    (before,) = run(application, request)
    made = rotation.rotate_ocsp(
        path, now=datetime.now(UTC), before=timedelta(days=40), validity=timedelta(days=50)
    )
    assert made
    (after,) = run(app_again(path), request)
    signers = [library.load_der_ocsp_response(one.body).certificates[0] for one in (before, after)]
    assert signers[0] != signers[1]


# --- openssl --------------------------------------------------------------------------------------


@pytest.fixture
def running(directory, serve):
    return serve(directory("ec"))


def openssl(running, *arguments, url=None):
    """Run `openssl ocsp` against a server; return what it says."""
    ca = running.directory / "ca.pem"
    command = ["openssl", "ocsp", "-issuer", ca, "-CAfile", ca]
    command += ["-url", url or f"http://127.0.0.1:{running.port}{PATH}", *arguments]
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.stdout + done.stderr


def enrolled(running, challenges, tmp_path, name):
    (secret,) = challenges(running.directory)
    certificate = running.enrol(secret, transaction_id=name, subject=f"CN={name}").x509
    path = tmp_path / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate.serial_number, path


def test_openssl_ocsp(running, challenges, scep, tmp_path):
    """SHA-1 and SHA-256, with a nonce and without, several at once, before and after."""
    (serial, one), (_, two) = (
        enrolled(running, challenges, tmp_path, name) for name in ("one", "two")
    )
    for options in ([], ["-no_nonce"], ["-sha256"], ["-sha256", "-no_nonce"]):
        said = openssl(running, *options, "-cert", one)
        assert f"{one}: good\n" in said
        assert "Response verify OK" in said
        assert "WARNING" not in said, said  # of a nonce that is missing
    with Store.open(f"sqlite:///{running.directory / 'scep.db'}") as store:
        store.revoke(serial, reason=1, by="test", now=datetime.now(UTC))
    for options in ([], ["-no_nonce"]):
        said = openssl(running, *options, "-cert", one)
        assert f"{one}: revoked\n" in said
        assert "Reason: keyCompromise" in said
    said = openssl(running, "-sha256", "-cert", one, "-cert", two, "-sha1", "-serial", "0x1234")
    assert "Response verify OK" in said
    assert [line for line in said.splitlines() if line.split(": ")[-1] in _STATES] == [
        f"{one}: revoked",
        f"{two}: good",
        "0x1234: unknown",
    ]


_STATES = {"good", "revoked", "unknown"}


def test_openssl_and_a_foreign_ca(running, tmp_path):
    ca, url = tmp_path / "foreign.pem", f"http://127.0.0.1:{running.port}{PATH}"
    ca.write_bytes(keys.ca().x509.public_bytes(Encoding.PEM))
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", str(ca), "-serial", "1", "-url", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert "Responder Error: unauthorized (6)" in done.stdout + done.stderr


def test_openssl_after_a_rollover(running, challenges, scep, tmp_path):
    """What the CA of before issued is answered by a responder of that CA."""
    _, one = enrolled(running, challenges, tmp_path, "one")
    before = (running.directory / "ca.pem").read_bytes()
    for step in ("prepare", "activate"):
        status, _, err = scep("admin", "rollover", step, "--yes", "--dir", running.directory)
        if status:
            status, _, err = scep("admin", "rollover", step, "--dir", running.directory)
        assert status == 0, err
    old = tmp_path / "before.pem"
    old.write_bytes(before)
    assert (running.directory / "ca.pem").read_bytes() != before
    command = ["openssl", "ocsp", "-issuer", old, "-CAfile", old, "-cert", one]
    command += ["-url", f"http://127.0.0.1:{running.port}{PATH}"]
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert f"{one}: good" in done.stdout
    assert "Response verify OK" in done.stderr


def test_several_workers_all_know_at_once(directory, serve):
    """A revocation that one process committed is never unknown to another."""
    path = directory("ec")
    serial = issued(path)
    running = serve(path, "--workers", "2")
    message = about(path, serial)
    ask = lambda: running.ask(  # noqa: E731
        PATH, "POST", message, {"Content-Type": "application/ocsp-request"}
    )
    seen = {asking.verified(ask().body, ca_of(path)).certificate_status for _ in range(12)}
    assert seen == {library.OCSPCertStatus.GOOD}
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        store.revoke(serial, reason=1, by="test", now=datetime.now(UTC))
    seen = {asking.verified(ask().body, ca_of(path)).certificate_status for _ in range(12)}
    assert seen == {library.OCSPCertStatus.REVOKED}


def test_the_background_task_makes_the_key_anew(directory, logged):
    """Ten days before its certificate ends, and once."""
    path, now = directory("ec"), datetime.now(UTC)
    before = (path / "ocsp.pem").read_bytes()
    home = data_directory.open_existing(path, now=now)
    with Store.open(home.settings.database_url) as store:
        for days in (19, 21, 21):
            Sweep(home.settings, store, lambda at=now + timedelta(days=days): at).run()
    assert (path / "ocsp.pem").read_bytes() != before
    said = [one for one in logged if "OCSP responder" in one["event"]]
    assert [one["ca"] for one in said] == ["default"]


def test_a_directory_that_cannot_be_written_is_served(made, tmp_path, monkeypatch):
    """The CA signs itself, as RFC 6960 allows; no start fails over a key that can be made anew."""
    path = shutil.copytree(made("ec"), tmp_path / "data")
    (path / "ocsp.pem").unlink()

    def refused(*_how, **_more):
        raise SettingsError("cannot lock the directory: Read-only file system")

    monkeypatch.setattr("scepkit.ca.directory.rotation.replacing.locked", refused)
    home = data_directory.prepare(path, now=datetime.now(UTC))
    with Store.open(home.settings.database_url) as store:
        service = assembly.assemble(home, store)["default"].ocsp
        answer = service.answer(about(path, 1))
    assert asking.verified(answer.der, ca_of(path)).certificates == []
    assert not (path / "ocsp.pem").exists()
