"""Whatever a server of somebody's own decides, its answers do not tell what was in an envelope.

The endpoint of scepkit's own server has the same property by other means: enrolment/test_oracle.py.
"""

from __future__ import annotations

import os

import pytest

import forge
import keys
from enrolment.test_oracle import BLOCK, NAMES, NOT_THERE, PLAINTEXTS, padded
from rfc8894.test_2_6_retrieval import crl
from scepkit.errors import BadCertId, BadRequest, FailInfo
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.messages import CertPoll, Failure, GetCert, Pending, Success
from scepkit.protocol.scep.responder import Responder

RA = keys.ra().credential
RESPONDER = Responder(signer=RA, credentials=[RA], random=os.urandom)
THIEF = keys.device("thief")


def stolen(kind, plaintext, *, cek=b"k" * BLOCK, signer=THIEF):
    """Return somebody's ciphertext, signed anew as a request of that kind."""
    encrypted = forge.encrypt(plaintext, "aes128", b"k" * BLOCK, b"i" * BLOCK)[: len(plaintext)]
    content = forge.envelope(b"", encrypted=encrypted, cek=cek, iv=b"i" * BLOCK)
    return forge.request(content=content, signer=signer, scep={"message_type": kind})


def answer(message, decide):
    """Return the CertRep, and how often `decide` was asked."""
    asked = []

    def noting(request, sender):
        asked.append(request)
        return decide(request, sender)

    reply = pkimessage.parse(RESPONDER.respond(message, noting))
    verified = pkimessage.verify(reply, NO_LEGACY, signers=[RA.certificate])
    return pkimessage.open_reply(verified, [THIEF.credential], NO_LEGACY, os.urandom), len(asked)


def refuse(*errors):
    """Return what refuses: known names with the first error, all others with the last."""

    def decide(request, _sender):
        raise errors[0 if getattr(request, "serial_number", 0) else -1]

    return decide


def repeat(request, _sender):
    """Say what was asked for, as a helpful server may."""
    raise BadCertId(f"no certificate {request.serial_number:x} of {request.issuer.hex()}")


DECISIONS = {
    "not found": refuse(BadCertId("no such certificate")),
    "another error": refuse(BadRequest("not with that challenge")),
    "two errors": refuse(BadCertId("not this one"), BadRequest("no such CA")),
    "the names": repeat,
    "a value": lambda request, _: Failure(FailInfo.badRequest, f"{request.serial_number}"),
}


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("kind", ["21", "22"])
@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_a_retrieval_is_refused_in_one_way(kind, decide):
    """Names that cannot be read, and names that are refused, have one answer and one decision."""
    refused = Failure(FailInfo.badCertId, NOT_THERE[kind][1])
    for plaintext in PLAINTEXTS.values():
        for cek in (b"k" * BLOCK, b"wrong key octets"):
            assert answer(stolen(kind, plaintext, cek=cek), decide) == (refused, 1)


@pytest.mark.rfc("P-54")
def test_who_always_has_a_crl_gives_it_for_whatever_cannot_be_read():
    """A server that does not look at the names does not tell good ones from bad ones either."""
    always = Success(crls=(crl(),))
    for plaintext in PLAINTEXTS.values():
        assert answer(stolen("22", plaintext), lambda *_: always) == (always, 1)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("kind", ["21", "22"])
def test_a_thief_whose_key_cannot_decrypt_learns_nothing(kind):
    """Whether there is something to deliver is not seen where nothing can be delivered."""
    thief = keys.certify("thief", keys.ec_key("thief"))
    found = Success((keys.ca().der,))

    def decide(request, _sender):
        if not request.serial_number:
            raise BadCertId("no such certificate")
        return found

    answers = [
        answer(stolen(kind, plaintext, signer=thief), decide) for plaintext in PLAINTEXTS.values()
    ]
    assert len(set(answers)) == 1
    assert answers[0][0].fail_info is FailInfo.badAlg


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("plaintext", PLAINTEXTS.values(), ids=PLAINTEXTS)
def test_a_poll_is_not_opened(plaintext, monkeypatch):
    """A CertPoll is decided by its transactionID and its key; its names stay where they are."""
    monkeypatch.setattr(Responder, "open", None)
    asked = []

    def decide(request, sender):
        asked.append((request, sender.attributes.transaction_id.value))
        return Pending()

    assert answer(stolen("20", plaintext), decide) == (Pending(), 1)
    assert asked == [(CertPoll(b"\x30\x00", b"\x30\x00"), forge.ID.encode())]


def test_what_can_be_read_is_asked_for_as_it_is():
    found = Success((keys.ca().der,))
    asked = []
    message = stolen("21", padded(NAMES))
    assert answer(message, lambda request, _: asked.append(request) or found) == (found, 1)
    assert asked == [GetCert(b"\x30\x00", 0x1234567890)]
