"""A server that waits for third parties: killed, hung up on, and asked by others meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

import postgresql
from enrolment import devices
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.store import Status, Store
from server.live import PKI_MESSAGE, PKI_OPERATION, read_answer
from waiting import PATIENCE, wait_until

SCRIPT = Path(__file__).with_name("with_third_parties.py")


@pytest.fixture(scope="module")
def cluster():
    with postgresql.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Return the URL of the database; empty for SQLite in the server's directory."""
    if request.param == "sqlite":
        yield ""
        return
    with request.getfixturevalue("cluster").fresh_database() as fresh:
        yield fresh


class Site:
    """A data directory, its database, and the files that steer the third parties."""

    def __init__(self, path, place, url, serve):
        self.path, self.place, self._serve = path, place, serve
        self.url = url or f"sqlite:///{path / 'scep.db'}"
        self._env = {"SCEP_DATABASE": url} if url else {}

    def start(self, parties, **env):
        given = {"PARTIES": parties, "PARTIES_AT": str(self.place)}
        return self._serve(self.path, customize=SCRIPT, **self._env, **given, **env)

    def says(self, party, word):
        (self.place / f"{party}.says").write_text(word)

    def asked(self, party):
        file = self.place / f"{party}.asked"
        return file.read_text().splitlines() if file.exists() else []

    def was_asked(self, party, times=1):
        wait_until(lambda: len(self.asked(party)) >= times, f"the question to the {party}")

    def requests(self):
        with Store.open(self.url) as store:
            return [row.status for row in store.requests(status=None)]

    def certificates(self):
        with Store.open(self.url) as store:
            return [*store.certificates()]


@pytest.fixture
def site(directory, tmp_path, url, serve, monkeypatch):
    if url:
        monkeypatch.setenv("SCEP_DATABASE", url)
    place = tmp_path / "steered"
    place.mkdir()
    return Site(directory(), place, url, serve)


def posted(server, message):
    """Post a message in a thread of its own; return the thread and where its answer will be."""
    answers = []

    def post():
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(server.post(message))

    thread = threading.Thread(target=post)
    thread.start()
    return thread, answers


def test_killed_between_the_signature_and_the_delivery(site, challenges):
    """Its next attempt is the same delivery; the certificate is not signed twice."""
    server = site.start("teller")
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    thread, answers = posted(server, message)
    site.was_asked("teller")
    assert site.requests() == [Status.SIGNED]
    server.kill()
    thread.join(PATIENCE)
    assert answers == []
    again = site.start("teller")
    thread, answers = posted(again, message)
    site.was_asked("teller", 2)
    assert answers == []
    site.says("teller", "yes")
    thread.join(PATIENCE)
    reply = again.read(answers[0])
    assert len(set(site.asked("teller"))) == 1
    assert [one.der for one in site.certificates()] == [reply.certificate]
    assert site.requests() == [Status.ISSUED]
    assert again.read(again.post(message)).certificate == reply.certificate
    assert again.stop() == 0


def test_killed_and_then_refused(site, challenges):
    """What was signed is revoked, and nobody ever has it."""
    server = site.start("teller")
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    thread, _ = posted(server, message)
    site.was_asked("teller")
    server.kill()
    thread.join(PATIENCE)
    site.says("teller", "no")
    again = site.start("teller")
    assert isinstance(again.read(again.post(message)).rep, Failure)
    (row,) = site.certificates()
    assert row.revoked_by == "teller"
    assert site.requests() == [Status.REJECTED]
    assert again.logged(event="scep", outcome="FAILURE")["reason"].endswith("the file says no")


def test_killed_after_the_yes_of_a_referee(site, challenges):
    """The yes was stored before the other CA was asked; so it is not asked for again."""
    server = site.start("referee,issuer")
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    site.says("referee", "yes")
    thread, _ = posted(server, message)
    site.was_asked("issuer")
    server.kill()
    thread.join(PATIENCE)
    assert site.requests() == []
    site.says("referee", "no")
    site.says("issuer", "yes")
    again = site.start("referee,issuer")
    assert isinstance(again.read(again.post(message)).rep, Success)
    assert len(site.asked("referee")) == 1
    assert len(site.asked("issuer")) == 2
    assert len(set(site.asked("issuer"))) == 1
    assert len(site.certificates()) == 1


ANSWERED = """
[profile.mdm]
validity = "30d"
[profile.mdm.subject.OU]
template = "{{ service.data.department }}"
[profile.mdm.names.dns]
add = ["{{ service.names.dns | first }}"]
[endpoint.default]
profile = "mdm"
"""
ANSWER = {"subject": "CN=device", "names": ["dns:a.example"], "validity_seconds": 3600}


@pytest.mark.parametrize("killed_at", ["issuer", "teller"])
def test_killed_after_the_answer_of_a_referee(site, challenges, killed_at):
    """The certificate is what the first answer says, which was stored before all else."""
    (site.path / "scep.toml").write_text(ANSWERED)
    parties = f"referee,{killed_at}"
    server = site.start(parties)
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    site.says("referee", f"yes {json.dumps(ANSWER | {'data': {'department': 'IT'}})}")
    thread, _ = posted(server, message)
    site.was_asked(killed_at)
    server.kill()
    thread.join(PATIENCE)
    site.says("referee", f"yes {json.dumps({'data': {'department': 'Thieves'}})}")
    site.says(killed_at, "yes")
    again = site.start(parties)
    reply = again.read(again.post(message))
    assert len(site.asked("referee")) == 1
    issued = reply.x509
    assert issued.subject.rfc4514_string() == "OU=IT,CN=device"
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [*names] == [x509.DNSName("a.example")]
    assert issued.not_valid_after_utc - issued.not_valid_before_utc < timedelta(hours=2)
    assert [one.der for one in site.certificates()] == [reply.certificate]
    assert again.read(again.post(message)).certificate == reply.certificate
    with Store.open(site.url) as store:
        (told,) = store.audit_records(action="answered")
    assert (told.members["actor"], told.members["subject"]) == ("referee", "CN=device")
    assert again.stop() == 0


def test_killed_before_the_word_of_a_referee(site, challenges):
    server = site.start("referee")
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    thread, _ = posted(server, message)
    site.was_asked("referee")
    server.kill()
    thread.join(PATIENCE)
    site.says("referee", "yes")
    again = site.start("referee")
    assert isinstance(again.read(again.post(message)).rep, Success)
    assert len(set(site.asked("referee"))) == 1


@pytest.mark.parametrize("how", ["reset", "closed", "half"])
def test_over_http(directory, tmp_path, serve, challenges, how):
    """Too long: 503 with Retry-After. A client that hangs up ends its wait, as the metrics say."""
    place = tmp_path / "steered"
    place.mkdir()
    site = Site(directory(), place, "", serve)
    server = site.start("referee", SCEP_WAITING_SECONDS="1", SCEP_MAX_WAITING="1")
    message = devices.pkcs_req(challenges(site.path)[0], to=server.ra)
    answer = server.post(message)
    assert (answer.status, answer.body) == (503, b"try again later\n")
    assert int(answer.headers["retry-after"]) > 0
    line = server.logged(event="scep", outcome="HTTP 503")
    assert "the referee referee failed: no answer in 1.0 s" in line["reason"]
    assert server.stop() == 0
    assert line["transaction_id"] == "a"
    again = site.start("referee", SCEP_WAITING_SECONDS="600", SCEP_MAX_WAITING="1")
    connection = http.client.HTTPConnection("127.0.0.1", again.port, timeout=PATIENCE)
    connection.request("POST", PKI_OPERATION, message, PKI_MESSAGE)
    site.was_asked("referee", 2)
    assert 'scep_waiting{role="referee"} 1.0' in again.ask("/metrics").text
    refused = again.post(devices.pkcs_req(challenges(site.path)[0], to=again.ra))
    assert refused.status == 503
    assert refused.headers["retry-after"] == "30"
    # An ordinary answer needs no word of anybody's.
    assert again.ask("/scep?operation=GetCACaps").status == 200
    if how == "reset":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.sock.recv(1) == b""
    connection.close()
    cancelled = 'scep_waiting_seconds_count{outcome="cancelled",role="referee"} 1.0'
    wait_until(lambda: cancelled in again.ask("/metrics").text, "the end of the wait")
    assert 'scep_waiting{role="referee"} 0.0' in again.ask("/metrics").text
    site.says("referee", "yes")
    assert isinstance(again.read(again.post(message)).rep, Success)
    assert "bug" not in again.log
    assert again.stop() == 0


def test_what_is_signed_waits_for_no_client(directory, tmp_path, serve, challenges):
    """It is told of to the end; a client that only has finished sending gets its answer."""
    place = tmp_path / "steered"
    place.mkdir()
    site = Site(directory(), place, "", serve)
    server = site.start("teller")
    connections = []
    for number, secret in enumerate(challenges(site.path, 2)):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        message = devices.pkcs_req(secret, to=server.ra, transaction_id=str(number))
        connection.request("POST", PKI_OPERATION, message, PKI_MESSAGE)
        connections.append(connection)
        site.was_asked("teller", number + 1)
    connections[0].sock.shutdown(socket.SHUT_WR)
    connections[1].close()
    site.says("teller", "yes")
    assert isinstance(server.read(read_answer(connections[0].sock)).rep, Success)
    connections[0].close()
    wait_until(lambda: site.requests() == 2 * [Status.ISSUED], "the deliveries")
    assert server.stop() == 0
