"""What somebody learns who sends pieces of a recorded request again: nothing (P-54).

How long the answers take is measured by bench/oracle.py.
"""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest

import forge
import keys
from der import integer, seq
from scepkit.errors import BadReply, Malformed
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.cms import enveloped as envelope
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.signatures import SignatureScheme

CEK, IV = b"k" * 16, b"i" * 16
UNREADABLE = (2, envelope.undecryptable("").text)
REQUEST = forge.csr()
FILL = 16 - len(REQUEST) % 16


def enveloped(padded: bytes, *, cek: bytes = CEK) -> bytes:
    """Return an envelope whose plaintext is exactly `padded`."""
    encrypted = forge.encrypt(padded, "aes128", CEK, IV)[: len(padded)]
    return forge.envelope(b"", encrypted=encrypted, cek=cek, iv=IV)


def opened(padded: bytes) -> envelope.Opened:
    return Envelope(enveloped(padded)).open([keys.ra().credential], NO_LEGACY, os.urandom)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("last", [0, 1, FILL - 1, FILL, FILL + 1, 16, 17, 255])
@pytest.mark.parametrize("before", [0, FILL])
def test_padding_does_not_decide_what_is_read(before, last):
    """The content ends where its own length says; its padding is only noted, right or wrong."""
    padded = REQUEST + bytes([before]) * (FILL - 1) + bytes([last])
    found = opened(padded)
    assert found.content == REQUEST
    assert found.is_padded is (padded == REQUEST + bytes([FILL]) * FILL)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("content", [b"", b"x", b"\x30", b"\x30\x80\x00\x00", b"\x30\x82\x01"])
def test_what_does_not_say_where_it_ends_is_cut_by_its_padding(content):
    """Content whose length is not to be had, such as BER's indefinite one, ends at its padding."""
    fill = 16 - len(content) % 16
    found = opened(content + bytes([fill]) * fill)
    assert (found.content, found.is_padded) == (content, True)
    assert not opened(content + bytes(fill)).is_padded


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("kind", ["17", "19", "20", "21", "22"])
def test_wrong_padding_is_an_unreadable_content(kind):
    """A content that is right, but for its padding, is answered like any other damage."""
    names = seq(seq(), integer(1)) if kind in ("21", "22") else seq(seq(), seq())
    content = REQUEST if kind in ("17", "19") else names
    fill = 16 - len(content) % 16
    message = forge.request(
        content=enveloped(content + bytes([fill]) * (fill - 1) + b"\0"),
        scep={"message_type": kind},
    )
    verified = pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    with pytest.raises(envelope.Undecryptable) as caught:
        pkimessage.open_request(verified, [keys.ra().credential], NO_LEGACY, os.urandom)
    assert (caught.value.fail_info, caught.value.text) == UNREADABLE


@pytest.mark.rfc("P-54")
def test_a_reply_with_wrong_padding_is_not_believed():
    """A client does not take a reply either whose padding is wrong."""
    inside = signed.certs_only([keys.ca().der])
    fill = 16 - len(inside) % 16
    for last, is_right in ((fill, True), (0, False)):
        content = enveloped(inside + bytes([fill]) * (fill - 1) + bytes([last]))
        verified = pkimessage.verify(
            pkimessage.parse(forge.reply(content, pki_status="0")), NO_LEGACY
        )
        with nullcontext() if is_right else pytest.raises(BadReply, match="padding"):
            pkimessage.open_reply(verified, [keys.ra().credential], NO_LEGACY, os.urandom)


INSIDE = {
    "nothing": b"",
    "rubbish": b"rubbish, and more of it",
    "no key in it": forge.csr(spki=seq(forge.algorithm("1.2.3.4"), forge.bits(b"key"))),
    "a key without a size": forge.csr(spki=forge.rsa_spki((1 << 511) | 1, 65537)),
    "no signature algorithm": forge.csr(signature_algorithm=forge.algorithm("1.2.3.4")),
    "a wrong signature": forge.csr(signature=b"wrong"),
    "a PKCS#10": REQUEST,
}


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
def test_one_signature_is_verified_whatever_there_is(inside, monkeypatch):
    """Reading a PKCS#10 costs one verification, of a decoy if there is none to verify."""
    verified = []
    real = SignatureScheme.verify

    def counting(*arguments):
        verified.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(SignatureScheme, "verify", counting)
    try:
        csr.read(inside, NO_LEGACY)
    except Malformed:
        assert inside != REQUEST
    assert len(verified) == 1


@pytest.mark.rfc("P-54")
def test_the_decoy_is_signed_by_nobody():
    """The PKCS#10 that is verified for want of another one can never be a request."""
    assert not csr._is_true(*csr._decoy())
