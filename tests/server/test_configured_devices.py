"""Devices that are driven by the files: they enrol at a real server with what these say."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import configured
import keys
from ports import free_port
from scepkit.cli import main, terminal
from scepkit.keys.pem import key_pem, read_certificate
from server.live import Server, certificates, environment, scep_here
from waiting import PATIENCE

SETTINGS = """\
public_url = "http://127.0.0.1:{port}/scep"

[endpoint.default]

[endpoint.all]
challenge = "static"
challenge_file = "all.txt"

[endpoint.asked]
challenge = "none"
approval = "manual"
profile = "windows-device"

[endpoint.curves]
curves = ["p256"]
rsa_bits = [4096, 8192]

[endpoint.no-rsa]
profile = "no-rsa"

[profile.no-rsa]
extends = "device"
key.kinds = ["p256"]
default_eku = []
"""
STATIC = "dMRf5Nmbq0TQzXAbTcQ2"
SUBJECT = r"CN=Al \"the \<&\> ]]\>\, fox\",O=Example"
NAMES = ("dns:phone7.example.com", "email:al@example.com", "uri:https://a.example/7?b=1&c")
READERS = {"mobileconfig": configured.of_apple, "windows-csp": configured.of_windows}
FORMS = pytest.mark.parametrize("form", READERS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "scep-data"
    path.mkdir(mode=0o700)
    secret = path / "all.txt"
    secret.write_text(f"{STATIC}\n")
    secret.chmod(0o600)
    port = free_port()
    (path / "scep.toml").write_text(SETTINGS.format(port=port))
    with Server(path, "--port", port) as server:
        yield server


@pytest.fixture
def write(server, tmp_path):
    """Write a file, and return what it tells a device."""

    def write(form, *words):
        out = tmp_path / "file"
        done = scep_here(form, *words, "--dir", server.directory, "--out", out)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        told = READERS[form](out.read_bytes())
        if told.challenge:
            assert told.challenge not in done.stderr
        return told

    return write


def challenges(server):
    listed = scep_here("admin", "challenge", "list", "--json", "--dir", server.directory).stdout
    return [json.loads(line) for line in listed.splitlines()]


@FORMS
def test_a_device_enrols_with_what_its_file_says(server, write, tmp_path, form):
    """The certificate has subject, names and key of the file; the challenge is for these alone."""
    sans = [word for name in NAMES for word in ("--san", name)]
    told = write(form, "--subject", SUBJECT, *sans, "--label", f"label of {form}")
    assert told.fingerprint == hashlib.sha1(top(server)).digest()
    words = told.words(tmp_path / "device")
    other = [*words, "--out", tmp_path / "other"]
    other[other.index("--subject") + 1] = "CN=other"
    refused = scep_here(*other)
    assert refused.returncode == 1, refused.stderr
    done = scep_here(*words)
    assert done.returncode == 0, done.stderr
    certificate = read_certificate(tmp_path / "device/cert.pem")
    assert [
        [(one.oid.dotted_string, one.value) for one in rdn] for rdn in certificate.subject.rdns
    ] == told.subject
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {one.value for one in names} == {name.partition(":")[2] for name in NAMES}
    assert certificate.public_key().key_size == told.bits == 2048
    newest = challenges(server)[0]
    assert newest["label"] == f"label of {form}"
    assert newest["state"].startswith("spent")


def top(server):
    """Return the uppermost certificate that GetCACert shows, DER."""
    return certificates(server.ask("/scep?operation=GetCACert"))[-1].public_bytes(Encoding.DER)


@FORMS
def test_a_static_challenge(write, tmp_path, form):
    told = write(form, "all", "--subject", "CN=any")
    assert told.challenge == STATIC
    assert told.url.endswith("/scep/all")
    assert scep_here(*told.words(tmp_path / "device")).returncode == 0


@FORMS
def test_an_endpoint_where_somebody_approves(write, tmp_path, form):
    told = write(form, "asked", "--subject", "CN=any")
    assert told.challenge is None
    assert told.retries == ((720, 60) if form == "mobileconfig" else (30, 60))
    done = scep_here(*told.words(tmp_path / "device"), "--max-wait", "0")
    assert done.returncode == 3, done.stderr


@FORMS
def test_the_key_that_the_profile_takes(write, form):
    assert write(form, "curves", "--subject", "CN=any", "--challenge", "none").bits == 4096


def test_the_purposes_that_windows_asks_for(write):
    asked = write("windows-csp", "--subject", "CN=a", "--challenge", "none").rest["EKUMapping"]
    assert asked == "1.3.6.1.5.5.7.3.2"
    named = ("--eku", "1.2.3,ipsec_ike")
    told = write("windows-csp", "--subject", "CN=a", "--challenge", "none", *named)
    assert told.rest["EKUMapping"] == "1.2.3+1.3.6.1.5.5.7.3.17"


@FORMS
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subject", "CN="], "the subject's CN is empty"),
        (["--subject", r"CN=a\0db"], "has the character U+000D"),
        (["--subject", "CN=a", "--san", "ip:192.0.2.1"], "ask for the name ip:192.0.2.1"),
        (["nobody", "--subject", "CN=a"], "there is no endpoint 'nobody'"),
        (["all", "--subject", "CN=a", "--challenge", "one-time"], "has no one-time challenges"),
        (["--subject", "CN=a", "--challenge", "static"], "has no static challenge"),
        (["no-rsa", "--subject", "CN=a"], "RSA keys of 2048 or 4096 bits"),
        (["--subject", "CN=a", "--key-size", "1024"], "takes no RSA key of 1024 bits"),
        (["--subject", "CN=a", "--url", "ftp://a.example"], "no http or https URL"),
        (["--subject", "CN=a", "--expires", "soon"], "'soon' is not a duration"),
        (["--subject", "CN=a", "--identifier", "a b"], "can be no identifier"),
        (["--subject", "CN=a", "--out", "/nowhere/x"], "cannot write /nowhere/x"),
    ],
)
def test_what_is_wrong_is_said_before_a_challenge_is_made(server, tmp_path, form, words, said):
    before = challenges(server)
    done = scep_here(form, "--dir", server.directory, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    after = challenges(server)
    if "--out" not in words:
        assert after == before
        return
    # That shows only when it is written: it is said which challenge is of no use.
    assert len(after) == len(before) + 1
    assert f"scep admin challenge void {after[0]['id']}" in done.stderr


def test_a_url_that_no_device_reaches(server, monkeypatch):
    monkeypatch.setenv("SCEP_PUBLIC_URL", "")
    done = scep_here("mobileconfig", "--subject", "CN=a", "--dir", server.directory)
    assert done.returncode == 2
    assert "the URL at which devices reach the server is not known" in done.stderr
    assert "public_url" in done.stderr
    words = ("--subject", "CN=a", "--challenge", "none", "--url", "https://pki.example.com/scep")
    done = scep_here("mobileconfig", *words, "--dir", server.directory)
    told = configured.of_apple(done.stdout.encode())
    assert told.url == "https://pki.example.com/scep"
    assert told.rest["PayloadIdentifier"] == "com.example.pki.scep.default"


@FORMS
def test_json(server, tmp_path, form):
    words = (form, "--subject", "CN=a", "--dir", server.directory, "--json")
    facts = json.loads(scep_here(*words).stdout)
    told = READERS[form](facts["content"].encode())
    assert facts["subject"] == "CN=a"
    assert facts["challenge_id"] == str(challenges(server)[0]["id"])
    assert facts["identifier"] in json.dumps(told.rest, default=str)
    facts = json.loads(scep_here(*words, "--out", tmp_path / "x").stdout)
    assert facts["file"] == str(tmp_path / "x")
    assert "content" not in facts
    assert READERS[form]((tmp_path / "x").read_bytes()).challenge


def test_a_terminal_that_shows_the_challenge(server, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "shows_data", lambda: True)
    words = ["mobileconfig", "--dir", str(server.directory), "--subject", "CN=a"]
    assert main(words) == 0
    assert "the challenge is on the terminal" in capsys.readouterr().err
    assert main([*words, "--challenge", "none"]) == 0
    assert "the challenge is on the terminal" not in capsys.readouterr().err


def test_a_static_challenge_is_warned_of(server):
    done = scep_here("mobileconfig", "all", "--subject", "CN=a", "--dir", server.directory)
    assert "it holds the challenge of all devices" in done.stderr
    assert STATIC not in done.stderr


def test_a_static_challenge_that_xml_cannot_hold(server):
    """Nothing of it is said."""
    secret = server.directory / "all.txt"
    secret.write_text("with\x1bescape\n")
    try:
        done = scep_here("mobileconfig", "all", "--subject", "CN=a", "--dir", server.directory)
    finally:
        secret.write_text(f"{STATIC}\n")
    assert done.returncode == 2
    assert "has characters that no configuration can hold" in done.stderr
    assert "001B" not in done.stderr


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_signed_profile(server, tmp_path, kind):
    """openssl, which is not ours, finds the signature good and the profile in it."""
    signer = keys.certify("MDM", keys.key_of(kind, "mdm"))
    certificate, key, out = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "signed"
    certificate.write_text(signer.certificate.pem())
    key.write_bytes(key_pem(signer.key))
    key.chmod(0o600)
    words = ("mobileconfig", "--subject", "CN=a", "--dir", server.directory)
    done = scep_here(*words, "--sign-with", certificate, key, "--out", out)
    assert done.returncode == 0, done.stderr
    assert re.search(r", until \d{4}-\d\d-\d\d \d\d:\d\d UTC, for CN=a only\n", done.stderr)
    verified = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", out, "-noverify"],
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    assert configured.of_apple(verified.stdout).challenge
    done = scep_here(*words, "--sign-with", certificate, key)
    assert done.returncode == 2
    assert "name a file with --out" in done.stderr


def test_the_key_of_somebody_else(server, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_text(keys.ca().certificate.pem())
    key.write_bytes(key_pem(keys.device().key))
    key.chmod(0o600)
    before = challenges(server)
    words = ("mobileconfig", "--subject", "CN=a", "--dir", server.directory)
    done = scep_here(*words, "--sign-with", certificate, key, "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "not that of the certificate" in done.stderr
    assert challenges(server) == before


def test_no_device_loads_them():
    """`scep enroll` takes no longer for what is an operator's."""
    code = (
        "import sys; from scepkit.cli import main; main(['enroll', '--help']);"
        "sys.exit(any('configuration' in name for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=False, timeout=PATIENCE
    )
    assert done.returncode == 0
