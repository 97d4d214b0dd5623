"""The two ends against each other: the plain ways through, and what the network does to them."""

from __future__ import annotations

import pytest

import keys
from pair import Pair, answer, flip, grant, lose, replay, substitute
from scepkit.errors import (
    BadReply,
    BadRequest,
    RequestRefused,
    StillPending,
    TransportError,
    UsageError,
)
from scepkit.protocol.scep.messages import Pending, PKCSReq, RenewalReq
from scepkit.protocol.scep.transaction import Limits


def test_a_device_enrols(pair):
    issued = pair.enrol()
    assert issued.certificate.public_key == keys.rsa_key().public_key()
    assert issued.chain == (keys.ca().certificate,)
    assert pair.kinds == ["PKCSReq"]


def test_without_an_ra_the_ca_does_its_work():
    assert Pair(ra=None).enrol().chain == (keys.ca().certificate,)


def test_a_device_waits_for_approval():
    pair = Pair(Pending(), Pending(), grant)
    issued = pair.enrol()
    assert pair.kinds == ["PKCSReq", "CertPoll", "CertPoll"]
    assert [wait.seconds for wait in pair.waits] == [60, 90]
    assert issued.certificate.subject == keys.name("device").public_bytes()


def test_a_refusal_carries_the_reason():
    pair = Pair(BadRequest("log", text="for the peer"))
    with pytest.raises(RequestRefused, match="badRequest: for the peer"):
        pair.enrol()


def test_a_lost_request_is_sent_again_byte_for_byte(pair):
    pair.on_request(1, lose)
    pair.enrol()
    assert pair.trips[0].sent == pair.trips[1].sent
    assert pair.kinds == ["PKCSReq"]


def test_a_lost_reply_makes_the_same_request_again(pair):
    pair.on_reply(1, lose)
    pair.enrol()
    assert pair.trips[0].sent == pair.trips[1].sent
    assert pair.kinds == ["PKCSReq", "PKCSReq"]


def test_repetitions_come_ever_later_and_end():
    pair = Pair(limits=Limits(retries=3, retry_after=2))
    for number in range(1, 9):
        pair.on_request(number, lose)
    with pytest.raises(TransportError):
        pair.enrol()
    assert [wait.seconds for wait in pair.waits] == [2, 4, 8]
    assert len(pair.trips) == 4


def test_a_program_that_does_not_pause_may_repeat_as_often_as_it_likes():
    """A power of two that no float can hold ended it, after a thousand repetitions."""
    assert Limits(retries=5000, retry_after=0).before_retry(5000, None) == 0


@pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
def test_a_fault_of_the_server_is_worth_another_attempt(pair, status):
    pair.on_reply(1, answer(status))
    pair.enrol()
    assert len(pair.trips) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413])
def test_a_fault_of_the_request_is_not(pair, status):
    pair.on_reply(1, answer(status, b"no\n"))
    with pytest.raises(TransportError, match=f"HTTP {status}: no$") as caught:
        pair.enrol()
    assert caught.value.status == status
    assert len(pair.trips) == 1


def test_an_error_page_is_not_repeated_to_the_user(pair):
    pair.on_reply(1, answer(404, b"<html>...", "text/html"))
    with pytest.raises(TransportError, match=r"HTTP 404$"):
        pair.enrol()


def test_an_earlier_reply_is_not_believed():
    pair = Pair(Pending(), grant, limits=Limits(retries=0, max_polls=1))
    pair.on_reply(2, replay(1))
    with pytest.raises(StillPending, match="replay"):
        pair.enrol()


def test_a_changed_reply_is_not_believed():
    pair = Pair(limits=Limits(retries=0))
    pair.on_reply(1, flip(-1))
    with pytest.raises(BadReply, match="signature does not verify"):
        pair.enrol()


def test_rubbish_is_not_believed():
    pair = Pair(limits=Limits(retries=0))
    pair.on_reply(1, substitute(b"rubbish"))
    with pytest.raises(BadReply, match="cannot be believed"):
        pair.enrol()


def test_polling_ends():
    pair = Pair(Pending(), limits=Limits(max_polls=3))
    with pytest.raises(StillPending, match="after 3 polls") as caught:
        pair.enrol()
    assert str(pair.server.asked[0][1].attributes.transaction_id) in caught.value.hint
    assert pair.kinds == ["PKCSReq", "CertPoll", "CertPoll", "CertPoll"]


def test_waiting_ends():
    pair = Pair(Pending(), limits=Limits(poll_interval=10, max_wait=25))
    with pytest.raises(StillPending):
        pair.enrol()
    assert [wait.seconds for wait in pair.waits] == [10, 15]


def test_a_renewal_with_a_new_key():
    pair = Pair(signer=keys.customer())
    issued = pair.enrol(RenewalReq(pair.csr(None, keys.rsa_key("new"))))
    assert issued.certificate.public_key == keys.rsa_key("new").public_key()
    assert pair.kinds == ["RenewalReq"]


def test_the_same_seed_gives_the_same_transaction():
    first, second = Pair(seed=7), Pair(seed=7)
    assert first.enrol().transaction_id == second.enrol().transaction_id
    assert Pair(seed=8).enrol().transaction_id != first.trips


def test_a_ca_that_nothing_can_be_encrypted_to_is_not_asked():
    """An EC CA without an RA, and no challenge: said before anything is sent."""
    usage = keys.usage("digital_signature", "key_cert_sign")
    ca = keys.certify("EC CA", keys.ec_key("ca"), ca=True, key_usage=usage)
    pair = Pair(ca=ca, ra=None)
    with pytest.raises(UsageError, match="nothing can be encrypted") as caught:
        pair.enrol(PKCSReq(pair.csr(None)))
    assert "challenge" in caught.value.hint
    assert pair.trips == []


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_server_that_breaks_may_have_stumbled_over_an_ec_key(kind):
    """The hint names the kind of key where that is none of RSA's."""
    key = keys.ec_key("device") if kind == "ec" else keys.rsa_key("device")
    pair = Pair(signer=keys.certify("device", key), password="x", limits=Limits(retries=1))
    pair.on_reply(1, answer(500))
    pair.on_reply(2, answer(500))
    with pytest.raises(TransportError, match="HTTP 500") as caught:
        pair.enrol(PKCSReq(pair.csr("x", key)))
    assert ("one of kind EC" in caught.value.hint) is (kind == "ec")


def test_a_server_that_breaks_may_have_stumbled_over_the_new_key():
    pair = Pair(signer=keys.customer(), limits=Limits(retries=0))
    pair.on_reply(1, answer(500))
    with pytest.raises(TransportError) as caught:
        pair.enrol(RenewalReq(pair.csr(None, keys.ec_key("new"))))
    assert "one of kind EC" in caught.value.hint


def test_another_fault_of_the_server_says_nothing_of_the_key():
    key = keys.ec_key("device")
    pair = Pair(signer=keys.certify("device", key), password="x", limits=Limits(retries=0))
    pair.on_reply(1, answer(503))
    with pytest.raises(TransportError) as caught:
        pair.enrol(PKCSReq(pair.csr("x", key)))
    assert "EC" not in caught.value.hint
