"""What `scep renew` keeps of a CA, and what it forgets when it is another one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import httpd
import keys
from pair import grant
from scepkit.cli.device import connection
from scepkit.client.folder import Folder, record
from scepkit.client.folder.record import Record
from scepkit.protocol.cms import signed
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.http import Operation
from scepkit.protocol.scep.transaction import Issued

DONE, FAILED = 0, 1
URL = "http://ca.example/cgi-bin/pkiclient.exe"
KEPT = Record(
    URL,
    ca_id="main",
    legacy=("sha1",),
    tls_ca="/etc/tls.pem",
    capabilities=("aes", "sha-256"),
    checked_at="2026-11-20T00:00:00+00:00",
)
FORGOTTEN = {"capabilities": (), "checked_at": ""}


def read(folder, **how):
    """Return how to reach the CA, as the options say that are given."""
    unsaid = {"url": "", "ca_id": None, "legacy": None, "tls_ca": None}
    return folder.server(connection.changes(**(unsaid | how)))


@pytest.fixture
def folder():
    folder = Folder(Path("a"))
    folder.path.mkdir()
    folder.remember(KEPT)
    return folder


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({}, {}),
        ({"url": URL, "ca_id": "main"}, {}),
        ({"url": "http://ca.example"}, {}),
        ({"url": " http://ca.example#top"}, {}),
        ({"legacy": "des3,sha1"}, {"legacy": ("des3", "sha1"), "checked_at": ""}),
        ({"legacy": ""}, {"legacy": (), "checked_at": ""}),
        ({"legacy": "sha1"}, {}),
        ({"url": "http://ca.example/scep"}, {"url": "http://ca.example/scep"} | FORGOTTEN),
        ({"url": "http://b.example"}, {"url": URL.replace("//ca", "//b")} | FORGOTTEN),
        ({"ca_id": "other"}, {"ca_id": "other"} | FORGOTTEN),
        ({"ca_id": ""}, {"ca_id": ""} | FORGOTTEN),
    ],
    ids=str,
)
def test_what_was_seen_holds_for_one_url_and_one_ca(folder, said, changed):
    assert read(folder, **said) == replace(KEPT, **changed)


@pytest.mark.parametrize("said", [{}, {"url": "http://ca.example"}, {"url": URL}], ids=str)
def test_a_url_that_was_kept_as_it_was_typed(folder, said):
    """It is the same server: what that can do is not forgotten."""
    folder.remember(replace(KEPT, url="http://ca.example"))
    assert read(folder, **said) == KEPT


def test_nothing_was_kept(folder):
    (folder.path / "enrolment.json").unlink()
    assert read(folder, url="http://ca.example") == Record(URL)


def test_the_url_is_kept_as_enroll_keeps_it(serve, scep):
    """So the next enrolment knows the CA again, and what that can do."""
    site = serve(grant)
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    assert scep("renew", "a", "--force", "--url", f"{site.url}#top")[0] == 0
    kept = record.read(Path("a/enrolment.json"))
    assert kept.url == site.url
    assert "aes" in kept.seen(site.url, "")


def test_another_ca_of_the_same_server(serve, scep):
    """It may be weaker; nobody is warned of what was never said of it."""
    site = serve(grant)
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    site.scep.caps = ("SHA-256", "AES", "POSTPKIOperation")
    status, _, err = scep("renew", "a", "--force", "--ca-id", "small")
    assert status == 0, err
    assert "no longer lists" not in err
    kept = json.loads(Path("a/enrolment.json").read_text())
    assert (kept["ca_id"], kept["capabilities"]) == (
        "small",
        ["aes", "postpkioperation", "sha-256"],
    )


@pytest.fixture
def waits(serve, scep):
    """A site whose next CA was announced, and given up for another one.

    In `a` a certificate of the first one waits.
    """
    site = serve(grant, following=httpd.ca("next-ca"))
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    assert scep("renew", "a", "--next-ca")[0] == 0
    site.scep.following = httpd.ca("other-ca")
    site.scep.responder = site.scep._responder()
    return site


def test_another_successor_is_learnt_while_a_certificate_waits(waits, scep):
    """Nothing is due; but once the CA is replaced, nobody could vouch for that one any more."""
    status, _, err = scep("renew", "a")
    assert status == 0, err
    announced, not_yet = err.splitlines()
    assert announced.startswith("the CA announces its successor: CN=Test other-ca, ")
    assert not_yet.startswith("not yet: ")
    waits.scep.roll_over()
    status, _, err = scep("renew", "a", "--force")
    assert status == 0, err
    assert Folder(Path("a")).ca() == httpd.ca("other-ca").certificate


def test_a_certificate_of_a_successor_that_was_given_up_does_not_count(waits, scep):
    status, _, err = scep("renew", "a", "--next-ca")
    assert status == 0, err
    assert Folder(Path("a/next")).ca() == httpd.ca("other-ca").certificate


AWAY = "warning: the CA could not be asked for its successor: nothing listens at "


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("renew a", "not yet: CN=a is valid until "),
        ("renew --all a", "a: not yet: due from "),
        ("agent run --once a", "1 directory: 1 valid"),
    ],
)
def test_a_server_that_is_away_while_a_certificate_waits_and_none_is_due(
    waits, scep, command, said
):
    waits.__exit__(None, None, None)
    status, _, err = scep(*command.split())
    assert (status, AWAY in err, said in err) == (DONE, True, True), err
    assert scep("status", "a")[0] == DONE


@pytest.mark.parametrize("option", ["--force", "--next-ca"])
def test_whoever_wants_a_certificate_is_told_that_the_server_is_away(waits, scep, option):
    waits.__exit__(None, None, None)
    status, _, err = scep("renew", "a", option)
    assert (status, err.startswith("error: nothing listens at ")) == (FAILED, True), err


@pytest.mark.rfc("A-15")
def test_a_certificate_of_another_ca_goes_with_its_chain(serve, scep):
    """The CA that renews it may know its root alone, which is not sent."""
    root = httpd.certify("Factory root", keys.rsa_key("factory root"), ca=True)
    middle = httpd.certify("Factory CA", keys.rsa_key("factory"), root, ca=True)
    made = httpd.certify("a", keys.rsa_key("made"), middle)
    folder = Folder(Path("a"))
    folder.begin(made.key)
    folder.install(
        Issued(made.certificate, (middle.certificate, root.certificate), TransactionID(b"1"))
    )
    site = serve(grant)
    known = ["--url", site.url, "--fingerprint", site.fingerprint]
    status, _, err = scep("renew", "a", "--force", *known)
    assert status == 0, err
    (request,) = site.asked(Operation.PKI_OPERATION)
    assert signed.read_signed_data(request.body).certificates == (made.der, middle.der)
    assert scep("renew", "a", "--force")[0] == 0
    _, request = site.asked(Operation.PKI_OPERATION)
    assert len(signed.read_signed_data(request.body).certificates) == 1
