"""A message's envelope is taken apart once, whatever is asked about it, and only if it is asked."""

from __future__ import annotations

import os

import pytest

import forge
import keys
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, Legacy
from scepkit.protocol.cms import enveloped
from scepkit.protocol.scep.messages import Failure, Pending, Success
from scepkit.protocol.scep.responder import Responder

CREDENTIALS = [keys.ca().credential, keys.ra().credential]
EVERY = frozenset(Legacy)


@pytest.fixture
def read(monkeypatch):
    """Everything that was taken apart, in order."""
    seen, real = [], enveloped._read
    monkeypatch.setattr(enveloped, "_read", lambda message: seen.append(message) or real(message))
    return seen


def responder(credentials=CREDENTIALS, allowed=EVERY):
    return Responder(
        signer=credentials[0], credentials=credentials, random=os.urandom, allowed=allowed
    )


def test_an_enrolment_reads_its_envelope_once(read):
    """Opening it, the checks before it and the reply after it share what was read."""
    server = responder()
    received = server.receive(forge.request())
    verified = server.verify(received)
    assert server.legacy_uses(received) == ()
    assert server.open(verified).recipient == keys.ra().credential
    server.check_deliverable(verified, None)
    server.reply(received, Success((keys.ca().der,)), verified)
    assert read == [verified.content]


def test_what_cannot_be_read_is_not_tried_again(read):
    """BER that leads nowhere costs its time once, and is refused the same way each time."""
    server = responder()
    received = server.receive(forge.request(content=b"\x30\x80\x05\x00"))
    verified = server.verify(received)
    assert server.legacy_uses(received) == ()
    for _ in range(2):
        with pytest.raises(BadRequest, match="the content is not a pkcsPKIEnvelope: "):
            server.open(verified)
        with pytest.raises(Malformed, match="in the middle of an element"):
            verified.envelope.open(CREDENTIALS, EVERY, os.urandom)
    assert verified.envelope.cipher(EVERY) is None
    server.reply(received, Failure(None), verified)
    assert read == [b"\x30\x80\x05\x00"]


@pytest.mark.parametrize("content", [b"rubbish", None])
def test_a_poll_is_answered_without_its_envelope(read, content):
    """With one key and no legacy algorithms nothing in there matters."""
    server = responder([keys.ra().credential], NO_LEGACY)
    message = forge.request(content=content, scep={"message_type": "20"})
    assert server.respond(message, lambda *_: Pending())
    assert read == []


def test_two_envelopes_do_not_share_anything(read):
    one, other = (enveloped.Envelope(forge.envelope(content)) for content in (b"1", b"2"))
    opened = [each.open(CREDENTIALS, EVERY, os.urandom).content for each in (one, other, one)]
    assert opened == [b"1", b"2", b"1"]
    assert one.cipher(NO_LEGACY) is AES128
    assert read == [one.message, other.message]


def test_a_request_that_is_not_verified_shows_no_secret():
    """Neither does what the reader holds until the signature is checked."""
    der = forge.csr(attributes=[forge.challenge("hunter2")])
    claim = csr._claim(der)
    for shown in (repr(claim), repr(claim.request), repr(csr.read(der, NO_LEGACY))):
        assert "hunter2" not in shown
        assert b"hunter2".hex() not in shown
