"""The application without a socket: its answers, its log, its metrics, its faults."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import REGISTRY

import der
import forge
from enrolment import devices
from enrolment.test_challenges import REFUSED
from scepkit.ca.directory import rotation
from scepkit.errors import SettingsError, StoreError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.http import MAX_QUERY
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.server.endpoints import served as endpoints
from scepkit.server.web import health, worker_pool
from scepkit.store import Store
from server import socketless
from server.live import PKI_OPERATION, certificates
from waiting import PATIENCE

DEFAULT = b"AES\nPOSTPKIOperation\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\nRenewal\nWhenToRenew\n"


def recipient(path) -> Certificate:
    ra = path / "ra.pem"
    pem = (ra if ra.exists() else path / "ca.pem").read_bytes()
    return Certificate.of(x509.load_pem_x509_certificate(pem))


def run(app, *requests):
    """Give requests to an application, one after the other; return all answers."""

    async def session():
        async with socketless.lifespan(app):
            return [await socketless.ask(app, **request) for request in requests]

    return asyncio.run(session())


def get(target):
    return {"target": target}


def post(message):
    return {"target": PKI_OPERATION, "method": "POST", "body": message}


# --- what it publishes ----------------------------------------------------------------------------


@pytest.mark.rfc("S-4.2.1.1-1", "S-4.2.1.2-1", "P-53")
@pytest.mark.parametrize("layout", ["default", "ec", "single"])
def test_ca_certificates(app, layout):
    """One certificate as DER where the CA is its own RA; else RA and CA, certs-only."""
    application, path = app(layout)
    (answer,) = run(application, get("/scep?operation=GetCACert"))
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    if layout == "single":
        assert answer.headers["content-type"] == "application/x-x509-ca-cert"
        assert certificates(answer) == [ca]
        return
    assert answer.headers["content-type"] == "application/x-x509-ca-ra-cert"
    ra = x509.load_pem_x509_certificate((path / "ra.pem").read_bytes())
    assert certificates(answer) == [ra, ca]
    usage = ra.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not usage.key_cert_sign


@pytest.mark.parametrize(
    ("legacy", "caps"),
    [
        ([], DEFAULT),
        (["sha1"], DEFAULT.replace(b"SHA-512\n", b"SHA-512\nSHA-1\n")),
        (["des3"], DEFAULT.replace(b"AES\n", b"AES\nDES3\n")),
        (["md5", "des"], DEFAULT),
        (
            ["sha1", "des3", "md5", "des"],
            DEFAULT.replace(b"AES\n", b"AES\nDES3\n").replace(b"512\n", b"512\nSHA-1\n"),
        ),
    ],
)
def test_capabilities_are_true(app, challenges, legacy, caps):
    """What GetCACaps offers is what is taken, and what is not offered by the RFC stays unsaid."""
    application, path = app(endpoint={"default": {"legacy": legacy}})
    ra = forge.Odd(_Public(recipient(path).public_key), recipient(path).der)
    secrets = challenges(path, 4)
    tried = [("sha1", {"digest": "sha1"}), ("des3", {"cipher": "des3"})]
    tried += [("md5", {"digest": "md5"}), ("des", {"cipher": "des"})]
    messages = [
        forge.request(
            forge.csr(attributes=[forge.challenge(secret)]),
            recipient=ra,
            scep={"transaction_id": name},
            **knobs,
        )
        for secret, (name, knobs) in zip(secrets, tried, strict=True)
    ]
    answer, *replies = run(application, get("/scep?operation=GetCACaps"), *map(post, messages))
    assert answer.body == caps
    assert answer.headers["content-type"] == "text/plain"
    taken = [
        name
        for (name, _), reply in zip(tried, replies, strict=True)
        if forge.signed_attribute(reply.body, forge.PKI_STATUS) == forge.printable("0")
    ]
    assert sorted(taken) == sorted(legacy)


class _Public:
    """What `forge.recipient_info` needs of a key whose private half the server has."""

    def __init__(self, public_key):
        self.public_key = lambda: public_key


@pytest.mark.parametrize(("layout", "workers"), [("default", 1), ("single", 1), ("ec", 2)])
def test_an_enrolment(app, challenges, layout, workers):
    """Every layout issues, and its replies are signed by whoever GetCACert says."""
    application, path = app(layout, workers=workers)
    message = devices.pkcs_req(challenges(path)[0], to=recipient(path))
    (answer,) = run(application, post(message))
    reply = devices.read(answer.body, recipient(path))
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    reply.x509.verify_directly_issued_by(ca)


def test_a_query_of_any_size(app):
    """Where the HTTP server lets a longer query through than this application reads: 414."""
    application, _ = app()
    (answer,) = run(application, get(f"/scep?{'a' * (MAX_QUERY + 1)}"))
    assert answer.status == 414
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("length", ["131073", "99999999999999999999", "-1", "x", "٣"])
def test_a_declared_length(app, length):
    """A Content-Length above the limit, or none at all, is refused before a body is read."""
    application, _ = app()

    async def session():
        headers = [("Content-Length", length)] if length.isascii() else []
        pieces = [b""] if length.isascii() else [bytes(65536)] * 3
        return await socketless.ask(application, PKI_OPERATION, "POST", pieces, headers)

    assert asyncio.run(session()).status == 413


def test_a_client_that_is_gone(app, challenges, logged):
    """A body that never became whole is not answered, not decided and not counted."""
    application, path = app()
    message = devices.pkcs_req(challenges(path)[0], to=recipient(path))
    answers = run(application, {**post([message[:9], message[9:]]), "gone": True})
    assert answers == [None]
    assert logged == []


def test_a_body_in_pieces(app, challenges):
    """A body may come in any pieces, empty ones too."""
    application, path = app()
    message = devices.pkcs_req(challenges(path)[0], to=recipient(path))
    pieces = [b"", message[:1], b"", message[1:2000], message[2000:], b""]
    (answer,) = run(application, {**post(b""), "body": pieces})
    assert devices.read(answer.body, recipient(path)).certificate


# --- faults ---------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    """Let a method of every store raise, or its future fail."""

    def broken(method, error):
        def failing(*arguments, **_more):
            if method == "commit":
                *_, promise = arguments
                promise.set_exception(error)
                return promise
            raise error

        monkeypatch.setattr(Store, "record" if method == "commit" else method, failing)

    return broken


@pytest.mark.rfc("P-78")
@pytest.mark.parametrize("method", ["lookup", "find_challenge", "record", "commit"])
def test_a_fault_of_the_database(app, challenges, broken, logged, method):
    """HTTP 503 with Retry-After wherever the database fails: never a FAILURE, never a SUCCESS."""
    application, path = app()
    # What has no good challenge may have been answered before.
    secret = "guessed" if method == "lookup" else challenges(path)[0]
    message = devices.pkcs_req(secret, to=recipient(path), transaction_id="burning")
    error = StoreError("the disk is on fire", hint="leave the building")
    broken(method, error)
    (answer,) = run(application, post(message))
    assert (answer.status, answer.body) == (503, b"try again later\n")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/plain"
    assert b"fire" not in answer.body
    fault, line = logged
    assert (fault["error"], fault["hint"]) == ("the disk is on fire", "leave the building")
    assert (line["operation"], line["outcome"]) == ("PKIOperation", "HTTP 503")
    assert (line["reason"], line["transaction_id"]) == ("the disk is on fire", "burning")


@pytest.mark.rfc("P-78")
def test_a_fault_of_a_poll(app, broken):
    """A CertPoll that cannot be looked up is no badCertId."""
    application, path = app()
    broken("poll", StoreError("gone"))
    (answer,) = run(application, post(devices.cert_poll(to=recipient(path))))
    assert answer.status == 503


@pytest.mark.rfc("P-78")
def test_an_expired_ca(app, challenges, monkeypatch):
    """A CA that cannot issue any more is the operator's fault."""
    from scepkit.ca.authority import Authority

    application, path = app()
    message = devices.pkcs_req(challenges(path)[0], to=recipient(path))

    def issue(*_, **__):
        raise SettingsError("the CA is not valid now")

    monkeypatch.setattr(Authority, "certify", issue)
    (answer,) = run(application, post(message))
    assert answer.status == 503
    assert "retry-after" in answer.headers


@pytest.mark.rfc("P-78")
def test_a_bug(app, broken, challenges, logged):
    """Whatever nobody thought of is HTTP 500, without a word of what it was."""
    application, path = app()
    message = devices.pkcs_req(challenges(path)[0], to=recipient(path))
    broken("find_challenge", ZeroDivisionError("secret detail"))
    (answer,) = run(application, post(message))
    assert (answer.status, answer.body) == (500, b"internal error\n")
    assert [line["log_level"] for line in logged] == ["error", "info"]
    assert logged[0]["exc_info"]
    assert logged[1]["reason"] == "ZeroDivisionError"


@pytest.mark.rfc("P-78")
def test_too_many_at_once(app, challenges, monkeypatch, logged):
    """More than can be worked on are sent away with 503 and Retry-After, and are not lost."""
    monkeypatch.setattr(worker_pool, "LIMIT", 2)
    application, path = app()
    let_go, waiting = threading.Event(), threading.Semaphore(0)
    record = Store.record

    def slow(store, issuance, promise):
        waiting.release()

        def later():
            let_go.wait(PATIENCE)
            record(store, issuance, promise)

        threading.Thread(target=later).start()
        return promise

    monkeypatch.setattr(Store, "record", slow)
    messages = [
        devices.pkcs_req(secret, to=recipient(path), transaction_id=secret[::-1])
        for secret in challenges(path, 3)
    ]

    async def session():
        async with socketless.lifespan(application):
            first = [
                asyncio.ensure_future(socketless.ask(application, **post(m))) for m in messages[:2]
            ]
            for _ in first:
                await asyncio.to_thread(waiting.acquire, timeout=PATIENCE)
            refused = await socketless.ask(application, **post(messages[2]))
            # What costs nothing is answered all the same.
            caps = await socketless.ask(application, "/scep?operation=GetCACaps")
            assert not any(task.done() for task in first)
            let_go.set()
            answers = await asyncio.gather(*first)
            again = await socketless.ask(application, **post(messages[2]))
            return refused, caps, answers, again

    refused, caps, answers, again = asyncio.run(session())
    assert (refused.status, refused.body) == (503, b"busy, try again later\n")
    assert refused.headers["retry-after"] == "5"
    assert caps.body == DEFAULT
    for answer in (*answers, again):
        assert devices.read(answer.body, recipient(path)).certificate
    outcomes = [line["outcome"] for line in logged if line["operation"] == "PKIOperation"]
    assert outcomes == ["HTTP 503", *["SUCCESS"] * 3]


def test_a_fault_leaves_room(app, broken, monkeypatch):
    """Requests that end in a fault do not count as under way for ever."""
    monkeypatch.setattr(worker_pool, "LIMIT", 1)
    application, path = app()
    poll = devices.cert_poll(to=recipient(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "poll", lambda *_: 1 // 0)
        (fault,) = run(application, post(poll))
    assert fault.status == 500


# --- the log --------------------------------------------------------------------------------------


def test_a_line_for_each_operation(app, challenges, logged):
    """Who asked, what for, how it came out, why, and how long it took."""
    application, path = app()
    ra = recipient(path)
    (secret,) = challenges(path)
    good = devices.pkcs_req(secret, to=ra, subject="CN=dev1,O=Example")
    requests = [
        post(good),
        post(good),
        post(devices.pkcs_req(secret, to=ra, transaction_id="b")),
        post(devices.cert_poll(to=ra, transaction_id="c")),
        post(forge.request(signature=bytes(256))),
        post(b"rubbish"),
        get("/scep?operation=GetCACaps"),
        get("/scep?operation=nonsense"),
        get("/scep/other?operation=GetCACaps"),
    ]
    run(application, *requests)
    assert all(line["event"] == "scep" and line["log_level"] == "info" for line in logged)
    assert all(line["peer"] == "192.0.2.7" for line in logged)
    assert [line["endpoint"] for line in logged] == ["default"] * 8 + [""]
    assert all(line["ms"] >= 0 for line in logged)
    issued, again, refused, polled, unverified, rubbish, caps, unknown, nowhere = logged
    about = {"operation": "PKIOperation", "message_type": "PKCS_REQ", "transaction_id": "a"}
    about |= {"subject": "CN=dev1,O=Example", "outcome": "SUCCESS", "status": 200}
    assert about.items() <= issued.items()
    assert re.fullmatch(r"[0-9a-f]{1,32}", issued["serial"])
    assert "repeated" not in issued
    assert (about | {"repeated": True}).items() <= again.items()
    assert refused["transaction_id"] == "b"
    assert (refused["outcome"], refused["fail_info"]) == ("FAILURE", "badRequest")
    assert "was spent at" in refused["reason"]
    assert REFUSED not in refused["reason"]
    assert (polled["message_type"], polled["fail_info"]) == ("CERT_POLL", "badCertId")
    assert polled["reason"] == "no request with this transactionID is known"
    assert (unverified["message_type"], unverified["fail_info"]) == (
        "unverified",
        "badMessageCheck",
    )
    assert (rubbish["outcome"], rubbish["status"]) == ("HTTP 400", 400)
    assert rubbish["reason"]
    assert (caps["operation"], caps["outcome"]) == ("GetCACaps", "OK")
    assert (unknown["outcome"], unknown["reason"]) == ("HTTP 400", "unknown operation")
    assert nowhere["outcome"] == "HTTP 404"
    assert not any(secret in str(line) for line in logged)


def test_what_was_cut_from_a_request_is_logged(app, challenges, logged):
    """At the issuance, each in a few words; nothing where everything asked for is there."""
    application, path = app(endpoint={"default": {"san_types": ["dns"]}})
    ra = recipient(path)
    secrets = challenges(path, 2)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]
    sans = ["dns:a.example", "ip:192.0.2.1"]

    def asking(number, much):
        value = x509.ExtendedKeyUsage(purposes[:much])
        extension = x509.Extension(value.oid, critical=False, value=value)
        csr = devices.request(secrets[number], sans=sans[:much], extensions=[extension])
        return post(devices.seal(PKCSReq(csr), to=ra, transaction_id=str(number)))

    run(application, asking(0, 2), asking(0, 2), asking(1, 1))
    cut, again, whole = logged
    assert cut["cut"] == ["name ip:192.0.2.1 (names.kinds)", "purpose code_signing (allowed_eku)"]
    assert again["repeated"]
    assert "cut" not in again
    assert whole["outcome"] == "SUCCESS"
    assert "cut" not in whole


def test_the_use_of_legacy_algorithms_is_logged(app, challenges, logged):
    """What had to be allowed by name is named in the line and counted."""
    application, path = app(endpoint={"default": {"legacy": ["sha1", "des3"]}})
    ra = forge.Odd(_Public(recipient(path).public_key), recipient(path).der)
    (secret,) = challenges(path)
    csr = forge.csr(attributes=[forge.challenge(secret)])
    before = legacy_uses("sha1")
    run(application, post(forge.request(csr, recipient=ra, digest="sha1", cipher="des3")))
    assert logged[0]["legacy"] == ["sha1", "des3"]
    assert legacy_uses("sha1") == before + 1


def legacy_uses(name):
    labels = {"endpoint": "default", "name": name}
    return REGISTRY.get_sample_value("scep_legacy_uses_total", labels) or 0


@pytest.mark.rfc("L-02")
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sha1", {"digest": "sha1"}),
        ("md5", {"digest": "md5"}),
        ("draft-oids", {"attribute": "2.16.840.1.113733.1.9.8"}),
    ],
)
def test_the_use_of_what_is_legacy_in_a_pkcs10_is_logged(app, challenges, logged, name, how):
    """What had to be allowed for the PKCS#10 alone is in the line too, and is counted once."""
    application, path = app(endpoint={"default": {"legacy": [name]}})
    ra = forge.Odd(_Public(recipient(path).public_key), recipient(path).der)
    (secret,) = challenges(path)
    attributes = [forge.challenge(secret)]
    if "attribute" in how:
        names = x509.SubjectAlternativeName([x509.DNSName("dev1.example")])
        wanted = der.seq(der.seq(forge.oid("2.5.29.17"), forge.octets(names.public_bytes())))
        attributes.append(forge.attribute(how["attribute"], wanted))
    csr = forge.csr(attributes=attributes, digest=how.get("digest", "sha256"))
    before = legacy_uses(name)
    run(application, post(forge.request(csr, recipient=ra)))
    assert (logged[0]["outcome"], logged[0]["legacy"]) == ("SUCCESS", [name])
    assert legacy_uses(name) == before + 1


# --- health and metrics ---------------------------------------------------------------------------


def test_health(app, broken, logged, monkeypatch):
    """/healthz says in one word whether the database can be written; the log says why it cannot."""
    monkeypatch.setattr(health, "STANDS", 0)
    application, _ = app()

    async def session():
        async with socketless.lifespan(application):
            before = await socketless.ask(application, "/healthz")
            broken("ping", StoreError("cannot use the database: disk full"))
            return before, await socketless.ask(application, "/healthz")

    healthy, ill = asyncio.run(session())
    assert (healthy.status, healthy.body) == (200, b'{"status":"ok"}')
    assert healthy.headers["cache-control"] == "no-store"
    assert (ill.status, ill.body) == (503, b'{"status":"failing"}')
    (line,) = [one for one in logged if one["event"] == "health"]
    assert (line["log_level"], line["status"]) == ("warning", "failing")
    assert line["reason"] == "cannot use the database: disk full"


def test_health_is_cheap(app, monkeypatch):
    """However often it is asked, the database is asked once a second."""
    asked = []
    monkeypatch.setattr(Store, "ping", lambda _store: asked.append(1))
    application, _ = app()
    assert [one.status for one in run(application, *[get("/healthz")] * 20)] == [200] * 20
    # The clock may have passed a second once, on a slow machine.
    assert 1 <= len(asked) < 20


def test_metrics(app, challenges):
    """/metrics counts operations by outcome, and no label holds what a peer chose."""
    application, path = app()
    ra = recipient(path)
    (secret,) = challenges(path)
    good = post(devices.pkcs_req(secret, to=ra, transaction_id="tx-label", subject="CN=cn-label"))
    bad = post(devices.pkcs_req("guessed", to=ra))
    before, *_, after = run(
        application,
        get("/metrics"),
        good,
        bad,
        get("/scep?operation=GetCACaps"),
        get("/scep?operation=nonsense"),
        get("/metrics"),
    )
    assert after.status == 200
    assert after.headers["content-type"].startswith("text/plain; version=")

    def count(answer, labels):
        found = re.search(
            rf"^scep_requests_total{{{labels}}} (\S+)$", answer.body.decode(), re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    pki = 'endpoint="default",message_type="PKCS_REQ",operation="PKIOperation"'
    for labels in (
        f'{pki},outcome="SUCCESS"',
        f'{pki},outcome="FAILURE"',
        'endpoint="default",message_type="",operation="GetCACaps",outcome="OK"',
        'endpoint="default",message_type="",operation="none",outcome="HTTP 400"',
    ):
        assert count(after, labels) == count(before, labels) + 1, labels
    assert b'scep_request_seconds_count{operation="PKIOperation"}' in after.body
    assert b"# TYPE scep_recorded_revocations gauge" in after.body
    assert b"label" not in after.body
    assert b"nonsense" not in after.body


def test_metrics_elsewhere(app):
    """Metrics that have an address of their own are not at the main one."""
    application, _ = app(metrics="127.0.0.1:9999")
    (answer,) = run(application, get("/metrics"))
    assert answer.status == 404


def test_two_at_once_and_the_disk(app, challenges, monkeypatch):
    """Waiting for the disk holds no thread: others are answered meanwhile."""
    application, path = app()
    let_go = threading.Event()
    record = Store.record

    def slow(store, issuance, promise):
        def later():
            let_go.wait(PATIENCE)
            record(store, issuance, promise)

        threading.Thread(target=later).start()
        return promise

    monkeypatch.setattr(Store, "record", slow)
    ra = recipient(path)
    messages = [
        devices.pkcs_req(secret, to=ra, transaction_id=secret[::-1])
        for secret in challenges(path, 16)
    ]

    async def session():
        async with socketless.lifespan(application):
            waiting = [
                asyncio.ensure_future(socketless.ask(application, **post(m))) for m in messages
            ]
            poll = await socketless.ask(application, **post(devices.cert_poll(to=ra)))
            assert not any(task.done() for task in waiting)
            let_go.set()
            return poll, await asyncio.gather(*waiting)

    poll, answers = asyncio.run(session())
    assert devices.read(poll.body, ra).refusal[0] == "badCertId"
    assert len({devices.read(answer.body, ra).certificate for answer in answers}) == 16


@pytest.mark.rfc("P-19")
def test_a_key_that_another_worker_made_known(app, monkeypatch, challenges, logged):
    """A device may be shown a new RA by one worker and answered by another: it is not refused."""
    monkeypatch.setattr(endpoints, "LOOK_SECONDS", 3600)
    application, path = app()
    secrets = challenges(path, 2)
    before = recipient(path)
    days = {"before": timedelta(days=731), "validity": timedelta(days=800)}
    assert rotation.rotate_ra(path, now=datetime.now(UTC), **days)
    after = recipient(path)
    assert after.der != before.der
    names = ("to the new one", "to the old one")
    messages = [
        devices.pkcs_req(secret, to=ra, transaction_id=name, subject=f"CN={name}")
        for secret, ra, name in zip(secrets, (after, before), names, strict=True)
    ]
    answers = run(application, *map(post, messages))
    for answer, ra in zip(answers, (after, before), strict=True):
        assert devices.read(answer.body, ra).certificate
    assert sum(line["event"].startswith("the CAs changed") for line in logged) == 1
