"""A request that waits, and another one from the same directory: the first one's key stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair import grant
from scepkit.client.folder import Folder, record
from scepkit.errors import BadCertId, BadRequest, BadTime
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Pending

DONE, FAILED, WAITS = 0, 1, 3
NO = BadRequest("the challenge is unknown")


class Device:
    """Runs `scep enroll` for the directory `a`."""

    def __init__(self, scep, site):
        self.scep, self.site = scep, site

    def enroll(self, *more, expect):
        base = ["--subject", "CN=a", "--out", "a", "--fingerprint", self.site.fingerprint]
        status, _, err = self.scep("enroll", self.site.url, *base, "--max-wait", 0, *more)
        assert status == expect, err
        return err

    def renew(self, *more, expect):
        status, _, err = self.scep("renew", "a", "--force", "--max-wait", 0, *more)
        assert status == expect, err
        return err

    @property
    def kinds(self):
        return [type(request).__name__ for request, _ in self.site.scep.asked]

    @property
    def begun(self):
        folder = Folder(Path("a"))
        made = folder.unfinished_record()
        return folder.unfinished.read_bytes(), made.transaction_id, made.requested_at


@pytest.fixture
def waiting(serve, scep):
    """Begin a request with the challenge `right`; what the server decides of others is given."""

    def waiting(*decisions, begin=("--challenge", "right")):
        device = Device(scep, serve(Pending(), *decisions))
        device.enroll(*begin, expect=WAITS)
        return device

    return waiting


@pytest.mark.parametrize("other", [("--challenge", "wrong"), ()], ids=["mistyped", "missing"])
def test_what_was_approved_needs_no_challenge(waiting, other):
    device = waiting(grant)
    key, transaction, _ = device.begun
    device.enroll(*other, expect=DONE)
    assert device.kinds == ["PKCSReq", "CertPoll"]
    assert Path("a/key.pem").read_bytes() == key
    assert record.read(Path("a/enrolment.json")).transaction_id == transaction
    assert not Path("a/key.pem.new").exists()


def test_what_still_waits_goes_on_waiting(waiting):
    """No second request comes into the operator's queue, and the first one is not forgotten."""
    device = waiting(Pending())
    before = device.begun
    device.enroll("--challenge", "wrong", expect=WAITS)
    assert device.kinds == ["PKCSReq", "CertPoll"]
    assert device.begun == before


@pytest.mark.rfc("S-5.2-1")
@pytest.mark.parametrize("refusal", [BadCertId("unknown"), BadRequest("rejected")], ids=str)
def test_what_is_over_starts_anew_with_the_same_key(waiting, refusal):
    """The CA knows nothing of it, or its operator said no: another transaction, the same key."""
    device = waiting(refusal, grant)
    key, transaction, _ = device.begun
    said = device.enroll("--challenge", "new", expect=DONE)
    assert f"the request {transaction} is over" in said
    assert device.kinds == ["PKCSReq", "CertPoll", "PKCSReq"]
    assert Path("a/key.pem").read_bytes() == key
    assert record.read(Path("a/enrolment.json")).transaction_id != transaction


def test_what_is_over_and_refused_anew_is_given_up(waiting):
    device = waiting(BadCertId("unknown"), NO)
    device.enroll("--challenge", "new", expect=FAILED)
    assert list(Path("a").iterdir()) == []


def test_a_question_that_is_refused_says_nothing_of_the_request(waiting):
    """The clock may be wrong."""
    device = waiting(BadTime("too early"))
    before = device.begun
    device.enroll("--challenge", "new", expect=FAILED)
    assert device.kinds == ["PKCSReq", "CertPoll"]
    assert device.begun == before


@pytest.mark.parametrize("status", [400, 404])
def test_a_server_that_does_no_certpoll(waiting, status):
    """Another request is sent, and its refusal is not the first one's."""
    device = waiting(NO, grant)
    before = device.begun
    device.site.next(Operation.PKI_OPERATION, HTTPResponse(status, b"no CertPoll"))
    device.enroll("--challenge", "wrong", expect=FAILED)
    assert device.kinds == ["PKCSReq", "PKCSReq"]
    assert device.begun == before
    device.enroll("--challenge", "right", expect=DONE)
    assert Path("a/key.pem").read_bytes() == before[0]


@pytest.mark.parametrize(
    "other", [("--san", "b.example"), ("--key", "rsa:3072"), ("--key", "ec:p256")], ids=str
)
def test_another_request_that_is_refused(waiting, other):
    """It is sent at once, being for something else; but the first one's key is not lost with it."""
    device = waiting(NO, grant)
    before = device.begun
    device.enroll("--challenge", "right", *other, expect=FAILED)
    assert device.kinds == ["PKCSReq", "PKCSReq"]
    assert device.begun == before
    device.enroll("--challenge", "right", expect=DONE)
    assert Path("a/key.pem").read_bytes() == before[0]


def test_another_request_in_place_of_the_one_that_waits(waiting):
    """Both are in the operator's queue then: who sends the second one is told of the first."""
    device = waiting(Pending(), grant)
    key, transaction, _ = device.begun
    said = device.enroll("--subject", "CN=b", expect=WAITS)
    assert said.startswith(
        f"a has a waiting request for CN=a, {transaction}; "
        "another one for CN=b is sent in its place, with the same key\n"
    )
    assert "continuing" not in said
    assert device.kinds == ["PKCSReq", "PKCSReq"]
    assert (device.begun[0], device.begun[1] == transaction) == (key, False)
    said = device.enroll("--subject", "CN=b", expect=DONE)
    assert said.startswith("continuing the request of a/key.pem.new; ")


def test_a_request_of_an_older_version(waiting):
    """What it was for is not known; its key stays all the same."""
    device = waiting(NO)
    path = Path("a/enrolment.json.new")
    path.write_text(path.read_text().replace('"wanted"', '"unknown"'))
    before = device.begun
    device.enroll("--challenge", "wrong", expect=FAILED)
    assert device.begun == before


def test_a_refusal_of_what_was_begun_gives_it_up(waiting):
    device = waiting(NO)
    device.enroll("--challenge", "right", expect=FAILED)
    assert list(Path("a").iterdir()) == []


def test_a_message_that_is_refused_is_not_the_request(waiting):
    """The clock may be wrong now, and the request have been approved meanwhile."""
    device = waiting(BadTime("too early"), grant)
    before = device.begun
    device.enroll("--challenge", "right", expect=FAILED)
    assert device.begun == before
    device.enroll("--challenge", "right", expect=DONE)
    assert device.kinds == ["PKCSReq"] * 3


def test_a_renewal_that_waits(serve, scep):
    """The same for `scep renew`."""
    device = Device(scep, serve(grant, Pending(), grant))
    device.enroll(expect=DONE)
    device.renew("--challenge", "right", expect=WAITS)
    key = device.begun[0]
    device.renew(expect=DONE)
    assert device.kinds == ["PKCSReq", "RenewalReq", "CertPoll"]
    assert Path("a/key.pem").read_bytes() == key
