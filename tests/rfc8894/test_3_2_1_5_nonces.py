"""RFC 8894 section 3.2.1.5: senderNonce and recipientNonce."""

from __future__ import annotations

import pytest

import forge
import keys
from der import octets, printable
from pair import Pair, alter, grant, replay
from scepkit.errors import BadReply, BadRequest
from scepkit.protocol.scep.messages import Failure, Pending, Success
from scepkit.protocol.scep.transaction import Limits


def nonces(messages, dotted):
    return [forge.signed_attribute(one, dotted) for one in messages]


@pytest.fixture
def polled():
    """Return a pair after a request and two polls."""
    pair = Pair(Pending(), Pending(), grant)
    pair.enrol()
    return pair


@pytest.mark.rfc("S-3.2.1.5-1")
def test_every_request_has_a_fresh_nonce_of_16_octets(polled):
    """The sender puts a fresh 16-octet senderNonce in each message, each CertPoll too."""
    sent = nonces([trip.request for trip in polled.trips], forge.SENDER_NONCE)
    assert len(set(sent)) == 3
    assert all(len(one) == 18 for one in sent)


@pytest.mark.rfc("S-3.2.1.5-1", "P-10", "S-3.2.1-1", "A-02")
def test_every_reply_has_a_fresh_nonce_of_its_own(polled):
    """Every CertRep has a new random senderNonce; the request's is not echoed in it."""
    said = nonces(polled.replies, forge.SENDER_NONCE)
    sent = nonces([trip.request for trip in polled.trips], forge.SENDER_NONCE)
    assert len({*said, *sent}) == 6
    assert all(len(one) == 18 for one in said)


@pytest.mark.rfc("S-3.2.1.5-1")
def test_the_nonces_come_from_the_source_of_randomness():
    """The nonces are random: another source gives others, the same source the same."""
    first, again, other = Pair(seed=1), Pair(seed=1), Pair(seed=2)
    found = []
    for pair in (first, again, other):
        pair.enrol()
        found.append(nonces([pair.trips[0].request], forge.SENDER_NONCE)[0])
    assert found[0] == found[1] != found[2]


@pytest.mark.rfc("S-3.2.1.5-2", "S-3.2.1-2")
def test_a_reply_repeats_the_requests_nonce(polled):
    """The server copies the request's senderNonce into the reply's recipientNonce."""
    sent = nonces([trip.request for trip in polled.trips], forge.SENDER_NONCE)
    assert nonces(polled.replies, forge.RECIPIENT_NONCE) == sent


@pytest.mark.rfc("S-3.2.1.5-2", "P-11")
@pytest.mark.parametrize("size", [1, 8, 15, 16, 17, 32, 64])
def test_a_nonce_of_any_length_is_repeated_exactly(pair, size):
    """Request nonces of 1 to 64 octets are accepted and echoed exactly."""
    nonce = bytes(range(256 - size, 256))
    reply = pair.ask(forge.request(scep={"sender_nonce": nonce})).body
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(nonce)
    assert isinstance(pair.read_reply(reply), Success)


@pytest.mark.rfc("S-3.2.1.5-2")
@pytest.mark.parametrize("answer", [Pending(), BadRequest("no"), Failure(2)])
def test_a_refusal_repeats_the_nonce_too(answer):
    """Every CertRep has recipientNonce, whatever its status."""
    reply = Pair(answer).ask(forge.request()).body
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(forge.NONCE)


@pytest.mark.rfc("S-3.2.1.5-2")
def test_even_a_request_with_a_broken_signature_gets_its_nonce_back(pair):
    """The nonce is repeated also when the request is answered badMessageCheck."""
    reply = pair.ask(forge.request(signature=b"\x01" * 256)).body
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(forge.NONCE)


@pytest.mark.rfc("P-11")
def test_a_request_without_a_nonce_gets_none_back(pair):
    """A request with no senderNonce is answered without a recipientNonce."""
    reply = pair.ask(forge.request(scep={"sender_nonce": None})).body
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) is None
    assert isinstance(pair.read_reply(reply), Success)


@pytest.mark.rfc("P-11")
@pytest.mark.parametrize(
    "sent", [octets(b""), octets(b"x" * 65), octets(b"x" * 10_000), printable("a" * 16)]
)
def test_a_nonce_that_cannot_be_is_refused(pair, sent):
    """A nonce outside 1 to 64 octets is answered badRequest."""
    values = [
        *forge.scep_attributes(sender_nonce=None),
        forge.attribute(forge.SENDER_NONCE, sent),
    ]
    assert pair.answer_to(forge.request(attributes=values)) == Failure(
        2, "senderNonce is not an OCTET STRING of 1 to 64 octets"
    )


@pytest.mark.rfc("S-3.2.1.5-3")
def test_the_reply_to_an_earlier_poll_is_rejected():
    """The CertRep of an earlier poll does not pass for the answer to this one."""
    pair = Pair(Pending(), Pending(), grant)
    pair.on_reply(3, replay(2))
    pair.enrol()
    assert pair.kinds == ["PKCSReq", "CertPoll", "CertPoll", "CertPoll"]
    *_, wait = pair.waits
    assert "does not repeat this request's nonce" in wait.reason


@pytest.mark.rfc("S-3.2.1.5-3")
@pytest.mark.parametrize(
    "nonce", [None, b"", b"\x00" * 16, forge.NONCE[:-1], forge.NONCE + b"\x00", forge.NONCE[::-1]]
)
def test_a_wrong_or_missing_recipient_nonce_is_rejected(pair, nonce):
    """recipientNonce is compared with the nonce of this very request; absence is a mismatch."""
    with pytest.raises(BadReply, match=r"nonce|Nonce"):
        pair.believe(forge.reply(recipient_nonce=nonce))
    assert pair.believe(forge.reply(recipient_nonce=forge.NONCE)) == Pending()


@pytest.mark.rfc("S-3.2.1.5-3", "L-10")
def test_a_server_that_omits_the_recipient_nonce_is_not_believed(pair):
    """A very old server that omits recipientNonce is rejected, a FAILURE of it as well."""
    with pytest.raises(BadReply, match="nonce"):
        pair.believe(forge.reply(pki_status="2", fail_info="2", recipient_nonce=None))


@pytest.mark.rfc("S-3.2.1.5-3")
def test_the_nonce_is_compared_whatever_the_status(pair):
    """A replayed SUCCESS of the same transaction is rejected as well."""
    content = forge.envelope(
        forge.signed_data(None, certificates=[keys.customer().der]), keys.device()
    )
    with pytest.raises(BadReply, match="nonce"):
        pair.believe(forge.reply(content, pki_status="0", recipient_nonce=b"another nonce..."))


@pytest.mark.rfc("S-3.2.1.5-4", "S-3.3.3-3")
def test_nonces_are_not_chained(polled):
    """The server's senderNonce need not come back, and a CertPoll has no recipientNonce."""
    assert nonces([trip.request for trip in polled.trips], forge.RECIPIENT_NONCE) == [None] * 3


@pytest.mark.rfc("S-3.2.1.5-4", "L-11")
def test_a_chained_nonce_is_ignored(pair):
    """A request with a recipientNonce copied from an earlier CertRep is served like any other."""
    message = forge.request(scep={"recipient_nonce": b"chained from old"})
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("P-09", "A-02")
def test_a_reply_without_a_sender_nonce_is_accepted(pair):
    """A CertRep without senderNonce is accepted: the reference sample has none."""
    assert pair.believe(forge.reply(sender_nonce=None)) == Pending()


@pytest.mark.rfc("S-3.2.1.5-3")
def test_the_nonce_is_protected_by_the_signature():
    """Another nonce cannot be written into a genuine reply."""
    pair = Pair(limits=Limits(retries=0))
    pair.on_reply(1, alter(lambda body: body.replace(pair_nonce(pair), b"\x00" * 16)))
    with pytest.raises(BadReply, match="signature does not verify"):
        pair.enrol()


def pair_nonce(pair):
    return forge.signed_attribute(pair.trips[0].request, forge.SENDER_NONCE)[2:]
