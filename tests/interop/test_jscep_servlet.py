"""jscep's ScepServlet in a CA of ours (jscep/Authority.java), with our client.

It takes AES and SHA-512, and answers in triple DES and SHA-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import building
from interop.judge import fingerprint
from interop.programs import Daemon, built, require, run
from interop.serving import SCEP, wait_for
from interop.test_jscep import QUICKLY
from interop.test_openssl import MESSAGE_TYPE

pytestmark = [
    pytest.mark.interop,
    pytest.mark.peer(
        f"jscep {building.JSCEP.version} (ScepServlet)",
        role="server",
        note="It answers in SHA-1 and triple DES, whatever it is asked in: `--legacy sha1,des3`."
        " It issues nothing to EC keys: it has no way to encrypt its reply to them.",
    ),
    pytest.mark.cannot(
        retry="it hands a repeated request to its program as a new one",
        next="what it sends is of the old kind, whose signature does not cover the certificates"
        " (RFC 8894 section 4.7.1), and is refused",
    ),
]

CHALLENGE = "interop-secret"
LEGACY = ("--legacy", "sha1,des3")


@dataclass(frozen=True)
class Peer:
    """The CA as its operator knows it."""

    url: str
    ca: Path

    @property
    def fingerprint(self):
        return fingerprint(self.ca)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Run the CA, which ends with its stdin."""
    where = built(building.JSCEP)
    (java,) = require("java")
    home = tmp_path_factory.mktemp("jscep")
    classes = ("-cp", f"{where}/classes:{where}/lib/*")
    command = [java, *QUICKLY, *classes, "Authority", home, CHALLENGE]
    with Daemon("jscep's servlet", command, home, ends_by=None) as daemon:
        url = daemon.line()
        wait_for(url, daemon)
        yield Peer(url, home / "ca.pem")


@pytest.fixture
def enrolled(authority, tap, enroll, tmp_path):
    """Enrol, and return the tap and the directory."""
    wire = tap(authority.url)
    done = enroll(wire.url, authority.fingerprint, CHALLENGE, *LEGACY)
    assert done.status == 0, done.err
    return wire, tmp_path / "device"


@pytest.mark.does("caps", "ca")
def test_what_it_shows(authority, openssl, tmp_path):
    done = run(*SCEP, "get", "caps", authority.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert set(done.out.split()) >= {"AES", "POSTPKIOperation", "Renewal", "SHA-256"}
    done = run(*SCEP, "get", "ca", authority.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert openssl.fingerprints(done.out) == [authority.fingerprint]


@pytest.mark.does("enrol")
def test_enrols(enrolled, openssl):
    """It is asked in what it offers, and answers in what it always answers in."""
    wire, files = enrolled
    openssl.check_chain(files / "cert.pem", files / "ca.pem")
    assert openssl.facts(files / "cert.pem", "-subject") == "subject=CN=device,O=Interop\n"
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    assert "algorithm: sha256 " in openssl.cms(exchange.message)
    assert "algorithm: sha1 " in openssl.cms(exchange.reply)
    assert "algorithm: des-ede3-cbc " in openssl.cms(openssl.signed(exchange.reply))


@pytest.mark.does("poll")
def test_waits_for_approval(authority, tap, enroll, openssl, tmp_path):
    """It decides at the second poll."""
    wire = tap(authority.url)
    wait = ("--poll-interval", "1")
    done = enroll(wire.url, authority.fingerprint, f"wait-{CHALLENGE}", *LEGACY, *wait)
    assert done.status == 0, done.err
    openssl.check_chain(tmp_path / "device" / "cert.pem", authority.ca)
    asked = [openssl.attributes(one.message)[MESSAGE_TYPE] for one in wire.pki_operations]
    assert asked == [f"PRINTABLESTRING {number}" for number in (19, 20, 20)]


@pytest.mark.does("renew", "rekey")
@pytest.mark.parametrize("same_key", [True, False], ids=["same key", "new key"])
def test_renews(enrolled, renew, openssl, same_key):
    """By a PKCSReq that the present certificate signs; its program needs no challenge then."""
    wire, files = enrolled
    before = openssl.public_key(files / "cert.pem"), openssl.serial(files / "cert.pem")
    done = renew(*["--same-key"] * same_key)
    assert done.status == 0, done.err
    after = openssl.public_key(files / "cert.pem"), openssl.serial(files / "cert.pem")
    assert (after[0] == before[0], after[1] == before[1]) == (same_key, False)
    openssl.check_chain(files / "cert.pem", files / "ca.pem")
    attributes = openssl.attributes(wire.pki_operations[-1].message)
    assert attributes[MESSAGE_TYPE] == "PRINTABLESTRING 19"


@pytest.mark.does("cert", "crl")
def test_retrieves(enrolled, openssl, tmp_path):
    _, files = enrolled
    done = run(*SCEP, "get", "cert", "--dir", files, cwd=tmp_path)
    assert done.status == 0, done.err
    assert openssl.fingerprints(done.out) == openssl.fingerprints((files / "cert.pem").read_text())
    done = run(*SCEP, "get", "crl", "--dir", files, cwd=tmp_path)
    assert done.status == 0, done.err
    openssl("crl", "-CAfile", files / "ca.pem", "-noout", stdin=done.out.encode())


def test_its_next_ca_is_refused(authority, tmp_path):
    trust = ("--fingerprint", authority.fingerprint, "--legacy", "sha1")
    done = run(*SCEP, "get", "next-ca", authority.url, *trust, cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "whose signature does not cover the certificates" in done.err


@pytest.mark.does("refusal")
def test_needs_both_flags(authority, enroll):
    done = enroll(authority.url, authority.fingerprint, CHALLENGE)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1] == "hint: if it can do no better, allow it: --legacy sha1,des3"


@pytest.mark.does("refusal")
def test_a_wrong_challenge(authority, enroll, tmp_path):
    done = enroll(authority.url, authority.fingerprint, "wrong", *LEGACY)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[0] == "error: badRequest"
    assert not (tmp_path / "device" / "cert.pem").exists()
