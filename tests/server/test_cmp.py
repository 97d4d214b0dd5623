"""CMP over HTTP: what has a CMP answer gets it with status 200, and the rest HTTP's."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
from cmp import forging
from enrolment.revoking import request
from scepkit.cli import terminal
from scepkit.errors import StoreError
from scepkit.protocol import cmp
from scepkit.protocol.certificate import show_serial
from scepkit.server.web import worker_pool
from scepkit.services.cmp import CMPService
from scepkit.store import Store
from server.socketless import ask, ask_while_another_stalls
from waiting import wait_until

TEN_MIB = 10 * 1024 * 1024


def post(app, body, path="/cmp/default", **how):
    return asyncio.run(ask(app, path, "POST", body, **how))


def said(answer):
    """Return the failInfo in an error message."""
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pkixcmp")
    assert answer.headers["cache-control"] == "no-store"
    reply = cmp.message.read(answer.body)
    (failure,) = cmp.revocation.read_error(reply.body).failures
    return failure.name


def test_an_answer_in_cmp(app, logged):
    """The bare media type and status 200, for errors as well: openssl reads nothing else."""
    made, _ = app()
    stranger = keys.device()
    assert said(post(made, request(stranger).der)) == "wrongAuthority"
    assert said(post(made, forging.rr(transaction_id=None))) == "badDataFormat"
    # Whatever it says of itself.
    answer = post(made, request(stranger).der, headers=[("Content-Type", "text/plain")])
    assert said(answer) == "wrongAuthority"
    lines = [line for line in logged if line["event"] == "cmp"]
    assert [line["outcome"] for line in lines] == [
        *("wrongAuthority", "badDataFormat", "wrongAuthority")
    ]
    assert lines[0]["serial"] == show_serial(stranger.x509.serial_number)
    assert lines[0]["reason"] == "the certificate is of another CA"
    assert re.fullmatch("[0-9a-f]{32}", lines[0]["transaction_id"])
    assert lines[0]["peer"] == "192.0.2.7"


def test_attempts_count_by_network(app, monkeypatch):
    """One subscriber of IPv6 has 2^64 addresses."""
    made, _ = app()
    answer, peers = CMPService.answer, []

    def noted(service, der, peer=""):
        peers.append(peer)
        return answer(service, der, peer)

    monkeypatch.setattr(CMPService, "answer", noted)
    for peer in ("192.0.2.1", "2001:db8::1"):
        post(made, request(keys.device()).der, peer=peer)
    assert peers == ["192.0.2.1", "2001:db8::/64"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not a CMP message: "),
        (b"hello\x1b[2J", 400, "not a CMP message: "),
        (bytes(cmp.MAX_MESSAGE), 400, "not a CMP message: "),
        (bytes(cmp.MAX_MESSAGE + 1), 413, "the body is larger than 131072 octets"),
        ([b"\x30" * (TEN_MIB // 64)] * 64, 413, "the body is larger than 131072 octets"),
    ],
    ids=["nothing", "text", "zeros", "one too many", "10 MiB in pieces"],
)
def test_what_has_no_answer_in_cmp(app, logged, body, status, text):
    """HTTP says why, in a line, and so does the log."""
    made, _ = app()
    answer = post(made, body)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith(text)
    (line,) = [line for line in logged if line["event"] == "cmp"]
    assert line["outcome"] == f"HTTP {status}"


@pytest.mark.parametrize("length", ["10485760", "-1", "x", "131073"])
def test_a_length_that_is_announced(app, length):
    """10 MiB are refused before they are read."""
    made, _ = app()
    assert post(made, [b"", b""], headers=[("Content-Length", length)]).status == 413


def test_where_it_is(app, monkeypatch):
    """By POST, at the endpoints that have it."""
    monkeypatch.setenv("SCEP_ENDPOINT__VPN__CMP", "false")
    made, _ = app()
    for path in ("/cmp/nobody", "/cmp/vpn", "/cmp/", "/cmp", "/cmp/default/x"):
        assert post(made, b"", path).status == 404
    answer = asyncio.run(ask(made, "/cmp/default"))
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_too_many_at_once(app, monkeypatch):
    """A client that comes back is told when."""
    made, _ = app()
    monkeypatch.setattr(worker_pool, "LIMIT", 0)
    answer = post(made, request(keys.device()).der)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_who_sends_slowly_keeps_nobody_out(app, monkeypatch):
    """A request counts from when it is whole."""
    made, _ = app()
    monkeypatch.setattr(worker_pool, "LIMIT", 1)
    message = request(keys.device()).der
    answer = asyncio.run(ask_while_another_stalls(made, "/cmp/default", message))
    assert said(answer) == "wrongAuthority"


def test_who_hangs_up(app, logged):
    """There is nobody to answer, and nothing to log."""
    made, _ = app()
    post(made, b"\x30", gone=True)
    assert [line for line in logged if line["event"] == "cmp"] == []


def test_a_database_that_is_dead(app, logged, monkeypatch):
    """The client hears systemUnavail, the operator what to do."""
    made, path = app()
    issuer = _ca_name(path)

    def broken(*_how, **_more):
        raise StoreError("the disk is full", hint="make room")

    monkeypatch.setattr(Store, "find_certificate", broken)
    holder = _certified(path)
    sent = request(holder)
    assert sent.revocation.issuer == issuer
    assert said(post(made, sent.der)) == "systemUnavail"
    (fault,) = [line for line in logged if line["event"] == "server fault"]
    assert (fault["error"], fault["hint"]) == ("the disk is full", "make room")


def test_a_bug(app, logged, monkeypatch):
    """HTTP 500, and the log has it."""
    from scepkit.services.cmp import CMPService

    def broken(*_how):
        raise ZeroDivisionError

    monkeypatch.setattr(CMPService, "answer", broken)
    made, _ = app()
    answer = post(made, b"\x30")
    assert (answer.status, answer.text) == (500, "internal error\n")
    assert any("bug" in line["event"] for line in logged)


def _ca_name(path):
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    return certificate.subject.public_bytes()


def _certified(path):
    """Return a certificate that the CA of a directory signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key((path / "ca-key.pem").read_bytes(), None)
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    return keys.certify("device", keys.ec_key("device"), keys.Holder(key, ca))


# `scep revoke` against `scep serve`


@pytest.fixture
def running(directory, serve):
    return serve(directory())


@pytest.fixture
def enrolled(running, challenges, scep, tmp_path):
    """Enrol into a directory and return it."""

    def enrolled(name="dev1", key="rsa:2048"):
        (secret,) = challenges(running.directory)
        out = tmp_path / name
        status, _, err = scep(
            *("enroll", running.url, "--subject", f"CN={name}", "--out", out, "--key", key),
            *("--fingerprint", running.fingerprint, "--challenge", secret),
        )
        assert status == 0, err
        return out

    return enrolled


@pytest.mark.parametrize("key", ["rsa:2048", "ec:p256", "ed25519"])
def test_scep_revoke(running, enrolled, scep, key):
    """The whole way, by both ends; the folder says so afterwards, and the server to everybody."""
    out = enrolled(key=key)
    status, data, err = scep("revoke", out, "--reason", "keyCompromise")
    assert (status, data) == (0, ""), err
    assert re.fullmatch(
        "revoked the certificate of CN=dev1, serial ([0-9a-f]+): keyCompromise\n"
        f"for a new one: scep enroll {re.escape(running.url)} --subject CN=dev1 "
        f"--out {re.escape(str(out))}\n",
        err,
    )
    status, data, _ = scep("status", out)
    assert status == 1
    assert data.startswith("state       revoked\n")
    assert "reason      keyCompromise\n" in data
    line = running.logged(event="cmp")
    assert (line["outcome"], line["subject"]) == ("accepted", "CN=dev1")
    assert line["by"] == "its owner, by CMP"
    shown = json.loads(
        scep("admin", "show", line["serial"], "--json", "--dir", running.directory)[1]
    )
    assert (shown["status"], shown["reason"]) == ("revoked", "keyCompromise")
    # Once more is no harm, and what was said the first time stays.
    status, data, err = scep("revoke", out, "--json", "--reason", "superseded")
    assert (status, json.loads(data)["before"], json.loads(data)["reason"]) == (0, True, None)
    assert "reason      keyCompromise\n" in scep("status", out)[1]
    metrics = running.ask("/metrics").text
    assert 'scep_cmp_responses_total{endpoint="default",outcome="accepted"} 1.0' in metrics
    # It renews nothing, and makes room for a new one.
    status, _, err = scep("renew", out, "--force")
    assert status == 1
    assert "was revoked, and cannot be renewed" in err
    fresh = enrolled(key=key)
    assert scep("status", fresh)[1].startswith("state       valid\n")


def test_who_sits_at_a_terminal_is_asked(running, enrolled, scep, monkeypatch):
    """A no leaves everything as it is; --yes asks nobody."""
    out = enrolled()
    asked = []
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "confirm", lambda question: bool(asked.append(question)))
    status, _, err = scep("revoke", out)
    assert (status, len(asked), "aborted" in err) == (1, 1, True), err
    assert "CN=dev1" in err
    assert scep("admin", "list", "--status", "revoked", "--dir", running.directory)[1] == ""
    assert scep("revoke", out, "--yes")[0] == 0
    assert len(asked) == 1


def test_on_hold(running, enrolled, scep):
    """The folder cannot know when a hold ends, so it renews as before, if the CA lets it."""
    out = enrolled()
    assert scep("revoke", out, "--reason", "certificateHold")[0] == 0
    status, data, _ = scep("status", out)
    assert status == 1
    assert data.startswith("state       on hold\n")
    status, _, err = scep("renew", out, "--force")
    assert status == 1, err
    serial = json.loads(scep("status", out, "--json")[1])["serial"]
    directory = ("--dir", running.directory)
    assert scep("admin", "release", serial, *directory)[0] == 0
    assert scep("renew", out, "--force")[0] == 0
    assert scep("status", out)[1].startswith("state       valid\n")


def test_after_a_rollover(running, enrolled, scep):
    """A certificate of the CA of before is revoked by whom that CA's holders know."""
    out = enrolled()
    directory = ("--dir", running.directory)
    assert scep("admin", "rollover", "prepare", *directory)[0] == 0
    before = running.shown_at()
    assert scep("admin", "rollover", "activate", "--yes", *directory)[0] == 0
    wait_until(lambda: running.shown_at()[-1] not in before, "the rollover")
    status, _, err = scep("revoke", out)
    assert status == 0, err


def test_the_passphrase(directory, serve, challenges, scep, tmp_path):
    """A key that is lost: the challenge that the certificate was got with, where that is on."""
    running = serve(directory(), SCEP_ENDPOINT__DEFAULT__REVOCATION_PASSPHRASE="true")
    (secret,) = challenges(running.directory)
    out = tmp_path / "dev1"
    enrol = ("enroll", running.url, "--subject", "CN=dev1", "--out", out)
    status, _, err = scep(*enrol, "--fingerprint", running.fingerprint, "--challenge", secret)
    assert status == 0, err
    (out / "key.pem").unlink()
    assert scep("revoke", out)[0] == 2
    wrong = tmp_path / "wrong"
    wrong.write_text("a wrong one\n")
    status, _, err = scep("revoke", out, "--passphrase-file", wrong)
    assert (status, err) == (1, "error: badMessageCheck: the MAC does not hold\n")
    right = tmp_path / "right"
    right.write_text(f"{secret}\n")
    status, _, err = scep("revoke", out, "--passphrase-file", right, "--reason", "keyCompromise")
    assert status == 0, err
    assert secret not in running.log
    assert b"PRIVATE" not in b"".join(one.read_bytes() for one in out.iterdir())


def test_what_is_said_when_it_cannot_work(running, enrolled, scep, tmp_path):
    out = enrolled()
    status, _, err = scep("revoke", tmp_path / "nowhere")
    assert (status, "there is no directory" in err) == (2, True)
    (tmp_path / "empty").mkdir()
    status, _, err = scep("revoke", tmp_path / "empty")
    assert (status, "there is no certificate" in err) == (2, True)
    base = running.url.removesuffix("/scep")
    status, _, err = scep("revoke", out, "--cmp-url", f"{base}/cmp/other")
    assert (status, "there is no CMP at" in err, "--cmp-url" in err) == (1, True, True)
    status, _, err = scep("revoke", out, "--cmp-url", f"{base}/scep?operation=GetCACaps")
    assert status == 1
    (out / "enrolment.json").unlink()
    status, _, err = scep("revoke", out)
    assert (status, "--cmp-url" in err) == (2, True)
    key = keys.ec_key("another").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (out / "key.pem").write_bytes(key)
    status, _, err = scep("revoke", out, "--cmp-url", f"{base}/cmp/default")
    assert (status, "is not the key of" in err) == (2, True)
    assert scep("admin", "list", "--status", "revoked", "--dir", running.directory)[1] == ""


def test_a_question_that_nobody_would_see(enrolled, scep, monkeypatch):
    """At a terminal whose stderr goes elsewhere nothing is revoked without --yes."""
    out = enrolled()
    monkeypatch.setattr("scepkit.cli.terminal.sys.stdin", SimpleNamespace(isatty=lambda: True))
    status, _, err = scep("revoke", out)
    assert status == 2
    assert "hint: give --yes" in err
    assert scep("revoke", out, "--yes")[0] == 0
