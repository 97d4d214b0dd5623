"""`scep admin profile`: listed, shown, checked, and tried without anything being issued."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

import keys
from enrolment import devices
from scepkit.server import data_directory
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.store import Store

OWN = """
[profile.hosts]
extends = "tls-server"
description = "Hosts of the house"
[profile.hosts.subject.O]
fixed = "Example"
[profile.hosts.names.dns]
min = 1
suffixes = ["example.com"]
[endpoint.hosts]
profile = "hosts"
validity_days = 7
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    return path


@pytest.fixture
def admin(made, scep):
    """Run `scep admin profile …` on a server with these settings."""

    def run(what, *more, text=OWN):
        (made / "scep.toml").write_text(text)
        return Done(*scep("admin", "profile", what, "--dir", made, *more))

    return run


@pytest.fixture
def asked(tmp_path):
    """Return the file with a request."""

    def write(subject="CN=a", sans=("dns:a.example.com",)):
        request = devices.request(subject=subject, sans=sans)
        pem = x509.load_der_x509_csr(request.der).public_bytes(Encoding.PEM)
        (tmp_path / "device.csr").write_bytes(pem)
        return tmp_path / "device.csr"

    return write


def test_the_list(admin):
    """The ready ones are in it, and which endpoints issue by a profile."""
    rows = [json.loads(line) for line in admin("list", "--json").out.splitlines()]
    by_name = {row["name"]: row for row in rows}
    assert by_name["hosts"] == {
        "name": "hosts",
        "extends": "tls-server",
        "endpoints": ["hosts"],
        "description": "Hosts of the house",
    }
    assert by_name["device"]["endpoints"] == ["default"]
    assert "windows-user" in by_name
    assert "Hosts of the house" in admin("list").out


@pytest.mark.parametrize("name", ["hosts", "device", "windows-user"])
def test_what_is_shown_is_a_profile(admin, name):
    """It can be put into a file as it is, and says the same."""
    shown = tomllib.loads(admin("show", name).out)
    told = json.loads(admin("show", name, "--json").out)
    assert told.pop("name") == name
    assert ProfileSettings(**shown) == ProfileSettings(**told)


def test_an_unknown_profile(admin):
    done = admin("show", "host")
    assert done.code == 2
    assert "did you mean 'hosts'?" in done.err


def test_the_check(admin):
    assert "profiles are good" in admin("check").err
    done = admin("check", text="[profile.a]\nvalidty = '8h'")
    assert done.code == 2
    assert "did you mean `validity`? (line 2)" in done.err
    done = admin("check", text="[profile.a]\nnot_after = 2020-01-01T00:00:00Z")
    assert done.code == 1
    assert "the profile a: its not_after" in done.err


def test_a_trial(admin, asked, made):
    """The certificate is what would be issued, but for its key; and nothing is issued."""
    before = (made / "scep.db").read_bytes()
    done = admin("try", "hosts", asked())
    certificate = x509.load_pem_x509_certificate(done.out.encode())
    ca = x509.load_pem_x509_certificate((made / "ca.pem").read_bytes())
    assert certificate.issuer == ca.subject
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(ca)
    assert certificate.public_key() == keys.device().key.public_key()
    # The endpoint says seven days.
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7
    assert "rule: the subject is O=Example,CN=a (subject)" in done.err
    assert "pkilint" in done.err
    assert (made / "scep.db").read_bytes() == before


def test_what_a_trial_leaves_out_and_refuses(admin, asked, tmp_path):
    done = admin("try", "hosts", asked(sans=("dns:a.example.com", "uri:urn:a:b")))
    assert "rule: name uri:urn:a:b (names.kinds)" in done.err
    done = admin("try", "hosts", asked(sans=()), "--json")
    assert done.code == 1
    refused = json.loads(done.out)
    assert refused["pem"] == ""
    assert "names.dns.min of the profile 'hosts'" in refused["refused"]
    (tmp_path / "no.csr").write_text("nothing")
    assert admin("try", "hosts", tmp_path / "no.csr").code == 1


def test_a_trial_with_the_data_of_a_challenge(admin, asked, monkeypatch):
    """And with one that is bound, as log-ins to a Windows domain need it."""
    pytest.importorskip("jinja2", reason="pip install 'scepkit[profiles]'")
    text = "[profile.a]\nsubject.OU.template = '{{ challenge.data.unit }}{{ challenge.label }}'"
    done = admin("try", "a", asked(), "--data", "unit=Lab", "--label", "7", text=text)
    assert "OU=Lab7" in done.err
    name = asked(sans=("upn:a@example.com",))
    assert admin("try", "windows-user", name).code == 1
    assert "upn:a@example.com" in admin("try", "windows-user", name, "--bound").err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(asked().read_bytes())))
    assert "BEGIN CERTIFICATE" in admin("try", "device", "-").out
