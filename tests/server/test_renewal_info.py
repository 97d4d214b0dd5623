"""GET /renewal-info/NAME (RFC 9773): every answer, and that a renewal is taken when suggested."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509

import keys
from enrolment import devices
from scepkit.ca.directory import rollover
from scepkit.client.client import Client
from scepkit.errors import StoreError
from scepkit.operations import early_renewal, planned_revocation
from scepkit.operations.rollover import activate
from scepkit.operations.selection import Selection
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.protocol.scep.renewal_info import CertID, RenewalInfo, place
from scepkit.server import app as application
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.store import Called, Store
from server import socketless
from server.test_app import recipient, run
from stored import make_issuance

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
MALFORMED = "urn:ietf:params:acme:error:malformed"


def ca_of(path):
    return x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())


def identifier(ca):
    return ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def issued(path, serial=4711, *, ca=None, life=90 * DAY, issued_at=NOW, **how):
    """Store a certificate of the directory's CA as issued; return where its window is told."""
    ca = ca or ca_of(path)
    issuer = sha256(keys.spki(ca)).digest()
    validity = {"not_before": issued_at, "not_after": issued_at + life, "now": issued_at}
    validity["endpoint"] = "default"
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        store.record(make_issuance(serial=serial, issuer=issuer, **validity | how)).result()
    return target(ca, serial)


def target(ca, serial):
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"/renewal-info/{CertID(identifier(ca), octets)}"


def revoke(path, serial, reason):
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        store.revoke(serial, reason=reason, by="test", now=NOW)


def problem(answer, status):
    """Return what a problem document says."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.headers["cache-control"] == "no-store"
    found = json.loads(answer.body)
    assert (found["type"], found["status"]) == (MALFORMED, status)
    return found["detail"]


def test_the_answer_is_that_of_rfc_9773(app):
    server, path = app()
    (answer,) = run(server, {"target": issued(path)})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert set(json.loads(answer.body)) == {"suggestedWindow"}
    found = RenewalInfo.read(answer.body)
    assert NOW + 60 * DAY <= found.start < found.end <= NOW + 70 * DAY
    assert answer.headers["retry-after"] == "21600"
    assert answer.headers["cache-control"] == "public, max-age=600"


@pytest.mark.parametrize(
    ("life", "seconds"), [(DAY / 3, 3600), (4 * DAY, 17280), (DAY * 99, 21600)]
)
def test_retry_after_is_between_an_hour_and_six(app, life, seconds):
    server, path = app()
    (answer,) = run(server, {"target": issued(path, life=life)})
    assert answer.headers["retry-after"] == str(seconds)


def test_head_has_no_body_and_who_has_it_is_told_so(app):
    server, path = app()
    url = issued(path)

    async def session():
        async with socketless.lifespan(server):
            first = await socketless.ask(server, url)
            tag = first.headers["etag"]
            return first, *[
                await socketless.ask(server, url, **how)
                for how in (
                    {"method": "HEAD"},
                    {"headers": [("If-None-Match", tag)]},
                    {"headers": [("If-None-Match", '"x"')]},
                )
            ]

    first, head, held, other = asyncio.run(session())
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(first.body))
    assert (held.status, held.body) == (304, b"")
    assert held.headers["retry-after"] == first.headers["retry-after"]
    assert (other.status, other.body) == (200, first.body)


def test_the_window_is_the_profiles(app):
    profile = {"one": {"renewal": {"suggest": "50%", "spread": "8d"}}}
    server, path = app(endpoint={"default": {"profile": "one"}}, profile=profile)
    (answer,) = run(server, {"target": issued(path)})
    found = RenewalInfo.read(answer.body)
    assert NOW + 45 * DAY <= found.start < found.end <= NOW + 53 * DAY
    assert found.end - found.start == DAY


def test_each_certificate_goes_by_the_endpoint_that_issued_it(app):
    profile = {"one": {"renewal": {"suggest": "1/3"}}}
    endpoints = {"default": {}, "other": {"profile": "one"}}
    server, path = app(endpoint=endpoints, profile=profile)
    urls = issued(path, 1), issued(path, 2, endpoint="other")
    first, other = (RenewalInfo.read(one.body) for one in run(server, *map(_target, urls)))
    assert first.start >= NOW + 60 * DAY > other.end


def _target(url):
    return {"target": url}


def test_earlier_generations_of_the_ca_are_known(app):
    _, path = app()
    # Not NOW, which may be minutes before there was a CA.
    now = datetime.now(UTC).replace(microsecond=0)
    rollover.prepare(path, now=now)
    coming = x509.load_pem_x509_certificate((path / "next" / "ca.pem").read_bytes())
    urls = issued(path, 1), issued(path, 2, ca=coming)
    for change in (lambda: None, lambda: rollover.activate(path, now=datetime.now(UTC))):
        change()
        assert [one.status for one in run(app_of(path), *map(_target, urls))] == [200, 200]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "two parts"),
        ("AQ", "two parts"),
        ("AQ.AQ.AQ", "two parts"),
        ("AQ==.AQ", "not base64url"),
        ("AQ.A%51", None),
        ("..%2f..%2fetc%2fpasswd", "two parts"),
        ("%00.%00", "not base64url"),
        ("%ff%fe.AQ", "not base64url"),
        ("AQ.AQ/", "not base64url"),
        ("AQ.AAE", "no INTEGER"),
        ("A" * 60_000 + ".AQ", "two parts"),
        ("." * 60_000, "two parts"),
    ],
)
def test_hostile_names(app, text, detail):
    server, _ = app()
    (answer,) = run(server, _target(f"/renewal-info/{text}"))
    if detail is None:
        assert problem(answer, 404) == "this server knows no such certificate"
    else:
        assert detail in problem(answer, 400)


def test_what_is_not_known(app):
    server, path = app()
    url = issued(path)
    ca = ca_of(path)
    foreign = f"/renewal-info/{CertID(b'another CA', bytes([1]))}"
    negative = f"/renewal-info/{CertID(identifier(ca), bytes([255]))}"
    long = f"/renewal-info/{CertID(identifier(ca), bytes([127] * 40))}"
    urls = target(ca, 4712), foreign, negative, long, target(ca, 0)
    for answer in run(server, *map(_target, urls)):
        assert problem(answer, 404) == "this server knows no such certificate"
    assert run(app_of(path), _target(url))[0].status == 200


def app_of(path):
    return application.create(data_directory.prepare(path, now=datetime.now(UTC)))


def test_what_was_revoked_is_not_suggested_and_what_is_on_hold_is(app):
    server, path = app()
    urls = issued(path, 1), issued(path, 2)
    revoke(path, 1, 1)
    revoke(path, 2, 6)
    revoked, held = run(server, *map(_target, urls))
    assert problem(revoked, 404) == "the certificate was revoked, and cannot be renewed"
    assert held.status == 200


def test_where_nothing_is_renewed_nothing_is_suggested(app):
    server, path = app(endpoint={"default": {"renewal": False}, "other": {}})
    urls = issued(path, 1), issued(path, 2, endpoint="gone"), issued(path, 3, endpoint="other")
    *none, other = run(server, *map(_target, urls))
    for answer in none:
        assert problem(answer, 404) == "the certificate cannot be renewed"
    assert other.status == 200
    caps = run(app_of(path), _target("/scep?operation=GetCACaps"))[0].body.split()
    assert b"WhenToRenew" in caps


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(app, method):
    server, path = app()
    (answer,) = run(server, {"target": issued(path), "method": method})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_database_that_is_away_is_no_answer_about_the_certificate(app, monkeypatch):
    def fail(*_):
        raise StoreError("the database does not answer")

    server, path = app()
    url = issued(path)
    monkeypatch.setattr(server.store, "find_certificate", fail)
    (answer,) = run(server, _target(url))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert json.loads(answer.body)["type"] == "urn:ietf:params:acme:error:serverInternal"


def test_the_log_has_a_line_without_what_strangers_write(app, logged):
    server, path = app()
    run(server, _target(issued(path)), _target("/renewal-info/secret.text"))
    told, refused = (line for line in logged if line["event"] == "renewal-info")
    assert (told["endpoint"], told["serial"], told["outcome"]) == ("default", "1267", "told")
    assert refused["outcome"] == "HTTP 400"
    assert "secret" not in str(refused)


def test_one_look_up_answers(app, monkeypatch):
    server, path = app()
    url = issued(path)
    asked = []
    look = server.store.find_certificate
    monkeypatch.setattr(
        server.store, "find_certificate", lambda *key: asked.append(key) or look(*key)
    )
    run(server, _target(url), _target(target(ca_of(path), 5)), _target("/renewal-info/AQ.AQ"))
    assert [serial for _, serial in asked] == [4711, 5]


def test_our_client_learns_of_it_from_a_live_server(live, challenge):
    """What the server issues is named by its own octets, and the client finds the window."""
    key = keys.device("asks")
    request = PKCSReq(devices.request(challenge, key=key.key))
    ra = recipient(live.directory)
    sealed = devices.seal(request, to=ra, signer=key, transaction_id="asks")
    reply = live.ask("/scep?operation=PKIOperation", "POST", sealed)
    certificate = Certificate.read(devices.read(reply.body, ra, key).certificate)
    server = f"http://127.0.0.1:{live.port}/scep"
    with Client(server) as client:
        advice = client.get_renewal_info(certificate)
    assert certificate.not_after - 30 * DAY <= advice.at <= certificate.not_after - 20 * DAY
    url = place(server, CertID.of(certificate))
    assert live.ask(url.removeprefix(f"http://127.0.0.1:{live.port}")).status == 200


def store_of(path):
    return Store.open(f"sqlite:///{path / 'scep.db'}", node="test/admin")


def window(path, url):
    (answer,) = run(app_of(path), _target(url))
    return RenewalInfo.read(answer.body)


def test_a_call_pulls_windows_forward_until_it_is_cancelled(app):
    _, path = app()
    url = issued(path, issued_at=NOW - DAY)
    usual = window(path, url)
    with store_of(path) as store:
        made = early_renewal.call(
            store,
            Called(),
            within=7 * DAY,
            by="alice",
            now=NOW,
            explanation="https://ca.example/why",
        )
    early = window(path, url)
    assert NOW <= early.start < early.end <= NOW + 7 * DAY
    assert early.explanation == "https://ca.example/why"
    with store_of(path) as store:
        early_renewal.cancel(store, made.number, by="bob", now=NOW)
    assert window(path, url) == usual


def test_a_planned_revocation_leaves_time_and_is_done_in_the_background(app, logged):
    _, path = app()
    url = issued(path, issued_at=NOW - DAY)
    home = data_directory.open_existing(path, now=data_directory.utc_now())
    with store_of(path) as store:
        selection = Selection([store.certificate(4711)])
        planned = planned_revocation.plan_selected(
            store,
            selection,
            due_at=NOW + 4 * DAY,
            reason=Reason.superseded,
            by="alice",
            clock=lambda: NOW,
        )
        assert len([*planned]) == 1
        assert window(path, url).end <= NOW + 3 * DAY
        for days, reason in ((3, None), (4, Reason.superseded)):
            Sweep(home.settings, store, lambda d=days: NOW + d * DAY).run()
            assert store.certificate(4711).revocation_reason == reason
    assert problem(run(app_of(path), _target(url))[0], 404)
    assert [one["count"] for one in logged if "as planned" in one["event"]] == [1]


@pytest.mark.parametrize("within", [20 * DAY, None])
def test_a_rollover_pulls_the_old_cas_certificates_forward(app, within):
    _, path = app()
    # Not NOW, which may be minutes before there was a CA.
    now = datetime.now(UTC).replace(microsecond=0)
    rollover.prepare(path, now=now)
    coming = x509.load_pem_x509_certificate((path / "next" / "ca.pem").read_bytes())
    urls = issued(path, 1, issued_at=NOW - DAY), issued(path, 2, ca=coming, issued_at=NOW - DAY)
    usual = [window(path, url) for url in urls]
    with store_of(path) as store:
        activate(store, path, ca="default", by="alice", now=now, renew_within=within)
        calls = store.early_renewals()
    old, new = (window(path, url) for url in urls)
    assert new == usual[1]
    if within is None:
        assert (calls, old) == ([], usual[0])
    else:
        assert now <= old.start < old.end <= now + 20 * DAY
        assert [one.reason for one in calls] == ["the CA was replaced"]


def test_a_rollover_of_a_ca_that_has_issued_nothing_calls_nobody(app):
    _, path = app()
    rollover.prepare(path, now=datetime.now(UTC))
    with store_of(path) as store:
        activate(store, path, ca="default", by="alice", now=datetime.now(UTC))
        assert store.early_renewals() == []
