"""`scep admin endpoint`: what it shows is what the server is, and what it says to type works."""

from __future__ import annotations

import hashlib
import json
import shlex
import urllib.request
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.keys.pem import read_certificate
from scepkit.server.directory import data_directory
from server.live import Server, scep_here

SETTINGS = """\
public_url = "https://pki.example.com/scep"

[endpoint.default]
legacy = ["sha1"]

[endpoint.vpn]
ca = "vpn"
layout = "ec"
challenge = "none"
approval = "manual"
profile = "vpn-client"
renewal = false

[endpoint.small]
ca = "small"
layout = "single"
challenge = "static"
challenge_file = "small.txt"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("endpoints") / "scep-data"
    path.mkdir(mode=0o700)
    (path / "scep.toml").write_text(SETTINGS)
    secret = path / "small.txt"
    secret.write_text("dMRf5Nmbq0TQzXAbTcQ2\n")
    secret.chmod(0o600)
    data_directory.prepare(path, now=datetime.now(UTC))
    return path


@pytest.fixture
def show(made, scep):
    def show(name, *how):
        status, out, err = scep("admin", "endpoint", "show", name, "--dir", made, *how)
        assert (status, err) == (0, "")
        return out

    return show


def test_a_list(made, scep):
    status, out, err = scep("admin", "endpoint", "list", "--dir", made)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "default", "vpn", "small"]
    rows = [
        json.loads(line)
        for line in scep("admin", "endpoint", "list", "--dir", made, "--json")[1].splitlines()
    ]
    assert rows[1] == {
        "name": "vpn",
        "url": "https://pki.example.com/scep/vpn",
        "ca": "vpn",
        "challenge": "none",
        "approval": "manual",
        "profile": "vpn-client",
    }


@pytest.mark.parametrize(
    ("name", "layout", "has_ra", "lacks"),
    [
        ("default", "default", True, {"GetNextCACert"}),
        ("vpn", "ec", True, {"SHA-1", "Renewal"}),
        ("small", "single", False, {"SHA-1"}),
    ],
)
def test_what_is_shown(made, show, name, layout, has_ra, lacks):
    facts = json.loads(show(name, "--json"))
    place = made if name == "default" else made / f"ca-{name}"
    ca = read_certificate(place / "ca.pem").public_bytes(Encoding.DER)
    (shown,) = facts["certificates"]
    for digest in ("sha256", "sha1", "md5"):
        assert shown[digest] == hashlib.new(digest, ca).hexdigest()
    assert facts["layout"] == layout
    assert (facts["ra"] is not None) == has_ra
    assert not lacks & set(facts["capabilities"])
    text = show(name)
    for value in (shown["sha256"], shown["sha1"], shown["md5"], facts["url"], layout):
        assert value in text


def test_only_what_fits_is_typed(show):
    """Without a challenge none is typed, without an RA none is named, and sscep has no https."""
    asked = json.loads(show("vpn", "--json"))["commands"]
    assert "CHALLENGE" not in json.dumps(asked)
    assert "one-time: scep admin challenge new\n" in show("default")
    small = json.loads(show("small", "--json"))["commands"]
    assert "ra.pem" not in json.dumps(small)
    assert "--cacert-sig ca.pem" in small["strongswan"][-1]
    assert small["certmonger"][0].endswith(" -N ca.pem")
    assert "sscep" not in small


def test_a_server_that_only_this_machine_reaches(made, scep, monkeypatch):
    monkeypatch.setenv("SCEP_PUBLIC_URL", "")
    status, out, err = scep("admin", "endpoint", "show", "--dir", made)
    assert status == 0
    assert "http://127.0.0.1:8080/scep\n" in out
    assert "no other machine reaches this URL" in err
    assert "sscep enroll -u http://127.0.0.1:8080/scep" in out
    assert "# sscep; device.csr holds the challenge\n" in out
    assert "\n# sscep\n" in scep("admin", "endpoint", "show", "vpn", "--dir", made)[1]
    monkeypatch.setenv("SCEP_PORT", "0")
    status, out, err = scep("admin", "endpoint", "show", "--dir", made)
    assert "URL        unknown" in out
    assert "scep enroll" not in out
    assert "set public_url, or port" in err


def test_a_ca_that_is_yet_to_come(made, scep, tmp_path, monkeypatch):
    monkeypatch.setenv("SCEP_ENDPOINT__LATER__CA", "later")
    status, out, _ = scep("admin", "endpoint", "show", "later", "--dir", made)
    assert status == 0
    assert "later, which waits for its certificate" in out
    assert "scep enroll" not in out


def test_no_such_endpoint(made, scep):
    status, out, err = scep("admin", "endpoint", "show", "nobody", "--dir", made)
    assert (status, out) == (2, "")
    assert "there is no endpoint 'nobody'" in err
    assert "one of default, vpn, small" in err


def test_what_is_typed_gets_a_certificate(tmp_path):
    """The line for scepkit, word for word; GetCACaps says what is shown."""
    with Server(tmp_path / "data", "--layout", "ec") as server:
        told = ("--dir", server.directory)
        secret = scep_here("admin", "challenge", "new", *told).stdout.strip()
        # The free port is known to nobody but the server.
        settings = server.directory / "scep.toml"
        settings.write_text(settings.read_text().replace("port = 0", f"port = {server.port}"))
        facts = json.loads(scep_here("admin", "endpoint", "show", "--json", *told).stdout)
        assert facts["url"] == server.url
        with urllib.request.urlopen(f"{server.url}?operation=GetCACaps") as answer:
            assert answer.read().decode().split() == facts["capabilities"]
        (line,) = facts["commands"]["scepkit"]
        words = [w.replace("CHALLENGE", secret) for w in shlex.split(line)[1:]]
        words[words.index("--out") + 1] = str(tmp_path / "device1")
        done = scep_here(*words)
        assert done.returncode == 0, done.stderr
    certificate = x509.load_pem_x509_certificate((tmp_path / "device1/cert.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=device1,O=Example"


def test_the_doors_of_mdms(scep, tmp_path):
    (tmp_path / "jamf.txt").write_text("Wuchtgeschoss-17-Nord")
    (tmp_path / "jamf.txt").chmod(0o600)
    jamf = '[endpoint.phones.jamf]\nuser = "jamf"\npassword_file = "jamf.txt"\n'
    (tmp_path / "scep.toml").write_text(
        f"[endpoint.default]\nndes = true\n[endpoint.phones]\nmscep_admin = true\n{jamf}"
    )
    data_directory.prepare(tmp_path, now=datetime.now(UTC), layout="ec")
    found = {
        name: json.loads(scep("admin", "endpoint", "show", name, "--json", "--dir", tmp_path)[1])
        for name in ("default", "phones")
    }
    assert found["default"]["doors"] == {
        "ndes": ["/scep/default/mscep_admin/", "/certsrv/mscep_admin/"]
    }
    assert found["phones"]["doors"] == {
        "ndes": ["/scep/phones/mscep_admin/"],
        "jamf": ["/scep/phones/challenge/jamf"],
    }
    _, out, _ = scep("admin", "endpoint", "show", "phones", "--dir", tmp_path)
    assert "/scep/phones/challenge/jamf" in out
