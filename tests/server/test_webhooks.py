"""Webhooks: a service judges challenges, and nobody gets what it did not allow."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import forge
import keys
from enrolment import devices
from enrolment.test_third_parties import decide
from enrolment.world import World
from scepkit.ca.authority import Authority
from scepkit.enrolment.challenges import MAX_SERVICE_LENGTH, REFUSED
from scepkit.enrolment.challenges.selection import ANY, Selected, Selection
from scepkit.enrolment.challenges.service import ServiceChallenge
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.third_parties import No, Question, ThirdParties, Yes
from scepkit.errors import BadRequest, SettingsError, StoreError, ThirdPartyFailed
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server import settings
from scepkit.server.settings.authorization import OneTimeRule, StaticRule, WebhookRule
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.webhooks.circuit import Circuit
from scepkit.server.webhooks.dialects import Scepkit, Smallstep
from scepkit.server.webhooks.posting import MAX_ANSWER, Poster, tls_context
from scepkit.server.webhooks.referee import Webhook
from server.webhook_service import DROP, HANG, KEY, SECRET, Service

NOW = datetime(2026, 11, 29, 12, 0, 0, 5, tzinfo=UTC)
DIALECTS = {"scepkit": Scepkit(KEY), "smallstep": Smallstep(KEY, "hook-1")}


def question(**how):
    wanted = devices.request("mdm-secret", **{"sans": ["dns:a.example", "ip:10.0.0.1"]} | how)
    return Question(
        id="delivery-1",
        endpoint="default",
        transaction_id=b"tx",
        csr=wanted,
        subject=str(wanted.subject),
        names=("dns:a.example", "ip:10.0.0.1"),
        renews=None,
    )


def webhook(url, dialect="scepkit", *, seconds=30, context=None, failures=100, **how):
    circuit = Circuit(failures, timedelta(seconds=60), lambda: NOW)
    poster = Poster(url, context, seconds, **how)
    return Webhook("webhook mdm", DIALECTS[dialect], poster, circuit, lambda: NOW)


def judged(asked, hook):
    return asyncio.run(hook.judge(asked))


def allow(asked, **more):
    """Say yes in the dialect that was spoken."""
    return 200, {}, {"allow": True} | ({"id": asked["id"]} if "id" in asked else {}) | more


# --- what is asked --------------------------------------------------------------------------------


def test_what_a_service_is_asked():
    with Service(allow) as service:
        assert judged(question(), webhook(service.url, authorization="Bearer t0ken")) == Yes()
    (asked,) = service.asked
    headers = asked.pop("headers")
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Scepkit-Delivery"] == "delivery-1"
    assert headers["Scepkit-Signature"].startswith(f"t={int(NOW.timestamp())},v1=")
    wanted = question().csr
    assert asked == {
        "id": "delivery-1",
        "timestamp": "2026-11-29T12:00:00.000005+00:00",
        "endpoint": "default",
        "transaction_id": "tx",
        "challenge": "mdm-secret",
        "subject": "CN=device",
        "names": ["dns:a.example", "ip:10.0.0.1"],
        "renews": None,
        "key_sha256": wanted.key_hash.hex(),
        "csr": asked["csr"],
    }
    assert x509.load_der_x509_csr(base64.b64decode(asked["csr"])).is_signature_valid


def test_what_a_service_of_step_ca_is_asked():
    subject = "CN=device,serialNumber=7,OU=a,O=Example,C=CH,emailAddress=a@b.example"
    with Service(allow) as service:
        assert judged(question(subject=subject), webhook(service.url, "smallstep")) == Yes()
    (asked,) = service.asked
    headers = asked.pop("headers")
    assert headers["X-Smallstep-Webhook-ID"] == "hook-1"
    assert headers["X-Request-Id"] == "delivery-1"
    assert [*asked] == [
        "timestamp",
        "provisionerName",
        "x509CertificateRequest",
        "scepChallenge",
        "scepTransactionID",
    ]
    assert asked["timestamp"] == "2026-11-29T12:00:00.000005Z"
    assert (asked["scepChallenge"], asked["scepTransactionID"]) == ("mdm-secret", "tx")
    wanted = asked["x509CertificateRequest"]
    assert wanted["subject"] == {
        "country": ["CH"],
        "organization": ["Example"],
        "organizationalUnit": ["a"],
        "serialNumber": "7",
        "commonName": "device",
        "extraNames": [{"type": "1.2.840.113549.1.9.1", "value": "a@b.example"}],
    }
    assert wanted["dnsNames"] == ["a.example"]
    assert wanted["ipAddresses"] == ["10.0.0.1"]
    assert (wanted["emailAddresses"], wanted["uris"], wanted["sans"]) == (None, None, None)
    assert wanted["extensions"][0]["id"] == "2.5.29.17"
    assert wanted["publicKeyAlgorithm"] == "RSA"
    raw = x509.load_der_x509_csr(base64.b64decode(wanted["raw"]))
    assert raw.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "device"


# --- what it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}, b"<html>Log in</html>"), "is no JSON object"),
        ((200, {}, b"[true]"), "is no JSON object"),
        ((200, {}, b""), "is no JSON object"),
        ((200, {}, b'{"allow": true, "allow": false}'), "is no JSON object"),
        ((200, {}, b'{"allow": NaN}'), "is no JSON object"),
        ((200, {}, b"[" * 60_000), "is no JSON object"),
        ((200, {}, b'{"allow": "true", "id": "delivery-1"}'), "no allow that is true or false"),
        ((200, {}, b'{"allow": 1, "id": "delivery-1"}'), "no allow that is true or false"),
        ((200, {}, b'{"id": "delivery-1"}'), "no allow that is true or false"),
        ((500, {}, b'{"allow": true, "id": "delivery-1"}'), "answers HTTP 500"),
        ((404, {}, b'{"allow": false, "id": "delivery-1"}'), "answers HTTP 404"),
        ((302, {"Location": "/other"}, b""), "a redirect, which is not followed"),
        ((200, {}, b" " * (MAX_ANSWER + 1)), f"more than {MAX_ANSWER} octets"),
        ((200, {"Content-Length": str(100 << 20)}, b" " * (1 << 20)), "more than"),
        ((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), "is no JSON object"),
        (DROP, "no answer from 127.0.0.1"),
    ],
)
def test_what_is_no_answer(dialect, answer, said):
    """The device gets HTTP 503 and comes back: neither a certificate, nor a FAILURE for good."""
    with Service(lambda _asked: answer) as service, pytest.raises(ThirdPartyFailed, match=said):
        judged(question(), webhook(service.url, dialect))
    assert len(service.asked) == 1


def test_an_answer_to_another_delivery():
    with (
        Service(lambda _asked: (200, {}, {"allow": True, "id": "delivery-2"})) as service,
        pytest.raises(ThirdPartyFailed, match="about another delivery"),
    ):
        judged(question(), webhook(service.url))


def test_a_service_that_hangs():
    with Service(lambda _asked: HANG) as service:
        with pytest.raises(ThirdPartyFailed, match=r"no answer from 127.0.0.1:\d+ in 0.2 s"):
            judged(question(), webhook(service.url, seconds=0.2))
        assert len(service.asked) == 1


def test_nobody_there():
    with Service(allow) as service:
        url = service.url
    listens = r"^nothing listens at 127\.0\.0\.1:\d+: connection refused$"
    with pytest.raises(ThirdPartyFailed, match=listens):
        judged(question(), webhook(url))


def test_a_host_that_is_not_known():
    with pytest.raises(ThirdPartyFailed, match=r"^the host name mdm\.invalid is not known$"):
        judged(question(), webhook("http://mdm.invalid/hook"))


def test_a_port_without_tls():
    with Service(allow) as service:
        url = service.url.replace("http:", "https:")
        with pytest.raises(ThirdPartyFailed, match=r"^TLS with 127\.0\.0\.1:\d+ failed: \w"):
            judged(question(), webhook(url, context=tls_context(None, None, None)))


def test_a_proxy_that_is_not_there():
    hook = webhook("http://mdm.example/hook", proxy="http://us:0123456789@127.0.0.1:1")
    said = r"^the proxy on the way to mdm\.example failed: connection refused$"
    with pytest.raises(ThirdPartyFailed, match=said):
        judged(question(), hook)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 \x1b[31mwho?\r\nContent-Length: 0\r\n\r\n", "407, ?[31mwho?"),
        (b"SMTP\r\n\r\n", "400, Bad status line: Expected HTTP/"),
    ],
)
def test_passwords_in_urls_are_not_told_with_what_is_wrong(answer, said):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        thread = threading.Thread(target=_answer_once, args=(proxy, answer))
        thread.start()
        hook = webhook(
            "https://mdm.example/scep?token=abcdefghij",
            context=tls_context(None, None, None),
            proxy=f"http://us:0123456789@127.0.0.1:{port}",
        )
        with pytest.raises(ThirdPartyFailed) as caught:
            judged(question(), hook)
        thread.join()
    assert said in caught.value.message
    assert "token" not in caught.value.message
    assert "0123456789" not in caught.value.message
    assert caught.value.message.isprintable()


def _answer_once(listener, answer):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_the_proxy_of_the_environment_is_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Service(allow) as service:
        assert judged(question(), webhook(service.url)) == Yes()


@pytest.mark.parametrize(
    ("dialect", "answer", "reason"),
    [
        ("scepkit", {"allow": False, "id": "delivery-1", "reason": "lost\n"}, "lost?"),
        ("scepkit", {"allow": False, "id": "delivery-1"}, "without a reason"),
        ("smallstep", {"allow": False, "error": {"message": "lost"}}, "lost"),
        ("smallstep", {"allow": False, "error": {"code": 3}}, "without a reason"),
        ("smallstep", {"allow": False, "error": "lost"}, "lost"),
    ],
)
def test_a_no(dialect, answer, reason):
    assert DIALECTS[dialect].verdict(question(), json.dumps(answer).encode()) == No(reason)


def test_what_an_answer_may_add():
    answer = {"subject": "CN=b", "names": ["dns:b.example"], "data": {"ou": "x"}}
    said = {"allow": True, "id": "delivery-1", "validity_seconds": 60, **answer}
    verdict = DIALECTS["scepkit"].verdict(question(), json.dumps(said).encode())
    assert verdict.answer.members == answer | {"validity_seconds": 60}
    said = {"allow": True, "data": {"ou": "x", "n": 3, "yes": True, "deep": {"a": "b"}, "no": None}}
    verdict = DIALECTS["smallstep"].verdict(question(), json.dumps(said).encode())
    assert verdict.answer.members == {"data": {"ou": "x", "n": "3", "yes": "true"}}


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (
            {"deviceOwner": "anna", "Role": "a", "device-owner": "a", "": "a", "ou": "x"},
            {"ou": "x"},
        ),
        # Go writes a text that is not there so.
        ({"ou": "", "role": "a"}, {"role": "a"}),
        ({"deviceOwner": "anna"}, {}),
    ],
)
def test_what_a_service_for_step_ca_says_beside_its_data_is_left_out(data, kept):
    """A service that was not written for scepkit has names of its own, and its yes is one."""
    said = json.dumps({"allow": True, "data": data}).encode()
    assert dict(DIALECTS["smallstep"].verdict(question(), said).answer.data) == kept


@pytest.mark.parametrize("value", ["a\nb", "x" * 1001, "\ud800"])
def test_data_of_a_service_for_step_ca_that_no_certificate_can_have_are_no_answer(value):
    said = json.dumps({"allow": True, "data": {"ou": value}}).encode()
    with pytest.raises(ThirdPartyFailed, match="the data ou has to be"):
        DIALECTS["smallstep"].verdict(question(), said)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_byte_order_mark_before_an_answer_is_passed_over(dialect):
    """RFC 8259 section 8.1: some services write one."""
    said = {"allow": False, "id": "delivery-1"}
    answer = json.dumps(said).encode("utf-8-sig")
    assert DIALECTS[dialect].verdict(question(), answer) == No("without a reason")


def test_a_whole_number_of_seconds_may_be_written_with_a_fraction():
    """As Python writes what total_seconds returns."""
    said = {"allow": True, "id": "delivery-1", "validity_seconds": 60.0}
    verdict = DIALECTS["scepkit"].verdict(question(), json.dumps(said).encode())
    assert verdict.answer.validity == timedelta(seconds=60)
    for wrong in (60.5, 0.0, -1.0, 1e300):
        answer = json.dumps(said | {"validity_seconds": wrong}).encode()
        with pytest.raises(ThirdPartyFailed, match="validity_seconds"):
            DIALECTS["scepkit"].verdict(question(), answer)


def test_a_member_that_is_unknown():
    """A word in it may be what the yes depends on."""
    said = {"allow": True, "id": "delivery-1", "subjct": "CN=b"}
    with pytest.raises(ThirdPartyFailed, match="unknown member 'subjct'"):
        DIALECTS["scepkit"].verdict(question(), json.dumps(said).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
MEMBERS = st.sampled_from(["allow", "id", "reason", "data", "names", "subject", "error"])


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    st.binary(max_size=60) | st.dictionaries(MEMBERS, JSON).map(lambda o: json.dumps(o).encode())
)
def test_any_answer_is_a_verdict_or_none(dialect, answer):
    try:
        verdict = DIALECTS[dialect].verdict(QUESTION, answer)
    except ThirdPartyFailed:
        return
    assert isinstance(verdict, Yes | No)
    assert isinstance(verdict, Yes) == (json.loads(answer)["allow"] is True)


QUESTION = question()


# --- TLS ------------------------------------------------------------------------------------------


def pem(path, *holders):
    path.write_bytes(
        b"".join(
            one.x509.public_bytes(Encoding.PEM)
            + one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            for one in holders
        )
    )
    return str(path)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Return the paths of a CA, of a server's certificate and of a client's, PEM."""
    import ipaddress

    import httpd

    path = tmp_path_factory.mktemp("tls")
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = path / "ca.pem"
    ca.write_bytes(httpd.ca().x509.public_bytes(Encoding.PEM))
    more = [x509.Extension(names.oid, False, names)]
    server = httpd.certify("service", keys.rsa_key("service"), httpd.ca(), more=more)
    client = httpd.certify("asks", keys.rsa_key("asks"), httpd.ca())
    return str(ca), pem(path / "server.pem", server), pem(path / "client.pem", client)


def test_mutual_tls(tls):
    ca, server, client = tls
    with Service(allow, tls=server, clients=ca) as service:
        shown = tls_context(ca, client, client)
        assert judged(question(), webhook(service.url, context=shown)) == Yes()
        with pytest.raises(ThirdPartyFailed):
            judged(question(), webhook(service.url, context=tls_context(ca, None, None)))
        with pytest.raises(
            ThirdPartyFailed, match=r"^the TLS certificate of 127\S+ is not trusted"
        ):
            judged(question(), webhook(service.url, context=tls_context(None, client, client)))
    assert len(service.asked) == 1


@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_tls_files_that_cannot_be_used(tmp_path, content):
    file = tmp_path / "file.pem"
    file.write_bytes(content)
    for files in ((file, None, None), (None, file, file), (tmp_path / "none", None, None)):
        with pytest.raises(SettingsError, match="TLS files of a webhook"):
            tls_context(*(None if one is None else str(one) for one in files))


# --- the circuit breaker --------------------------------------------------------------------------


class Clock:
    now = NOW

    def __call__(self):
        return self.now


def attempt(circuit, error=None):
    with circuit.attempt():
        if error is not None:
            raise error


def test_a_service_that_fails_is_left_alone():
    clock = Clock()
    circuit = Circuit(2, timedelta(seconds=30), clock)
    failed = ThirdPartyFailed("failed")
    for _ in range(2):
        with pytest.raises(ThirdPartyFailed, match=r"^failed"):
            attempt(circuit, failed)
    with pytest.raises(ThirdPartyFailed, match="left alone"):
        attempt(circuit)
    clock.now += timedelta(seconds=30)
    with circuit.attempt(), pytest.raises(ThirdPartyFailed, match="left alone"):
        attempt(circuit)  # one tries, and no other one beside it
    attempt(circuit)
    with pytest.raises(ThirdPartyFailed, match=r"^failed"):
        attempt(circuit, failed)
    attempt(circuit)


@pytest.mark.parametrize(("status", "is_left_alone"), [(404, False), (422, False), (401, True)])
def test_requests_that_a_service_does_not_take_leave_it_to_the_others(status, is_left_alone):
    """Anybody may send a challenge that no service knows, and some answer that with an error."""

    def answer(asked):
        return allow(asked) if len(service.asked) > 3 else (status, {}, b"")

    with Service(answer) as service:
        hook = webhook(service.url, failures=3)
        for _ in range(3):
            with pytest.raises(ThirdPartyFailed, match=f"answers HTTP {status}"):
                judged(question(), hook)
        if is_left_alone:
            with pytest.raises(ThirdPartyFailed, match="left alone"):
                judged(question(), hook)
        else:
            assert judged(question(), hook) == Yes()


def test_a_clock_that_is_set_back_does_not_leave_it_alone_for_longer():
    clock = Clock()
    circuit = Circuit(1, timedelta(seconds=60), clock)
    with pytest.raises(ThirdPartyFailed, match="down"):
        attempt(circuit, ThirdPartyFailed("down"))
    with pytest.raises(ThirdPartyFailed, match="left alone"):
        attempt(circuit)
    clock.now -= timedelta(hours=1)
    attempt(circuit)
    assert not circuit.is_failing


def test_a_trial_that_is_given_up_is_followed_by_another_one():
    clock = Clock()
    circuit = Circuit(1, timedelta(seconds=30), clock)
    with pytest.raises(ThirdPartyFailed):
        attempt(circuit, ThirdPartyFailed("failed"))
    clock.now += timedelta(seconds=30)
    with pytest.raises(asyncio.CancelledError):
        attempt(circuit, asyncio.CancelledError())
    attempt(circuit)


# --- requests that another reader could read otherwise --------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"subject": "CN=a,CN=b"}, "several CN"),
        ({"subject": "CN=a\\0Ab"}, "control characters"),
        ({"sans": [x509.DNSName("a.example\n")]}, "not of its kind"),
    ],
)
def test_names_that_can_be_read_in_two_ways(how, said):
    with pytest.raises(BadRequest, match=said) as refused:
        ServiceChallenge().judge(devices.request("secret", **how), NOW)
    assert refused.value.text == "the request was refused"


def test_requests_that_can_be_read_in_one_way_only():
    rule = ServiceChallenge()
    assert rule.judge(devices.request("secret", sans=["dns:a.example"]), NOW) is None
    with pytest.raises(BadRequest) as refused:
        rule.judge(devices.request(), NOW)
    assert refused.value.text == REFUSED


# --- the path of a request ------------------------------------------------------------------------


@pytest.fixture
def asking(tmp_path):
    """Return a function that enrols where a service judges every challenge."""
    world = World(tmp_path)

    def asking(url, message=None, **how):
        selected = Selected(ServiceChallenge(), referee=webhook(url))
        parts = {"parties": ThirdParties(), "rule": ServiceChallenge()}
        world.use(selection=lambda _: Selection(((ANY, selected),)), **parts, **how)
        message = message or devices.pkcs_req("mdm-secret", to=world.ra)
        step = asyncio.run(decide(world, message))
        return devices.read(step.reply, world.ra)

    asking.world = world
    yield asking
    world.store.close()


def test_the_answer_is_what_is_issued(asking):
    key = {"subject": {"OU": {"template": "{{ service.data.ou }}"}}}
    profile = ProfileSettings(**key).compiled("mdm", None)
    with Service(lambda asked: allow(asked, data={"ou": "Sales"})) as service:
        reply = asking(service.url, profile=profile)
    assert isinstance(reply.rep, Success)
    (unit,) = reply.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert unit.value == "Sales"


def test_a_no_is_final(asking):
    answer = {"allow": False, "id": None}
    with Service(lambda asked: (200, {}, answer | {"id": asked["id"]})) as service:
        reply = asking(service.url)
    assert isinstance(reply.rep, Failure)
    assert asking.world.issued == 0


def test_the_yes_of_another_service_does_not_count(asking, monkeypatch):
    """Not within the day for which it is stored, and also when the first one agreed."""
    message = devices.pkcs_req("mdm-secret", to=asking.world.ra)
    certify = Authority.certify

    def fail(*_):
        raise StoreError("no certificate this time")

    monkeypatch.setattr(Authority, "certify", fail)
    with Service(allow) as first, Service(lambda asked: allow(asked, allow=False)) as second:
        for _ in range(2):
            with pytest.raises(StoreError):
                asking(first.url, message)
        assert len(first.asked) == 1  # the second attempt finds its yes
        monkeypatch.setattr(Authority, "certify", certify)
        assert isinstance(asking(second.url, message).rep, Failure)
        assert second.asked[0]["id"] == first.asked[0]["id"]
        assert asking.world.issued == 0
        assert isinstance(asking(first.url, message).rep, Success)
        assert len(first.asked) == 1  # its own still counts


def test_a_clock_that_is_off_by_an_hour(asking):
    """A service that looks at the time refuses what is signed; then the device comes back."""
    clock = {"off": timedelta(hours=1)}

    def fresh(asked):
        said = dict(one.split("=") for one in asked["headers"]["Scepkit-Signature"].split(","))
        seconds = int(said["t"]) - (NOW + clock["off"]).timestamp()
        return allow(asked) if abs(seconds) < 300 else (401, {}, {"reason": "look at your clock"})

    message = devices.pkcs_req("mdm-secret", to=asking.world.ra)
    with Service(lambda asked: fresh(service.asked[-1])) as service:
        with pytest.raises(ThirdPartyFailed, match="HTTP 401"):
            asking(service.url, message)
        assert asking.world.issued == 0
        clock["off"] = timedelta(0)
        assert isinstance(asking(service.url, message).rep, Success)
    first, second = service.asked
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    "lie",
    [
        {"subject": "CN=somebody else"},
        {"names": ["dns:other.example"]},
        {"names": "dns:a.example"},
        {"validity_seconds": -1},
        {"validity_seconds": 10**30},
        {"data": {"ou": ["a", "list"]}},
    ],
    ids=str,
)
def test_a_yes_that_lies(asking, lie):
    """What does not fit the request, or is nothing, gets no certificate; nor does a retry."""
    message = devices.pkcs_req("mdm-secret", to=asking.world.ra, sans=["dns:a.example"])
    with Service(lambda asked: allow(asked, **lie)) as service:
        for _ in range(2):
            try:
                reply = asking(service.url, message)
            except ThirdPartyFailed:
                continue
            assert isinstance(reply.rep, Failure)
    assert asking.world.issued == 0


def test_a_service_that_fails_lets_nobody_in(asking):
    with Service(lambda _asked: (500, {}, b"")) as service:
        with pytest.raises(ThirdPartyFailed, match="webhook mdm failed"):
            asking(service.url)
        assert asking.world.issued == 0
        service.answer = allow
        message = devices.pkcs_req("mdm-secret", to=asking.world.ra)
        assert isinstance(asking(service.url, message).rep, Success)
        asked = len(service.asked)
        assert isinstance(asking(service.url, message).rep, Success)
        assert len(service.asked) == asked  # a repetition is answered from what is stored


def test_an_attempt_after_a_failure_is_the_same_delivery(asking):
    """So a service that spends a challenge knows a retry."""
    message = devices.pkcs_req("mdm-secret", to=asking.world.ra)
    with Service(lambda _asked: DROP) as service:
        for _ in range(2):
            with pytest.raises(ThirdPartyFailed):
                asking(service.url, message)
    first, second = service.asked
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(lambda text: forge.tlv(0x0C, text.encode()), id="UTF8String"),
        pytest.param(lambda text: forge.tlv(0x13, text.encode()), id="PrintableString"),
        pytest.param(lambda text: forge.tlv(0x14, text.encode()), id="TeletexString"),
        pytest.param(lambda text: forge.tlv(0x16, text.encode()), id="IA5String"),
        pytest.param(lambda text: forge.tlv(0x1C, text.encode("utf-32-be")), id="UniversalString"),
        pytest.param(lambda text: forge.tlv(0x1E, text.encode("utf-16-be")), id="BMPString"),
    ],
)
def test_a_challenge_of_sixteen_thousand_characters(asking, encoded):
    """It reaches the service whole, whatever type of string it is of; a longer one is wrong."""
    with Service(allow) as service:
        for more, issued in ((0, True), (1, False)):
            secret = "x" * (MAX_SERVICE_LENGTH + more)
            wanted = forge.csr(attributes=[forge.challenge(encoded(secret))])
            reply = asking(service.url, forge.request(wanted))
            assert isinstance(reply.rep, Success) is issued
    (asked,) = service.asked
    assert asked["challenge"] == "x" * MAX_SERVICE_LENGTH


def test_one_that_no_service_judges_is_as_long_as_ever(asking):
    """RFC 2985 section 5.4.1, for all that is compared here."""
    world = asking.world
    for most, rule in ((255, StaticChallenge("s" * 256)), (255, world.challenges)):
        assert rule.max_length == most
        world.use(selection=lambda _, rule=rule: Selection(((ANY, Selected(rule)),)))
        reply = world.enrol("s" * 256)
        assert isinstance(reply.rep, Failure)


def test_renewals_do_not_ask(asking):
    device = asking.world.enrolled()
    with Service(lambda _asked: (200, {}, {"allow": False})) as service:
        renewal = devices.renewal_req("mdm-secret", to=asking.world.ra, signer=device)
        selected = Selected(ServiceChallenge(), referee=webhook(service.url))
        asking.world.use(selection=lambda _: Selection(((ANY, selected),)), parties=ThirdParties())
        reply = asking.world.ask(renewal, device)
    assert isinstance(reply.rep, Success)
    assert service.asked == []


# --- settings -------------------------------------------------------------------------------------

HOOK = (
    '[[endpoint.default.authorization]]\nkind = "webhook"\nname = "mdm"\ndialect = "scepkit"\n'
    'secret_file = "hook.key"\n'
)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('url = "http://mdm.example/scep"', "it has to be an https URL"),
        ('url = "ftp://mdm.example/scep"', "it has to be an https URL"),
        ('url = "https://a:b@mdm.example/"', "no user, password or fragment"),
        ('url = "https:///scep"', "has to name a host"),
        ('url = "https://mdm.example:44a/"', "it is no URL"),
        ('url = "https://mdm.example:443:443/"', "it is no URL"),
        ('url = "https://mdm.example:99999/"', "it is no URL"),
        ('url = "https://mdm.example:0/"', "it is no URL: the port is a number"),
        ('url = "https://[::1/"', "it is no URL"),
        ('url = "https://mdm example/"', "it has characters that are in no URL"),
        ('url = "https://a/"\nproxy = "http://proxy:x"', "proxy: it is no URL"),
        ('url = "https://a/"\nproxy = "http://:3128"', "the http URL of a proxy"),
        ('url = "https://a/"\nproxy = "https://proxy"', "the http URL of a proxy"),
        ('url = "https://mdm.example/"\ntls_key = "k"', "belong together"),
        ('url = "https://mdm.example/"\nfailures = 0', "failures has to be at least 1"),
        ('url = "https://mdm.example/"\nsecnds = 3', "did you mean `seconds`?"),
        ("", "authorization.0.url has to be there"),
        (f'url = "https://mdm.example/"\n{HOOK}url = "https://a/"', "needs a name of its own"),
        (
            f'url = "https://a/"\n{HOOK.replace("mdm", "other")}url = "https://b/"',
            "a challenge can have the shape of two rules",
        ),
    ],
)
def test_settings_of_a_webhook(tmp_path, more, said):
    (tmp_path / "scep.toml").write_text(HOOK + more)
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("secret", "mode", "said"),
    [
        ("short", 0o600, "does not hold at least 16 octets in base64"),
        (SECRET[:8], 0o600, "does not hold at least 16 octets in base64"),
        (SECRET, 0o644, "can be read by others"),
        (None, 0o600, "is missing"),
    ],
)
def test_a_secret_that_cannot_be_used(app, directory, made, tmp_path, secret, mode, said):
    if secret is not None:
        file = tmp_path / "hook.key"
        file.touch(mode)
        file.chmod(mode)
        file.write_text(secret)
    rule = {
        "kind": "webhook",
        "name": "mdm",
        "dialect": "scepkit",
        "url": "https://mdm.example/",
        "secret_file": str(tmp_path / "hook.key"),
    }
    with pytest.raises(SettingsError, match=said):
        app(endpoint={"default": {"authorization": [rule]}})


def test_the_length_of_what_a_rule_takes():
    """Each kind takes what may be right for it, and no more; so the others need no prefix."""
    long = {"kind": "webhook", "name": "a", "dialect": "scepkit", "url": "http://127.0.0.1/"}
    hook = WebhookRule(**long, secret_file="a", match={"length": [256, 16384]})
    assert not hook.pattern.overlaps(OneTimeRule(kind="one-time").pattern)
    assert hook.pattern.takes("x" * 16384)
    assert not OneTimeRule(kind="one-time").pattern.takes("x" * 256)
    secret = {"name": "a", "file": "a"}
    with pytest.raises(ValueError, match="no challenge of this kind has more than 255 characters"):
        StaticRule(kind="static", secrets=[secret], match={"length": 256})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_asks(directory, serve, dialect):
    """As its operator sets it up, over real sockets on both sides."""
    path = directory()
    key = path / "hook.key"
    key.touch(0o600)
    key.write_text(SECRET)
    with Service(allow) as service:
        rule = HOOK.replace('"scepkit"', f'"{dialect}"') + f'url = "{service.url}"\n'
        with (path / "scep.toml").open("a") as file:
            file.write(f'{rule}match = {{ prefix = "mdm-" }}\n')
        server = serve(path)
        got = server.post(devices.pkcs_req("mdm-secret", to=server.ra))
        assert isinstance(server.read(got).rep, Success)
        long = devices.pkcs_req("mdm-" + "y" * 16000, to=server.ra, transaction_id="long")
        query = urlencode({"operation": "PKIOperation", "message": base64.b64encode(long)})
        assert isinstance(server.read(server.ask(f"/scep?{query}")).rep, Success)
        assert service.asked[-1].get("challenge", service.asked[-1].get("scepChallenge")) == (
            "mdm-" + "y" * 16000
        )
        refused = server.post(devices.pkcs_req("other", to=server.ra, transaction_id="b"))
        assert isinstance(server.read(refused).rep, Failure)
        service.answer = lambda _asked: (500, {}, b"")
        failed = server.post(devices.pkcs_req("mdm-b", to=server.ra, transaction_id="c"))
        assert failed.status == 503
        assert "retry-after" in failed.headers
        assert len(service.asked) == 3
        assert server.stop() == 0
    assert SECRET not in server.log
    assert "mdm-secret" not in server.log
