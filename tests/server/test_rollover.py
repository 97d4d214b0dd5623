"""A CA follows another while two worker processes serve, and devices notice nothing."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
from types import SimpleNamespace

import pytest
from cryptography import x509

import keys
from enrolment import devices
from openssl import OpenSSL
from scepkit.cli import terminal
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.scep import ca_certificates
from waiting import wait_until

NEXT = "/scep?operation=GetNextCACert"


class Rolling:
    """A server with two workers, and what its operator types."""

    def __init__(self, server, challenges, scep):
        self.server = server
        self._scep = scep
        self._secrets = iter(challenges(server.directory, 4000))
        self._count = iter(range(10_000))

    def admin(self, *arguments, status=0):
        was, out, err = self._scep("admin", "rollover", *arguments, "--dir", self.server.directory)
        assert was == status, err
        return out

    def revoke(self, serial):
        """Return what the operator reads."""
        where = ("--dir", self.server.directory)
        status, _, err = self._scep("admin", "revoke", show_serial(serial), *where)
        assert status == 0, err
        return err

    def enrol(self, to):
        """Enrol with requests encrypted to somebody; replies come from that RA or its successor."""
        number = next(self._count)
        message = devices.pkcs_req(
            next(self._secrets), to=to, transaction_id=f"t{number}", subject=f"CN=d{number}"
        )
        return self.read(self.server.post(message))

    def read(self, answer, signer=None):
        # Which worker answered, and whether it has changed over yet, shows in who signed.
        for ra in (self.server.ra, *self.successors):
            try:
                return self.server.read(answer, signer, ra)
            except Exception:  # noqa: BLE001
                continue
        raise AssertionError(answer)

    successors = ()

    def everywhere(self, condition, what):
        """Wait until each worker says so, while the other stands still."""
        wait_until(lambda: all(self._alone(pid, condition) for pid in self.server.workers), what)

    def _alone(self, pid, condition):
        others = [one for one in self.server.workers if one != pid]
        for one in others:
            os.kill(one, signal.SIGSTOP)
        try:
            return condition()
        finally:
            for one in others:
                os.kill(one, signal.SIGCONT)


@pytest.fixture
def rolling(directory, serve, challenges, scep):
    server = serve(directory(), "--workers", "2")
    wait_until(lambda: len(server.workers) == 2, "the start of both")
    yield Rolling(server, challenges, scep)
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.rfc("S-4.7.1-1", "S-4.7.1-2", "S-5.1-2", "P-42", "S-2.2-8")
def test_a_rollover(rolling, tmp_path):
    """Prepare, enrol with the next CA, activate: old requests, renewals and polls go on working."""
    server = rolling.server
    old_ra, old_ca = server.ra, server.shown_at()[-1]
    before = rolling.enrol(old_ra).x509
    assert server.ask(NEXT).status == 404

    fingerprint = rolling.admin("prepare").split()[1]
    rolling.everywhere(lambda: server.ask(NEXT).status == 200, "GetNextCACert")
    assert b"GetNextCACert\n" in server.ask("/scep?operation=GetCACaps").body
    # The next CA is not the CA yet.
    assert server.shown_at()[-1] == old_ca
    inner = OpenSSL(tmp_path).verify(server.ask(NEXT).body, keys.Holder(None, old_ca))
    next_ra, next_ca = (one.x509() for one in ca_certificates.parse(inner))
    assert f"sha256:{next_ca.fingerprint(keys.SHA256).hex()}" == fingerprint
    rolling.successors = (Certificate.of(next_ra),)

    # The envelope chooses the CA (RFC 8894 section 5.1).
    ahead = rolling.enrol(Certificate.of(next_ra)).x509
    ahead.verify_directly_issued_by(next_ca)
    revoked = rolling.revoke(ahead.serial_number)
    # The server may have signed the first one already.
    name = re.escape(next_ca.subject.rfc4514_string())
    assert re.search(rf"^signed CRL number \d of {name}$", revoked, re.MULTILINE)
    rolling.enrol(old_ra).x509.verify_directly_issued_by(old_ca)

    rolling.admin("activate", "--yes")
    rolling.everywhere(lambda: server.shown_at() == [next_ra, next_ca], "the change")
    rolling.everywhere(lambda: server.ask(NEXT).status == 404, "no next CA")
    # A device that has not asked again encrypts to the RA of before.
    rolling.enrol(old_ra).x509.verify_directly_issued_by(next_ca)
    poll = devices.cert_poll(to=old_ra, transaction_id="t0")
    assert rolling.read(server.post(poll)).x509 == before
    # What the CA of before issued entitles to a certificate of the new one.
    holder = keys.Holder(keys.device().key, before)
    renewal = devices.renewal_req(
        to=Certificate.of(next_ra), signer=holder, subject="CN=d0", transaction_id="again"
    )
    renewed = rolling.read(server.post(renewal), holder).x509
    renewed.verify_directly_issued_by(next_ca)
    assert renewed.public_key() == before.public_key()


def test_no_request_fails_meanwhile(rolling):
    """Enrolments that are under way while the CA changes all get their certificate."""
    server = rolling.server
    old_ra = server.ra
    rolling.admin("prepare")
    rolling.everywhere(lambda: server.ask(NEXT).status == 200, "GetNextCACert")
    next_ra, next_ca = (read_pem(server.directory / "next" / name) for name in ("ra.pem", "ca.pem"))
    rolling.successors = (Certificate.of(next_ra),)
    issued, faults, stop = [], [], threading.Event()

    def enrol():
        try:
            while not stop.is_set():
                issued.append(rolling.enrol(old_ra).x509)
        except BaseException as error:  # noqa: BLE001
            faults.append(error)

    thread = threading.Thread(target=enrol)
    thread.start()
    try:
        wait_until(lambda: issued or faults, "an enrolment")
        rolling.admin("activate", "--yes")
        rolling.everywhere(lambda: server.shown_at()[-1] == next_ca, "the change")
        count = len(issued)
        wait_until(lambda: faults or len(issued) > count + 4, "more enrolments")
    finally:
        stop.set()
        thread.join()
    assert faults == []
    assert {one.issuer for one in issued[-2:]} == {next_ca.subject}
    assert issued[0].issuer != next_ca.subject


def read_pem(path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_what_the_operator_sees(directory, scep):
    """status lists generations; a second prepare, an activate too many and a cancel are told."""
    path = directory()

    def rollover(*arguments):
        status, out, err = scep("admin", "rollover", *arguments, "--dir", path)
        return SimpleNamespace(returncode=status, stdout=out, stderr=err)

    assert rollover("activate").returncode == 2
    made = rollover("prepare", "--name", "Mill CA 2", "--layout", "single")
    assert made.returncode == 0
    assert "the next CA: CN=Mill CA 2\n" in made.stderr
    again = rollover("prepare")
    assert again.returncode == 2
    assert "has a next CA already" in again.stderr
    rows = [json.loads(one) for one in rollover("status", "--json").stdout.splitlines()]
    assert [(row["state"], row["role"]) for row in rows] == [
        *[("next", "ca"), ("current", "ca"), ("current", "ra")]
    ]
    assert made.stdout == f"fingerprint  sha256:{rows[0]['sha256']}\n"
    assert rollover("cancel", "--yes").stderr == "dropped CN=Mill CA 2\n"
    assert rollover("cancel").returncode == 2
    rollover("prepare")
    assert rollover("activate", "--yes").returncode == 0
    rows = [json.loads(one) for one in rollover("status", "--json").stdout.splitlines()]
    assert [(row["state"], row["role"]) for row in rows] == [
        *[("current", "ca"), ("current", "ra"), ("old/1", "ca"), ("old/1", "ra")]
    ]
    assert rows[0]["sha256"] == read_pem(path / "ca.pem").fingerprint(keys.SHA256).hex()
    assert rows[0]["not_after"] == f"{read_pem(path / 'ca.pem').not_valid_after_utc.isoformat()}"
    unknown = rollover("status", "--ca", "lab")
    assert (unknown.returncode, unknown.stderr) == (
        *(2, "error: there is no CA 'lab'\nhint: there are: default\n"),
    )


@pytest.fixture
def ask(monkeypatch):
    """Sit at a terminal and type something."""

    def ask(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        monkeypatch.setattr(terminal, "can_ask", lambda: True)

    return ask


@pytest.mark.parametrize(("said", "state"), [("n\n", "next"), ("y\n", "current")])
def test_an_operator_sees_what_activating_does_and_is_asked(directory, scep, ask, said, state):
    """Old CA, next CA, since when, and what devices, the RA and OCSP make of it."""
    path = directory()
    scep("admin", "rollover", "prepare", "--name", "Mill CA 2", "--dir", path)
    certificate = read_pem(path / "next/ca.pem")
    ask(said)
    status, _, err = scep("admin", "rollover", "activate", "--dir", path)
    assert status == (0 if state == "current" else 1)
    for words in ("old CA", "next CA", "CN=Mill CA 2", "prepared", "GetNextCACert", "OCSP"):
        assert words in err
    assert certificate.fingerprint(keys.SHA256).hex() in err
    assert "Make it the CA now?" in err
    out = scep("admin", "rollover", "status", "--json", "--dir", path)[1]
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["state"] for row in rows if "Mill CA 2" in row["subject"]} == {state}


def test_an_operator_is_asked_before_the_next_ca_is_dropped(directory, scep, ask):
    path = directory()
    scep("admin", "rollover", "prepare", "--dir", path)
    ask("n\n")
    status, _, err = scep("admin", "rollover", "cancel", "--dir", path)
    assert status == 1
    assert "can no longer be revoked" in err
    assert (path / "next/ca.pem").exists()
