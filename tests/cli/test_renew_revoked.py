"""`scep renew` before its time asks whether the certificate was revoked."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

import httpd
import responders
from httpd import DROP, HANG
from pair import _Public, grant
from scepkit.client import clock, revocation_check
from scepkit.protocol.crl import Reason
from scepkit.protocol.ocsp import Plain, Revoked
from scepkit.protocol.scep.http import HTTPResponse

NOW = httpd.today()


class Site(httpd.Site):
    """A server whose certificates name a responder and a list beside it."""

    def __init__(self, *decisions, ocsp=True, crls=False):
        super().__init__(*decisions)
        self.ocsp = self.crl = HTTPResponse(503, b"")
        self.asked_of = []
        places = {"ocsp": [f"{self.origin}/ocsp"] * ocsp, "crls": [f"{self.origin}/crl"] * crls}
        self.scep.issue = lambda wanted: self._issued(wanted, places)

    def _issued(self, wanted, places):
        self.certificate = responders.certificate(_Public(wanted.public_key), subject="a", **places)
        return self.certificate.der

    def answer(self, request):
        name = self.paths[-1].removeprefix("/")
        if name not in ("ocsp", "crl"):
            return super().answer(request)
        self.asked_of.append(name)
        found = getattr(self, name)
        if isinstance(found, HTTPResponse) or found in (HANG, DROP):
            return found
        body = found(request.body) if callable(found) else found
        return HTTPResponse(200, body, "application/octet-stream")


@pytest.fixture
def enrolled(scep):
    """Start a site, and enrol a device with it in the directory `a`."""
    sites = []

    def enrolled(**how):
        site = Site(grant, **how).__enter__()
        sites.append(site)
        known = ["--fingerprint", site.fingerprint]
        status, _, err = scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)
        assert status == 0, err
        return site

    yield enrolled
    for site in sites:
        site.__exit__(None, None, None)


def says(status, **how):
    return lambda request: responders.answer(request, status, **how)


def test_a_good_certificate(enrolled, scep):
    site = enrolled()
    site.ocsp = says(Plain.GOOD)
    status, _, err = scep("renew", "a")
    assert status == 0
    assert err.startswith("not yet: CN=a is valid until")
    assert json.loads(scep("renew", "a", "--json")[1])["revocation"] == "good"
    assert site.asked_of == ["ocsp", "ocsp"]


def test_a_revoked_one(enrolled, scep):
    """It is said, noted, and not asked for again: for good is for good."""
    site = enrolled()
    site.ocsp = says(Revoked(NOW, Reason.keyCompromise), signer=responders.delegate())
    status, out, err = scep("renew", "a")
    assert (status, out) == (1, "")
    assert err == (
        f"error: the certificate in a was revoked at {NOW:%Y-%m-%d %H:%M} UTC: keyCompromise\n"
        f"hint: get a new one: scep enroll {site.url} --subject CN=a --out a\n"
    )
    assert json.loads(scep("status", "a", "--json")[1])["state"] == "revoked"
    status, _, err = scep("renew", "a", "--json")
    assert (status, json.loads(err)["code"]) == (1, "revoked")
    assert site.asked_of == ["ocsp"]


def test_a_revoked_one_while_a_certificate_of_the_next_ca_waits(enrolled, scep):
    """The CA is asked about its change, and the responder about the certificate all the same."""
    site = enrolled()
    site.ocsp = says(Revoked(NOW, Reason.keyCompromise), signer=responders.delegate())
    Path("a/next").mkdir(mode=0o700)
    status, _, err = scep("renew", "a")
    assert (status, "was revoked at" in err) == (1, True)
    assert site.asked_of == ["ocsp"]


def test_one_on_hold(enrolled, scep):
    """It may be released: it is asked for again, and then it is good."""
    site = enrolled()
    site.ocsp = says(Revoked(NOW, Reason.certificateHold))
    status, _, err = scep("renew", "a")
    assert (status, "is on hold since" in err) == (1, True)
    assert json.loads(scep("status", "a", "--json")[1])["state"] == "on hold"
    site.ocsp = says(Plain.GOOD)
    status, _, err = scep("renew", "a")
    assert (status, err.split("\n")[0]) == (0, "the certificate is not on hold any more")
    assert scep("status", "a")[0] == 0


def test_a_list_in_place_of_a_responder(enrolled, scep):
    site = enrolled(ocsp=False, crls=True)
    site.crl = responders.crl([(site.certificate.serial, x509.ReasonFlags.superseded)])
    status, _, err = scep("renew", "a")
    assert (status, "UTC: superseded\n" in err) == (1, True)
    assert site.asked_of == ["crl"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (HTTPResponse(503, b"busy"), "HTTP 503"),
        (DROP, "broke off"),
        (b"<html>no</html>", "cannot be read as an OCSP response"),
        (says(Plain.UNKNOWN), "does not know the certificate"),
        (says(Revoked(NOW, 1), signer=httpd.ca("other")), "not signed by the CA"),
        (says(Revoked(NOW, 1), age=9 * httpd.DAY), "not current"),
    ],
    ids=["busy", "drops", "nonsense", "unknown", "foreign", "stale"],
)
def test_what_cannot_be_learnt_is_no_failure(enrolled, scep, answer, why):
    site = enrolled()
    site.ocsp = answer
    status, _, err = scep("renew", "a")
    assert status == 0
    first, *others = err.splitlines()
    assert first.startswith("cannot find out whether the certificate was revoked: ")
    assert why in first
    assert [line[:8] for line in others] == ["not yet:"]
    assert json.loads(scep("renew", "a", "--json")[1])["revocation"] == "unknown"
    assert not Path("a/revocation.json").exists()


def test_a_responder_that_hangs_does_not_keep_the_device(enrolled, scep, monkeypatch):
    """It gets less time than the CA does."""
    monkeypatch.setattr(revocation_check, "TIMEOUT", 0.2)
    site = enrolled()
    site.ocsp = HANG
    status, _, err = scep("renew", "a")
    assert status == 0
    assert "no answer from 127.0.0.1" in err
    assert "not yet: " in err


def test_a_certificate_that_names_nobody(enrolled, scep):
    site = enrolled(ocsp=False)
    status, out, err = scep("renew", "a", "--json")
    assert (status, json.loads(out)["revocation"], err) == (0, "not_named", "")
    assert site.asked_of == []


def test_nobody_is_asked_when_it_is_time(enrolled, scep):
    """The CA says then whether it renews."""
    site = enrolled()
    assert scep("renew", "a", "--force")[0] == 0
    assert site.asked_of == []


def agent(scep, *options):
    """Run the agent once; return the exit status, what it said, and how it is from then on."""
    status, _, err = scep("agent", "run", "--once", "a", *options)
    (found,) = json.loads(scep("status", "--all", "a", "--json")[1])["directories"]
    return status, err, found


def test_an_agent_says_so_and_leaves_it_alone(enrolled, scep):
    site = enrolled()
    note = {"serial": f"{site.certificate.serial:x}", "at": NOW.isoformat()}
    Path("a/revocation.json").write_text(json.dumps({**note, "reason": "superseded"}))
    asked = len(site.paths)
    command = f"scep enroll {site.url} --subject CN=a --out a"
    for options, said in ([], True), ([], False), (["--retry-now"], True):
        status, err, found = agent(scep, *options)
        assert (status, command in err) == (1, said), err
        assert "trying again" not in err
        assert "warning" not in err
        assert (found["state"], found["failures"], found["next"]) == ("revoked", 0, "")
    assert len(site.paths) == asked


def test_an_agent_that_has_looked_sees_a_revocation_at_once(enrolled, scep):
    site = enrolled()
    site.ocsp = says(Plain.GOOD)
    assert agent(scep)[0] == 0
    note = {"serial": f"{site.certificate.serial:x}", "at": NOW.isoformat()}
    Path("a/revocation.json").write_text(json.dumps({**note, "reason": "superseded"}))
    assert scep("status", "--all", "a", "--check")[0] == 1
    assert agent(scep)[0] == 1
    assert (
        scep(
            "enroll", site.url, "--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint
        )[0]
        == 0
    )
    assert agent(scep)[0] == 0


def test_an_agent_looks_once_a_day_whether_a_hold_has_ended(enrolled, scep, monkeypatch):
    site = enrolled()
    site.ocsp = says(Revoked(NOW, Reason.certificateHold))
    assert agent(scep)[2]["state"] == "revoked"
    assert agent(scep)[:2] == (1, "1 directory: 1 revoked\n")
    assert site.asked_of == ["ocsp"]
    later = timedelta(days=1, hours=1)
    now = clock.now() + later
    monkeypatch.setattr(clock, "now", lambda: now)
    site.ocsp = HTTPResponse(503, b"")
    assert agent(scep)[2]["state"] == "revoked"
    now += later
    site.ocsp = says(Plain.GOOD, age=-2 * later)
    status, err, found = agent(scep)
    assert (status, found["state"]) == (0, "valid"), err
    assert "the certificate is not on hold any more" in err
