"""Rows of the checklist about what an endpoint may and must decide."""

from __future__ import annotations

import pytest

import forge
import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.ca.profiles.profile import Profile
from scepkit.protocol.scep.attributes import MessageType

ASSIGNED = {3, 17, 19, 20, 21, 22}


@pytest.mark.rfc("S-2.1.2-2", "S-2.4-7")
def test_policy_may_refuse_anything(world):
    """A profile refuses a request that is right in every other way, and says so in a CertRep."""
    world.use(profile=Profile(rsa_bits=(3072, 4096)))
    refusal = world.enrol(world.challenge()).refusal
    assert refusal[0] == "badRequest"
    assert "2048 bits" in refusal[1]
    assert (world.issued, world.spent) == (0, 0)


@pytest.mark.rfc("S-2.3-12", "S-5.2-3")
def test_a_subject_that_has_a_certificate_may_enrol_again(world):
    """A second PKCSReq for a subject is granted by its own challenge, whatever there is already.

    A device that lost its certificate need not wait until an operator has revoked that one.
    """
    first = world.enrolled("device")
    signer = keys.device("the same device, set up anew")
    again = world.enrol(world.challenge(), signer=signer, transaction_id="again")
    assert world.issued == 2
    assert again.x509.subject == first.x509.subject
    assert again.x509.serial_number != first.x509.serial_number


@pytest.mark.rfc("S-5.2-2", "S-7.4-1")
def test_a_lost_connection_is_no_end(world):
    """The reply is lost and the server starts again: a CertPoll still gets the certificate."""
    decision = world.endpoint.decide(devices.pkcs_req(world.challenge(), to=world.ra))
    world.endpoint.record(decision).result()  # and nothing is sent
    world.restart()
    assert world.poll().x509.serial_number == decision.record.serial


@pytest.mark.rfc("S-7-1")
def test_without_a_secret_a_certificate_or_an_operator_there_is_nothing(world):
    """Whoever has no challenge, no certificate and no operator's word gets no certificate."""
    stranger = keys.device("stranger")
    assert world.enrol(signer=stranger).refusal == REFUSAL
    assert world.enrol("guessed", signer=stranger, transaction_id="b").refusal == REFUSAL
    assert world.renew(stranger).refusal[0] == "badRequest"
    world.use(approval=True)
    waiting = world.enrol(signer=stranger, transaction_id="c")
    assert waiting.rep.pki_status.name == "PENDING"
    assert world.issued == 0


@pytest.mark.rfc("S-2.8-1")
def test_there_is_no_message_to_revoke_with(world):
    """No messageType but those of RFC 8894 does anything, so none revokes a certificate."""
    assert {int(one) for one in MessageType} == ASSIGNED
    device = world.enrolled()
    for number in range(100):
        if number not in ASSIGNED:
            message = forge.request(signer=device, scep={"message_type": str(number)})
            assert world.ask(message, device).refusal[0] == "badRequest"
    assert world.sql("SELECT count(*) FROM certificates WHERE revoked_at IS NOT NULL") == [(0,)]
