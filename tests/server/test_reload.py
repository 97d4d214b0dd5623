"""Settings that change while the server runs: all worker processes take them over, or none does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

import keys
import postgresql
from enrolment import devices
from ports import free_port
from scepkit.ca.extensions import ca_id
from scepkit.keys.pem import read_certificate
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import Success
from scepkit.server.settings import FIXED, Settings
from server.live import read_answer, scep
from waiting import wait_until

BASE = 'log = "json"\nmetrics = "127.0.0.1:{metrics}"\n'
VPN = '[endpoint.vpn]\nlegacy = ["sha1"]\n'
SHARED = '[endpoint.shared]\nchallenge = "static"\nchallenge_file = "shared.txt"\n'
INTUNE = """
[intune.corp]
tenant = "contoso.example"
client_id = "11111111-2222-3333-4444-555555555555"
secret_file = "corp.secret"
[[endpoint.laptops.authorization]]
kind = "intune"
registration = "corp"
"""
BAD = "[endpoint.default]\n\nvalidity_days = 0\n"
SECRETS = ("a first secret of all devices", "and the second one of them all")
# More than two workers need to be asked, whichever of them takes a connection.
OFTEN = 16


class Running:
    """A server with its settings file."""

    def __init__(self, server, metrics):
        self.server = server
        self.metrics = metrics
        self.file = server.directory / "scep.toml"

    def write(self, text="", *, base=BASE):
        self.file.write_text(base.format(metrics=self.metrics) + text)

    def reload(self, *arguments):
        """Reload, again while no worker process is there yet: on a busy machine they come late."""
        done = []

        def has_answered():
            done[:] = [scep("admin", "reload", "--dir", self.server.directory, *arguments)]
            return "no worker process has started yet" not in done[0].stdout + done[0].stderr

        wait_until(has_answered)
        return done[0]

    def take_over(self, text=""):
        self.write(text)
        done = self.reload()
        assert done.returncode == 0, done.stderr
        return done.stderr

    def statuses(self, path):
        return {self.server.ask(f"{path}?operation=GetCACaps").status for _ in range(OFTEN)}

    def capabilities(self, path="/scep"):
        asked = (self.server.ask(f"{path}?operation=GetCACaps").text for _ in range(OFTEN))
        return {"SHA-1" in one.split() for one in asked}

    def health(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/healthz") as answer:
            return json.loads(answer.read())

    def audited(self):
        listed = scep("admin", "audit", "list", "--json", "--dir", self.server.directory)
        records = [json.loads(line) for line in listed.stdout.splitlines()]
        return [one for one in records if one["action"] == "settings-reloaded"]


def start(directory, serve, workers, **env):
    path, metrics = directory(), free_port()
    (path / "scep.toml").write_text(BASE.format(metrics=metrics))
    (path / "shared.txt").touch(0o600)
    (path / "shared.txt").write_text(SECRETS[0])
    running = Running(serve(path, "--workers", str(workers), **env), metrics)
    if workers > 1:
        wait_until(lambda: len(running.server.workers) == workers)
    return running


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def running(directory, serve, request):
    """Return a server of one process, and one with two workers."""
    return start(directory, serve, request.param)


@pytest.fixture
def workers(directory, serve):
    """Return a server with two workers."""
    return start(directory, serve, 2)


def enrols(running, challenge, path, name):
    """Say whether a device gets a certificate."""
    ra = running.server.ra_at(path)
    message = devices.pkcs_req(challenge, to=ra, transaction_id=name)
    reply = running.server.read(running.server.post(message, path), None, ra)
    return isinstance(reply.rep, Success)


def test_an_endpoint_comes_and_goes(running):
    """The command answers when all processes serve by the new settings."""
    assert running.statuses("/scep/vpn") == {404}
    said = running.take_over(VPN)
    assert "changed: endpoint.vpn" in said
    assert running.statuses("/scep/vpn") == {200}
    assert running.capabilities("/scep/vpn") == {True}
    assert running.capabilities() == {False}
    said = running.take_over('[endpoint.default]\nlegacy = ["sha1"]\n')
    assert "changed: endpoint.default.legacy, endpoint.vpn" in said
    assert running.statuses("/scep/vpn") == {404}
    assert running.capabilities() == {True}
    # With whose name, and what changed.
    assert [one["details"]["changed"] for one in running.audited()] == [
        ["endpoint.default.legacy", "endpoint.vpn"],
        ["endpoint.vpn"],
    ]
    assert {one["actor"] for one in running.audited()} != {"server"}
    assert running.server.stop() == 0
    assert "Traceback" not in running.server.log
    assert not list(running.server.directory.glob(".control-*"))


def test_a_profile_in_a_file_of_its_own(running):
    """What it says now counts for the next certificate, in all processes."""
    (running.server.directory / "profiles").mkdir()
    own = running.server.directory / "profiles/short.toml"
    own.write_text('validity = "8h"\n')
    running.take_over(SHARED + 'profile = "short"\n')

    def hours(name):
        ra = running.server.ra_at("/scep/shared")
        message = devices.pkcs_req(SECRETS[0], to=ra, transaction_id=name)
        rep = running.server.read(running.server.post(message, "/scep/shared"), None, ra).rep
        certificate = x509.load_der_x509_certificate(rep.certificates[0])
        return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).seconds // 3600

    assert [hours(f"first-{n}") for n in range(4)] == [8] * 4
    own.write_text('validity = "4h"\n')
    assert "changed: profile.short" in running.take_over(SHARED + 'profile = "short"\n')
    assert [hours(f"next-{n}") for n in range(4)] == [4] * 4
    own.write_text('validity = "4h"\nvalidty = "5h"\n')
    refused = running.reload("--json")
    assert refused.returncode == 1
    outcome = json.loads(refused.stdout)
    assert (outcome["file"], outcome["line"]) == (str(own), 2)
    assert outcome["key"] == "profile.short.validty"
    assert hours("last") == 4


def test_a_hang_up(running):
    """SIGHUP does the same, and no process ends of it."""
    before = running.server.workers
    running.write(VPN)
    os.kill(running.server.pid, signal.SIGHUP)
    running.server.logged(event="the settings were read again")
    assert running.statuses("/scep/vpn") == {200}
    assert running.server.workers == before
    (record,) = wait_until(running.audited)
    assert (record["actor"], record["reason"]) == ("server", "SIGHUP")
    running.write(BAD)
    os.kill(running.server.pid, signal.SIGHUP)
    running.server.logged(event="the settings cannot be read again; the old ones stay in force")
    assert running.statuses("/scep/vpn") == {200}


def test_a_bad_file_changes_nothing(running):
    """It is told with its line and key: to the command, in the log, in the health."""
    running.take_over(VPN)
    running.write(BAD)
    done = running.reload()
    assert (done.returncode, done.stdout) == (1, "")
    assert "the old settings stay in force" in done.stderr
    assert f"{running.file} " in done.stderr
    assert "endpoint.default.validity_days has to be at least 1 (line 5)" in " ".join(
        done.stderr.split()
    )
    assert running.statuses("/scep/vpn") == {200}
    line = running.server.logged(key="endpoint.default.validity_days")
    assert (line["file"], line["line"]) == (str(running.file), 5)
    wait_until(lambda: "validity_days" in json.dumps(running.health()))
    assert running.health()["status"] == "degraded"
    # Who may not see details sees the word.
    assert wait_until(lambda: running.server.ask("/healthz").text == '{"status":"degraded"}')

    done = running.reload("--json")
    outcome = json.loads(done.stdout)
    assert (outcome["result"], outcome["line"]) == ("refused", 5)
    assert outcome["key"] == "endpoint.default.validity_days"
    failure = json.loads(done.stderr.splitlines()[-1])
    assert (failure["code"], failure["exit_status"]) == ("reload_refused", 1)

    running.take_over(VPN)
    wait_until(lambda: running.health()["status"] == "ok")


WRONG = (
    (VPN + "[[[\n", "line 5"),
    ("unknown = 1\n" + VPN, "there is no setting `unknown`"),
    (VPN + SHARED.replace("shared", "gone"), "challenge_file"),
    # Where there are workers, only they find it: they put the endpoints together.
    ('[endpoint.vpn]\nca_certificates = "ca"\n', "hides the RA"),
    (None, "is missing"),
)


def test_what_is_wrong(running):
    """Whatever it is, and whoever finds it, nothing of the rest is taken over either."""
    for text, said in WRONG:
        running.file.unlink() if text is None else running.write(text)
        done = running.reload()
        assert done.returncode == 1
        assert said in " ".join(done.stderr.split())
        assert running.statuses("/scep/vpn") == {404}
        assert running.statuses("/scep") == {200}


def test_a_new_ca_is_made(running):
    """As the start makes it; and its making is in the audit record."""
    running.take_over('[endpoint.lab]\nca = "lab"\nlayout = "ec"\n')
    shown = {running.server.shown_at("/scep/lab")[-1] for _ in range(OFTEN)}
    assert len(shown) == 1
    assert shown != {running.server.shown_at("/scep")[-1]}
    listed = scep("admin", "audit", "list", "--json", "--dir", running.server.directory).stdout
    assert '"ca-made"' in listed


def test_a_ca_that_no_endpoint_has_any_more_signs_its_crl(running):
    """Certificates that it has issued are valid, and can be revoked."""
    where = ("--dir", running.server.directory)
    running.take_over(SHARED + 'ca = "lab"\nlayout = "ec"\n')
    assert enrols(running, SECRETS[0], "/scep/shared", "a")
    running.take_over()
    listed = scep("admin", "list", "--endpoint", "shared", "--json", *where).stdout
    serial = json.loads(listed)["serial"]
    assert scep("admin", "revoke", serial, "--yes", *where).returncode == 0
    certificate = Certificate.of(read_certificate(running.server.directory / "ca-lab/ca.pem"))
    path = f"/crl/{ca_id(certificate.key_hash)}.crl"

    def is_listed():
        answer = running.server.ask(path)
        if answer.status == 503:  # a worker that has not read it yet
            return None
        crl = x509.load_der_x509_crl(answer.body)
        return crl.get_revoked_certificate_by_serial_number(int(serial, 16))

    wait_until(is_listed)
    assert "lab" in scep("admin", "ca", "list", *where).stdout
    assert running.health() == {"status": "ok", "states": []}


def test_a_changed_challenge_file(running):
    """It counts from the reload on, and not before."""
    running.take_over(SHARED)
    assert enrols(running, SECRETS[0], "/scep/shared", "a")
    (running.server.directory / "shared.txt").write_text(SECRETS[1])
    assert not enrols(running, SECRETS[1], "/scep/shared", "b")
    assert "changed: endpoint.shared.challenge_file" in running.take_over(SHARED)
    assert enrols(running, SECRETS[1], "/scep/shared", "c")
    assert not enrols(running, SECRETS[0], "/scep/shared", "d")
    assert not any(one in running.server.log for one in SECRETS)


def test_a_client_secret_for_intune(running):
    """Whoever exchanges it hears that the server has the new one."""
    secret = running.server.directory / "corp.secret"
    secret.touch(0o600)
    secret.write_text("the first~secret")
    running.take_over(INTUNE)
    assert "changed: nothing" in running.take_over(INTUNE)
    secret.write_text("the second~secret")
    assert "changed: endpoint.laptops.authorization (files)" in running.take_over(INTUNE)
    assert "~secret" not in running.server.log


def test_a_blocklist(running):
    """An edited one counts from the reload on, in all processes; a bad one changes nothing."""
    listed = running.server.directory / "weak.txt"
    listed.write_text("# none\n")
    text = SHARED + 'profile = "listed"\n[profile.listed]\nkey.blocklist = "weak.txt"\n'
    running.take_over(text)
    assert enrols(running, SECRETS[0], "/scep/shared", "a")
    listed.write_text(hashlib.sha256(keys.spki(keys.rsa_key())).hexdigest())
    assert enrols(running, SECRETS[0], "/scep/shared", "b")
    assert "changed: endpoint.shared.key.blocklist" in running.take_over(text)
    assert not any(enrols(running, SECRETS[0], "/scep/shared", f"c{n}") for n in range(OFTEN))
    listed.write_text("\nno digest\n")
    done = running.reload()
    assert done.returncode == 1
    assert f"{listed}, line 2: no SHA-256" in " ".join(done.stderr.split())
    assert not enrols(running, SECRETS[0], "/scep/shared", "d")


def test_what_stays_until_a_restart(running):
    """It is named, and everything else is taken over."""
    running.write(VPN, base='log = "text"\nport = 1\nworkers = 3\naudit = false\n')
    done = running.reload()
    assert done.returncode == 0, done.stderr
    # An option of the start still wins over the file: `port` and `workers` are no change.
    assert "kept until a restart: metrics, log, audit" in done.stderr
    assert running.statuses("/scep/vpn") == {200}
    assert running.audited()


def test_a_request_under_way(workers):
    """It is answered by the settings that it began with, though its endpoint is gone."""
    workers.take_over(VPN)
    directory = workers.server.directory
    new = scep("admin", "challenge", "new", "--endpoint", "vpn", "--dir", directory)
    ra = workers.server.ra_at("/scep/vpn")
    message = devices.pkcs_req(new.stdout.strip(), to=ra)
    head = (
        "POST /scep/vpn?operation=PKIOperation HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(message)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with workers.server.connect() as connection:
        connection.sendall(head.encode("ascii"))
        # The worker has begun with it: it asks for the body.
        assert connection.recv(64) == b"HTTP/1.1 100 Continue\r\n\r\n"
        workers.take_over()
        assert workers.statuses("/scep/vpn") == {404}
        connection.sendall(message)
        reply = workers.server.read(read_answer(connection, "POST"), None, ra)
    assert reply.x509 is not None


def test_a_worker_that_is_killed_after_a_bad_file(workers):
    """Its successor starts with the settings in force, and says what is wrong with the file."""
    workers.take_over(VPN + SHARED)
    (workers.server.directory / "shared.txt").write_text("short")
    workers.write("[[[")
    assert workers.reload().returncode == 1
    killed = workers.server.workers
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(workers.server.workers) - set(killed)) == 2)
    wait_until(lambda: workers.server.ask("/healthz").text == '{"status":"degraded"}')
    assert workers.statuses("/scep/vpn") == {200}
    assert enrols(workers, SECRETS[0], "/scep/shared", "a")
    # And goes on with what comes next.
    workers.take_over(VPN.replace("vpn", "lab"))
    assert workers.statuses("/scep/lab") == {200}
    assert workers.statuses("/scep/vpn") == {404}
    assert "Traceback" not in workers.server.log


def test_workers_that_end_after_the_keys_were_encrypted(workers):
    """None starts with the old settings; those that name the passphrase are taken over even so."""
    directory = workers.server.directory
    (directory / "passphrase").touch(0o600)
    (directory / "passphrase").write_text("a long passphrase\n")
    protecting = ("--new-passphrase-file", directory / "passphrase", "--dir", directory)
    assert scep("admin", "ca", "protect", *protecting).returncode == 0
    workers.write(base=BASE + 'key_passphrase_file = "passphrase"\n')
    for pid in workers.server.workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "a worker cannot start" in workers.server.log)
    # Refused while a worker is being replaced at that very moment.
    wait_until(lambda: workers.reload().returncode == 0)
    wait_until(lambda: workers.server.ask("/healthz").text == '{"status":"ok"}')
    assert workers.statuses("/scep") == {200}


def test_workers_on_postgresql(directory, serve, monkeypatch):
    """They take the settings over together, and go on enrolling into the one database."""
    with postgresql.running() as cluster, cluster.fresh_database() as url:
        monkeypatch.setenv("SCEP_DATABASE", url)
        running = start(directory, serve, 2, SCEP_DATABASE=url)
        running.take_over(VPN + SHARED)
        assert running.statuses("/scep/vpn") == {200}
        running.write("[[[")
        refused = running.reload()
        assert refused.returncode == 1
        assert "the old settings stay in force" in refused.stderr
        assert running.statuses("/scep/vpn") == {200}
        assert enrols(running, SECRETS[0], "/scep/shared", "a")
        running.take_over(SHARED)
        assert running.statuses("/scep/vpn") == {404}
        assert enrols(running, SECRETS[0], "/scep/shared", "b")
        assert running.server.stop() == 0


def test_no_server(directory):
    path = directory()
    done = scep("admin", "reload", "--dir", path)
    assert done.returncode == 1
    assert f"no server runs on {path}" in " ".join(done.stderr.split())


def test_a_server_that_was_killed(directory, serve):
    """What it left behind is no server, and goes at the next start."""
    path = directory()
    with serve(path) as server:
        wait_until(lambda: list(path.glob(".control-*")))
        server.kill()
    assert scep("admin", "reload", "--dir", path).returncode == 1
    with serve(path):
        wait_until(lambda: scep("admin", "reload", "--dir", path).returncode == 0)
        assert len(list(path.glob(".control-*"))) == 1


def test_the_reference_names_what_stays_until_a_restart():
    text = Path(__file__).parents[2].joinpath("docs/reference/settings.md").read_text("utf-8")
    (line,) = re.findall(r"^These stay as they are until a restart: (.*)\.$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == {*FIXED} - {"directory"}
    assert set(FIXED) <= set(Settings.model_fields)
