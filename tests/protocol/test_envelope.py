"""A message's envelope is taken apart once, whatever is asked about it, and only if it is asked."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.padding import PKCS7

import forge
import keys
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, CIPHERS, NO_LEGACY, Legacy
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
    for shown in (repr(claim), repr(claim[0]), repr(csr.read(der, NO_LEGACY))):
        assert "hunter2" not in shown
        assert b"hunter2".hex() not in shown


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(("cipher", "size"), [("aes128", 16), ("des3", 8)])
def test_padding_is_right_where_the_library_says_so(cipher, size):
    """With every last octet, that many times, once less and more, and with one of them wrong."""
    for last in range(256):
        for times in {1, last - 1, last, last + 1} & set(range(1, 3 * size)):
            padded = bytearray(bytes(3 * size - times) + bytes([last]) * times)
            damaged = padded.copy()
            damaged[-times] ^= 1
            for one in (bytes(padded), bytes(damaged)):
                unpadder = PKCS7(8 * size).unpadder()
                try:
                    expected = unpadder.update(one) + unpadder.finalize(), True
                except ValueError:
                    expected = one, False
                assert opened_raw(one, cipher, size) == expected


def opened_raw(padded, cipher, size):
    """Return the content of an envelope around octets that are not padded, and what it says."""
    # Its first element has no end in here: the padding alone says where the content ends.
    key, iv = b"k" * (16 if cipher == "aes128" else 24), b"i" * size
    encrypted = forge.encrypt(padded, cipher, key, iv)[: len(padded)]
    read = enveloped._read(forge.envelope(b"", cipher=cipher, encrypted=encrypted, cek=key, iv=iv))
    return enveloped._decrypt(read, CIPHERS[read.cipher], key)


@pytest.mark.parametrize("cipher", CIPHERS.values(), ids=lambda cipher: cipher.name)
def test_a_cipher_takes_no_key_and_no_iv_of_another_length(cipher):
    """The library is not asked again whether they fit."""
    key, iv = os.urandom(cipher.key_size), os.urandom(cipher.block_size)
    octets = os.urandom(4 * cipher.block_size)
    there, back = cipher.context(key, iv).encryptor(), cipher.context(key, iv).decryptor()
    assert back.update(there.update(octets)) == octets
    for wrong in ((key[:-1], iv), (key + b"x", iv), (key, iv[:-1]), (key, iv + b"x"), (key, b"")):
        with pytest.raises(ValueError, match="a wrong length"):
            cipher.context(*wrong)
