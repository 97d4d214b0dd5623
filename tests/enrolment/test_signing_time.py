"""Every CertRep says when it was signed: XiPKI's client refuses those that do not.

`forge.signing_time_of` reads it more strictly than anything of ours.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

import forge
import keys
from enrolment import devices
from scepkit.enrolment.rules import GetCertRule
from scepkit.protocol.scep.attributes import PKIStatus
from scepkit.protocol.scep.messages import CertRep, Failure, Pending, Success
from scepkit.protocol.scep.responder import Responder

UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
BIAS = timedelta(minutes=5)
ENDS = [
    (datetime(2026, 11, 28, 23, 59, 59, 999999, tzinfo=UTC), UTC_TIME),
    (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), UTC_TIME),
    (datetime(2050, 1, 1, tzinfo=UTC), GENERALIZED_TIME),
    (datetime(2050, 1, 1, 1, tzinfo=UTC).astimezone(), GENERALIZED_TIME),
]


def signed(world, message):
    """Return the pkiStatus of the answer, whose signingTime must be the endpoint's clock."""
    reply = world.endpoint.respond(message)
    tag, moment = forge.signing_time_of(reply)
    assert tag == UTC_TIME
    assert abs(moment - world.now) < BIAS
    return devices.read(reply, world.ra).rep.pki_status


def test_success(world):
    """A SUCCESS, and the one that repeats it an hour later, by that later clock."""
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    assert signed(world, message) is PKIStatus.SUCCESS
    world.now += timedelta(hours=1)
    assert signed(world, message) is PKIStatus.SUCCESS


def test_pending_and_poll(world):
    """A PENDING, and the answers to the polls after it."""
    world.use(approval=True)
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    poll = devices.cert_poll(to=world.ra)
    assert signed(world, message) is PKIStatus.PENDING
    assert signed(world, poll) is PKIStatus.PENDING
    world.now += timedelta(minutes=10)
    assert signed(world, poll) is PKIStatus.PENDING


def test_retrieval(world):
    """Answers to GetCert and GetCRL, found or not."""
    world.use(get_cert=GetCertRule.OWN, get_crl=True)
    serial = world.enrolled().x509.serial_number
    answers = [
        signed(world, devices.get_cert(to=world.ra, serial=serial)),
        signed(world, devices.get_cert(to=world.ra, serial=1)),
        signed(world, devices.get_crl(to=world.ra)),
    ]
    assert answers == [PKIStatus.SUCCESS, PKIStatus.FAILURE, PKIStatus.SUCCESS]


FAILURES = {
    "no challenge": forge.request(forge.csr(attributes=[])),
    "an envelope for somebody else": forge.request(recipient=keys.ca()),
    "an unreadable one": forge.request(b"rubbish"),
    "a wrong signature": forge.request(signature=bytes(256)),
    "a digest that is not allowed": forge.request(digest="sha1"),
    "no messageType": forge.request(scep={"message_type": None}),
    "a poll for nothing": forge.request(b"", scep={"message_type": "20"}),
}


@pytest.mark.parametrize("message", FAILURES.values(), ids=FAILURES)
def test_failure(world, message):
    """A FAILURE, whatever it is for."""
    assert signed(world, message) is PKIStatus.FAILURE


ANSWERS: list[CertRep] = [Success((keys.device().der,)), Pending(), Failure(None, "no")]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(("moment", "tag"), ENDS)
def test_the_form_of_a_time(answer, moment, tag):
    """UTCTime until 2049, GeneralizedTime from 2050, always in UTC (RFC 5652 section 11.3)."""
    ra = keys.ra().credential
    responder = Responder(signer=ra, credentials=[ra], random=os.urandom, now=lambda: moment)
    reply = responder.respond(forge.request(), lambda *_: answer)
    assert forge.signing_time_of(reply) == (tag, moment.replace(microsecond=0))


def test_who_has_no_clock_says_no_time():
    """The argument is optional, as it was not there before."""
    ra = keys.ra().credential
    responder = Responder(signer=ra, credentials=[ra], random=os.urandom)
    reply = responder.respond(forge.request(), lambda *_: Pending())
    with pytest.raises(ValueError, match="not enough values"):
        forge.signing_time_of(reply)
