"""A CA that waits for its certificate from the CA above, while the server serves all others.

Installed, it is in force in all worker processes, without a start or a reload.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.ocsp import OCSPResponseStatus, load_der_ocsp_response

from chains import issue
from ports import free_port
from scepkit.keys.pem import write_certificate, write_key
from scepkit.server import app as application
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store
from server.test_app import run
from server.test_sub_ca import Operator, Root
from waiting import wait_until

SALES = '\n[endpoint.sales]\nca = "sales"\n\n[endpoint.shop]\nca = "sales"\n'
WAITS = "the CA of this endpoint waits for its own certificate"


@pytest.fixture
def operator(tmp_path, scep, directory):
    """A server that has a CA of its own, and one that waits."""
    made = Operator(tmp_path, scep, Root(tmp_path))
    directory()
    made.csr = made.admin("ca", "request", "sales", "--subject", "CN=Sales", "--key", "ec:p256")
    made.metrics = free_port()
    (made.directory / "scep.toml").write_text(
        f'log = "json"\nmetrics = "127.0.0.1:{made.metrics}"\n{SALES}'
    )
    return made


@pytest.fixture
def running(operator, serve):
    operator.server = serve(operator.directory, "--workers", "2")
    wait_until(lambda: len(operator.server.workers) == 2, "the start of both")
    yield operator
    assert operator.server.stop() == 0
    assert "Traceback" not in operator.server.log


def install(operator):
    """Have the CA certified, and install it; return its certificate."""
    certificate = operator.root.sign(operator.csr)
    operator.installed(certificate, "sales")
    return certificate


def health(operator):
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics}/healthz") as answer:
        return json.loads(answer.read())


def serves(operator, path="/scep/sales"):
    """Say whether a worker process serves the CA."""
    return operator.server.ask(f"{path}?operation=GetCACaps").status == 200


def replaced(operator, *workers):
    """Kill worker processes, and wait until others are in their places and answer."""
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda gone=pid: (
                gone not in operator.server.workers and len(operator.server.workers) == 2
            ),
            "another one",
        )
    operator.everywhere(lambda: operator.server.ask("/healthz").status == 200, "an answer")


def test_the_others_are_served(running):
    """Who asks for the CA that waits shall come back; health and log say for what it waits."""
    server = running.server
    for path in ("/scep/sales", "/scep/shop", "/cgi-bin/pkiclient.exe/sales"):
        for operation in ("GetCACaps", "GetCACert", "GetNextCACert"):
            refused = server.ask(f"{path}?operation={operation}")
            assert (refused.status, refused.text) == (503, f"{WAITS}\n")
            assert refused.headers["retry-after"]
    assert server.post(b"0\x00", "/scep/sales").status == 503
    assert server.ask("/scep/nobody?operation=GetCACaps").status == 404
    # The name in a query selects it, too: the default CA would be the wrong one.
    for name in ("sales", "shop"):
        assert server.ask(f"/scep?operation=GetCACert&message={name}").status == 503
    assert server.ask("/scep?operation=GetCACert").status == 200
    assert server.ask("/cmp/sales", "POST", b"0\x00").status == 503
    asked = server.ask("/ocsp/sales", "POST", b"0\x00")
    assert load_der_ocsp_response(asked.body).response_status is OCSPResponseStatus.TRY_LATER
    assert server.logged(endpoint="sales", operation="GetCACaps")["reason"] == WAITS

    waits = "the CA 'sales' waits for its certificate from the CA above"
    assert server.logged(event="health", reason=waits)["status"] == "degraded"
    (state,) = health(running)["states"]
    assert (state["reason"], "scep admin ca install sales" in state["hint"]) == (waits, True)
    assert waits.partition(" from")[0] in server.log
    challenge = running.admin("challenge", "new").strip()
    running.enrol(server.url, challenge, server.fingerprint)


def test_it_is_installed(running):
    """Every worker takes it over, and one that is started anew before or after, too."""
    replaced(running, running.server.workers[0])
    assert not serves(running)
    certificate = install(running)
    running.everywhere(lambda: serves(running) and serves(running, "/scep/shop"), "the CA")
    assert certificate in running.server.shown_at("/scep/sales")
    assert certificate in running.server.shown_at(message="&message=sales")
    wait_until(lambda: health(running)["status"] == "ok", "nothing that is wrong")
    challenge = running.admin("challenge", "new", "--endpoint", "sales").strip()
    running.enrol(f"{running.server.url}/sales", challenge, running.root.fingerprint)
    running.check_device(certificate)


def test_given_up_while_the_server_runs(running):
    """The endpoint goes on waiting, a worker starts all the same, and a reload makes a CA."""
    running.admin("ca", "request", "sales", "--drop")
    replaced(running, *running.server.workers)
    assert not serves(running)
    running.admin("reload")
    running.everywhere(lambda: serves(running), "a CA of its own")


def test_it_comes_with_a_reload(operator, serve):
    """An endpoint is added whose CA waits: nothing of the server stops, nor is a CA made."""
    toml = operator.directory / "scep.toml"
    text = toml.read_text()
    toml.write_text(text.replace(SALES, ""))
    operator.server = serve(operator.directory)
    wait_until(lambda: operator.server.ask("/healthz").status == 200, "the start")
    toml.write_text(text)
    assert "endpoint.sales" in operator.admin("reload", "--json")
    assert operator.server.ask("/scep/sales?operation=GetCACaps").status == 503
    assert not (operator.directory / "ca-sales/ca.pem").exists()
    install(operator)
    wait_until(lambda: serves(operator), "the CA")


def test_the_default_endpoint_may_have_it(operator, serve):
    """Then `/scep` waits, and other endpoints are served."""
    toml = operator.directory / "scep.toml"
    toml.write_text('[endpoint.default]\nca = "sales"\n[endpoint.lab]\nca = "default"\n')
    operator.server = serve(operator.directory)
    assert operator.server.ask("/scep?operation=GetCACert").status == 503
    assert operator.server.post(b"0\x00").status == 503
    for asked in ("/scep/lab?operation=GetCACert", "/scep?operation=GetCACert&message=lab"):
        assert operator.server.ask(asked).status == 200
    install(operator)
    wait_until(lambda: serves(operator, "/scep"), "the CA")


def test_files_that_are_gone_are_no_ca_that_waits(running):
    """What was served goes on, as with every other fault of the files."""
    install(running)
    running.everywhere(lambda: serves(running), "the CA")
    place = running.directory / "ca-sales"
    place.rename(running.directory / "elsewhere")
    running.server.logged(error="the files of the CA 'sales' are gone")
    running.everywhere(lambda: serves(running), "the CA")
    (running.directory / "elsewhere").rename(place)
    wait_until(lambda: health(running)["status"] == "ok", "the files")


def test_what_needs_the_ca_says_so(operator, scep):
    """Commands name what is waited for; those about other CAs work."""
    for command in (
        ("rollover", "status", "--ca", "sales"),
        ("crl", "--ca", "sales"),
        ("ca", "show", "sales"),
        ("certificates", "import", "--ca", "sales", operator.root.file),
        ("certificates", "import", "--endpoint", "shop", operator.root.file),
    ):
        status, _, err = scep("admin", *command, "--dir", operator.directory)
        assert (status, "waits for its certificate" in err) == (2, True), command
    operator.admin("challenge", "new", "--endpoint", "sales")
    operator.admin("crl")


def test_the_background_task_leaves_it_alone(operator, logged):
    """Nothing of it can be rotated, and that is no fault."""
    home = data_directory.open_existing(operator.directory, now=data_directory.utc_now())
    with open_store(home.settings) as store:
        Sweep(home.settings, store, data_directory.utc_now, home.passphrases).run()
    assert [line for line in logged if line["log_level"] == "error"] == []


def test_files_that_are_put_there_by_hand(running, scep):
    """What is missing of a CA is said with the command that makes it; then it is served."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = running.root
    certificate = issue("By hand", key, root.now, by=(root.certificate, root.key))
    place = running.directory / "ca-hand"
    place.mkdir(mode=0o700)
    write_key(place / "ca-key.pem", key)
    write_certificate(place / "ca.pem", certificate)
    write_certificate(place / "chain.pem", root.certificate)
    toml = running.directory / "scep.toml"
    toml.write_text(toml.read_text() + '\n[endpoint.hand]\nca = "hand"\n')
    status, _, err = scep("admin", "reload", "--dir", running.directory)
    assert (status, "`scep admin ca ra` makes one" in " ".join(err.split())) == (1, True)
    running.admin("ca", "ra", "hand")
    running.admin("reload")
    running.everywhere(lambda: serves(running, "/scep/hand"), "the CA")
    assert certificate in running.server.shown_at("/scep/hand")


def test_the_paths_of_ndes_wait_as_well(operator, monkeypatch):
    (operator.directory / "scep.toml").write_text('[endpoint.sales]\nca = "sales"\nndes = true\n')
    monkeypatch.setattr(application.log, "configure", lambda _form: Mock())
    home = data_directory.prepare(operator.directory, now=datetime.now(UTC))
    targets = ("/certsrv/mscep/mscep.dll?operation=GetCACaps", "/certsrv/mscep_admin/")
    answers = run(application.create(home), *({"target": one} for one in targets))
    assert [one.status for one in answers] == [503, 503]
