"""Several endpoints on one server, each with its own CA, rules and challenges."""

from __future__ import annotations

import stat

import pytest
from cryptography import x509

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.messages import Pending
from server.live import Server, scep_here

SECRET = "correct horse battery"
SETTINGS = """
[endpoint.default]
layout = "ec"

[endpoint.lab]
ca = "lab"
layout = "ec"
legacy = ["sha1"]
renewal = false

[endpoint.shared]
ca = "lab"
challenge = "static"
challenge_file = "shared.txt"

[endpoint.desk]
ca = "desk"
layout = "single"
approval = "manual"
challenge = "none"
validity_days = 7
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return a server with four endpoints of three CAs; to be used, not to be stopped."""
    path = tmp_path_factory.mktemp("many") / "data"
    path.mkdir()
    (path / "scep.toml").write_text(SETTINGS)
    (path / "shared.txt").write_text(f"{SECRET}\n")
    (path / "shared.txt").chmod(0o600)
    with Server(path) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


def enrol(many, name, challenge=None, path=None, **how):
    """Enrol at `/scep/NAME`, or at another path with that endpoint's certificates."""
    ra = many.ra_at(f"/scep/{name}")
    message = devices.pkcs_req(challenge, to=ra, **how)
    answer = many.post(message, path or f"/scep/{name}")
    return many.read(answer, how.get("signer"), ra)


def admin(many, *arguments):
    done = scep_here("admin", *arguments, "--dir", many.directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def issuer_of(reply) -> str:
    return reply.x509.issuer.rfc4514_string()


def ca_of(many, name) -> x509.Certificate:
    return many.shown_at(f"/scep/{name}")[-1]


def test_every_ca_has_a_directory(many):
    """The first start makes what the settings name, each in its own place, for its owner alone."""
    for name in ("ca-lab", "ca-desk"):
        directory = many.directory / name
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "ca-key.pem").stat().st_mode) == 0o600
        assert f"made a new CA in {directory}" in many.log
    names = {ca_of(many, name).subject for name in ("default", "lab", "desk")}
    assert len(names) == 3
    assert ca_of(many, "shared") == ca_of(many, "lab")
    assert len(many.shown_at("/scep/lab")) == 2
    assert len(many.shown_at("/scep/desk")) == 1


def test_each_tells_its_own_truth(many):
    """GetCACaps follows the endpoint's settings."""
    caps = {
        name: many.ask(f"/scep/{name}?operation=GetCACaps").text.split()
        for name in ("default", "lab", "shared", "desk")
    }
    assert {name for name in caps if "SHA-1" in caps[name]} == {"lab"}
    assert {name for name in caps if "Renewal" not in caps[name]} == {"lab"}
    assert {name for name in caps if "WhenToRenew" not in caps[name]} == {"lab"}
    assert many.ask("/scep?operation=GetCACaps").text.split() == caps["default"]
    assert many.ask("/cgi-bin/pkiclient.exe?operation=GetCACaps").text.split() == caps["default"]


def test_challenges_are_an_endpoints_own(many):
    """A challenge is good where it was made for, and nowhere else."""
    (secret,) = admin(many, "challenge", "new", "--endpoint", "lab").split()
    for elsewhere in ("default", "shared"):
        refused = enrol(many, elsewhere, secret, transaction_id=f"{elsewhere}1")
        assert refused.refusal == REFUSAL
    reply = enrol(many, "lab", secret, transaction_id="lab1")
    assert issuer_of(reply) == ca_of(many, "lab").subject.rfc4514_string()
    assert many.logged(endpoint="lab", outcome="SUCCESS")["subject"] == "CN=device"


def test_a_static_challenge(many):
    """One for all devices, and for as many as there are."""
    for name in ("one", "two"):
        reply = enrol(
            many, "shared", SECRET, signer=keys.device(name), transaction_id=name, subject="CN=d"
        )
        assert reply.certificate
    assert enrol(many, "shared", SECRET[:-1], transaction_id="three").refusal == REFUSAL
    assert enrol(many, "shared", transaction_id="four").refusal == REFUSAL
    assert SECRET not in many.log


@pytest.mark.rfc("L-05", "P-38")
def test_the_identifier_selects(many):
    """`message` names an endpoint or a CA in GetCACaps and GetCACert; anything else is ignored."""
    for identifier, name in (
        ("lab", "lab"),
        ("DESK", "desk"),
        ("nobody", "default"),
        ("", "default"),
    ):
        shown = many.shown_at("/scep", f"&message={identifier}")
        assert shown == many.shown_at(f"/scep/{name}")
    caps = many.ask("/scep?operation=GetCACaps&message=lab").text
    assert caps == many.ask("/scep/lab?operation=GetCACaps").text
    # A path that names an endpoint is not overruled.
    assert many.shown_at("/scep/desk", "&message=lab") == many.shown_at("/scep/desk")


@pytest.mark.rfc("L-05")
def test_the_recipient_selects(many):
    """A device with `message=lab` sends its PKIOperation to /scep, encrypted to lab's RA."""
    (secret,) = admin(many, "challenge", "new", "--endpoint", "lab").split()
    reply = enrol(many, "lab", secret, path="/scep", transaction_id="by recipient")
    assert issuer_of(reply) == ca_of(many, "lab").subject.rfc4514_string()
    assert many.logged(transaction_id="by recipient")["endpoint"] == "lab"


@pytest.mark.rfc("P-71", "P-19")
def test_an_endpoint_does_not_answer_for_another(many):
    """404 where there is none; where the path names one, a message for another is refused."""
    assert many.ask("/scep/nobody?operation=GetCACert").status == 404
    message = devices.pkcs_req(SECRET, to=many.ra_at("/scep/desk"), transaction_id="astray")
    answer = many.post(message, "/scep/lab")
    assert many.read(answer, ra=many.ra_at("/scep/lab")).refusal[0] == "badRequest"


def test_metrics_name_the_endpoint(many):
    """Only names of ours become labels."""
    many.ask("/scep/lab?operation=GetCACaps")
    many.ask("/scep/invented?operation=GetCACaps")
    many.logged(endpoint="", outcome="HTTP 404")
    text = many.ask("/metrics").text
    assert 'endpoint="lab",message_type="",operation="GetCACaps",outcome="OK"' in text
    assert "invented" not in text


# --- manual approval ------------------------------------------------------------------------------


@pytest.fixture
def waiting(many):
    """Return a function that sends a request which waits, and its number."""

    def waiting(name):
        reply = enrol(
            many, "desk", signer=keys.device(name), transaction_id=name, subject=f"CN={name}"
        )
        assert isinstance(reply.rep, Pending)
        listed = admin(many, "list", "--pending", "--subject", f"CN={name}").splitlines()
        return int(listed[1].split()[0])

    return waiting


def poll(many, name):
    ra = many.ra_at("/scep/desk")
    message = devices.cert_poll(to=ra, transaction_id=name, signer=keys.device(name))
    return many.read(many.post(message, "/scep/desk"), keys.device(name), ra)


@pytest.mark.rfc("S-2.4-7", "S-4.4.1-1", "S-5.2-4", "P-48")
def test_approved_over_the_command_line(many, waiting):
    """Pending, approved by scep admin while the server runs, fetched by CertPoll, twice."""
    number = waiting("patient")
    assert isinstance(poll(many, "patient").rep, Pending)
    serial = admin(many, "approve", str(number)).strip()
    certificates = {poll(many, "patient").certificate for _ in range(2)}
    (certificate,) = map(x509.load_der_x509_certificate, certificates)
    assert show_serial(certificate.serial_number) == serial
    assert certificate.issuer == ca_of(many, "desk").subject
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7
    assert "patient" not in admin(many, "list", "--pending")


@pytest.mark.rfc("S-2.4-7", "S-4.4.1-1")
def test_rejected_over_the_command_line(many, waiting):
    """The device hears the operator's reason at its next poll."""
    number = waiting("unlucky")
    admin(many, "reject", str(number), "--reason", "who are you?")
    assert poll(many, "unlucky").refusal == ("badRequest", "who are you?")
    done = scep_here("admin", "approve", str(number), "--dir", many.directory)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: request {number} was rejected before\n")
