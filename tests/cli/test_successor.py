"""How the commands ask for the CA's successor, how often, and what they say when there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import forge
import httpd
from httpd import DROP
from pair import grant
from scepkit.client.folder import Folder, record
from scepkit.protocol.cms import signed
from scepkit.protocol.scep.capabilities import GET_NEXT_CA_CERT
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Pending

NEXT = httpd.ca("next-ca")
NONE = "this CA announces no successor: the server answered HTTP 404: not here\n"
OLD_KIND = (
    "the next CA certificate cannot be believed: it is of the old kind with one layer, whose "
    "signature does not cover the certificates"
)
SHA1 = "the CA answered with sha1, which was not allowed"
HINT = "hint: if it can do no better, allow it: --legacy sha1"


def announcement(content, certificates=(), digest="sha1"):
    """Return what a CA of old answers to GetNextCACert."""
    info = forge.signer_info(content or b"", [], httpd.ca(), digest=digest)
    return HTTPResponse(200, forge.signed_data(content, [info], certificates, digest=digest))


def xipki():
    return announcement(signed.certs_only([NEXT.der]))


def jscep():
    return announcement(None, [NEXT.der])


@pytest.fixture
def site(serve, scep):
    """A CA that says GetNextCACert and has none, as UCM 2.213 does; in `a` is a certificate."""
    site = serve(grant)
    site.scep.caps = (*site.scep.caps, GET_NEXT_CA_CERT)
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    return site


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Every wait that a command made; none takes time."""
    from scepkit.cli import terminal

    made = []
    monkeypatch.setattr(terminal.Progress, "pause", lambda _, wait: made.append(wait))
    return made


def asked(site):
    return len(site.asked(Operation.GET_NEXT_CA_CERT))


def lines(scep, *arguments):
    """Run `scep renew` and return what it said, but for the certificate that it got."""
    status, _, err = scep("renew", "a", *arguments)
    assert status == 0, err
    return [line for line in err.splitlines() if not line.startswith((" ", "got", "not yet"))]


@pytest.mark.parametrize("option", [[], ["--force"]], ids=["not due", "due"])
def test_no_successor_is_not_worth_a_word(site, scep, waits, option):
    """It is asked once a day, and nothing is said: that is how CAs mostly are."""
    for _ in range(3):
        assert lines(scep, *option) == []
    assert asked(site) == 1
    assert waits == []


@pytest.mark.parametrize("option", [[], ["--force"]], ids=["not due", "due"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (xipki, [f"warning: the CA's successor cannot be trusted: {SHA1}", HINT]),
        (jscep, [f"warning: the CA's successor cannot be trusted: {OLD_KIND}"]),
    ],
    ids=["SHA-1", "one layer"],
)
def test_an_answer_that_stays_as_it_is(site, scep, waits, answer, said, option):
    """It is said once a day, and not asked for again within it."""
    site.next(Operation.GET_NEXT_CA_CERT, answer(), answer())
    assert lines(scep, *option) == said
    assert lines(scep, *option) == []
    assert asked(site) == 1
    assert waits == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([DROP] * 4, "warning: the CA could not be asked for its successor: "),
        ([HTTPResponse(503, b"")] * 4, "warning: the CA could not be asked for its successor: "),
        ([HTTPResponse(500, b"")], "warning: the CA could not be asked for its successor: "),
        ([HTTPResponse(200, b"rubbish")] * 4, "warning: the CA's successor cannot be trusted: "),
    ],
    ids=["away", "busy", "at a loss", "rubbish"],
)
def test_what_was_no_answer_is_asked_for_by_the_next_run(site, scep, answers, said):
    site.next(Operation.GET_NEXT_CA_CERT, *answers)
    (line,) = lines(scep)
    assert line.startswith(said)
    assert lines(scep) == []
    assert asked(site) == len(answers) + 1


def test_the_time_is_kept_though_the_renewal_waits(site, scep):
    """`scep renew` is run every hour until somebody has approved; the CA is asked once a day."""
    site.scep.decisions = [Pending()]
    before = record.read(Path("a/enrolment.json"))
    for _ in range(3):
        assert scep("renew", "a", "--force", "--max-wait", "0")[0] == 3
    assert asked(site) == 1
    after = record.read(Path("a/enrolment.json"))
    assert (before.checked_at, after.checked_at != "") == ("", True)
    site.scep.decisions = [grant]
    assert scep("renew", "a", "--force")[0] == 0
    assert record.read(Path("a/enrolment.json")).checked_at == after.checked_at
    assert asked(site) == 1


@pytest.mark.parametrize("option", [[], ["--force"]], ids=["not due", "due"])
def test_a_time_that_a_wrong_clock_noted(site, scep, option):
    """It is not past yet: the CA is asked once, and from then on once a day."""
    Folder(Path("a")).remember(
        replace(record.read(Path("a/enrolment.json")), checked_at="2099-01-01T00:00:00+00:00")
    )
    for _ in range(2):
        assert lines(scep, *option) == []
    assert asked(site) == 1


def test_nothing_is_kept_of_another_server(site, scep, serve):
    """A URL that was mistyped is not remembered because GetNextCACert was answered there."""
    other = serve(Pending())
    other.scep.caps = site.scep.caps
    assert scep("renew", "a", "--force", "--max-wait", "0", "--url", other.url)[0] == 3
    assert asked(other) == 1
    kept = record.read(Path("a/enrolment.json"))
    assert (kept.url, kept.checked_at) == (site.url, "")


@pytest.mark.parametrize(
    "arguments",
    [("get", "next-ca", "URL", "--ca", "a/ca.pem"), ("renew", "a", "--next-ca")],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_who_asks_for_it_is_told_in_a_plain_line(site, scep, waits, arguments):
    """There is nothing to give, so the status is 1; but nothing is wrong."""
    arguments = [site.url if one == "URL" else one for one in arguments]
    for _ in range(2):
        assert scep(*arguments) == (1, "", NONE)
    assert asked(site) == 2
    site.next(Operation.GET_NEXT_CA_CERT, xipki(), jscep())
    assert scep(*arguments) == (1, "", f"error: {SHA1}\n{HINT}\n")
    assert scep(*arguments) == (1, "", f"error: {OLD_KIND}\n")
    assert waits == []


def test_what_the_hint_says_is_enough(site, scep):
    """`--legacy` of `scep get next-ca` for once, and of `scep renew` for good, on the same day."""
    site.next(Operation.GET_NEXT_CA_CERT, *(xipki() for _ in range(3)))
    assert lines(scep)[-1] == HINT
    status, out, err = scep(
        *("get", "next-ca", site.url, "--ca", "a/ca.pem", "--legacy", "sha1", "--json")
    )
    assert status == 0, err
    assert [one["subject"] for one in json.loads(out)["certificates"]] == ["CN=Test next-ca"]
    (line,) = lines(scep, "--legacy", "sha1")
    assert line.startswith("the CA announces its successor: CN=Test next-ca, ")
    assert Folder(Path("a")).next_ca() == (NEXT.certificate,)
    assert record.read(Path("a/enrolment.json")).legacy == ("sha1",)
