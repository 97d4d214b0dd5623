"""GetCert and GetCRL are no way to read what somebody else's request says (checklist P-54).

Their content is short, and no signature inside covers it. Somebody who sends one block of a
recorded PKCSReq as if it were an IssuerAndSerialNumber, behind an initialisation vector of his
choice, would learn octet by octet what is in that block, if the answer told him that it could be
read: that its padding is right.
"""

from __future__ import annotations

import pytest

import forge
import keys
from der import integer, printable, seq
from enrolment.test_retrieval import get_crl
from scepkit.enrolment.rules import GetCertRule

BLOCK = 16
NAMES = seq(seq(), integer(0x1234567890))
NOT_THERE = {
    "21": ("badCertId", "there is no such certificate"),
    "22": ("badCertId", "there is no CA with this name"),
}
OFF = {
    "21": ("badRequest", "this server does not answer GetCert"),
    "22": ("badRequest", "this server does not answer GetCRL"),
}


def padded(content: bytes, last: int | None = None) -> bytes:
    fill = BLOCK - len(content) % BLOCK
    return content + bytes([fill]) * (fill - 1) + bytes([fill if last is None else last])


PLAINTEXTS = {
    "names of nobody": padded(NAMES),
    "wrong padding": padded(NAMES, 0),
    "another padding": padded(NAMES, 1),
    "no names": padded(seq(printable("x"))),
    "a block of a request": forge.csr()[BLOCK : 2 * BLOCK],
    "rubbish": b"\xff" * BLOCK,
}


def answer(world, kind: str, plaintext: bytes, cek: bytes = b"k" * BLOCK):
    encrypted = forge.encrypt(plaintext, "aes128", b"k" * BLOCK, b"i" * BLOCK)[: len(plaintext)]
    content = forge.envelope(b"", encrypted=encrypted, cek=cek, iv=b"i" * BLOCK)
    thief = keys.device("thief")
    return world.ask(
        forge.request(content=content, signer=thief, scep={"message_type": kind}), thief
    ).refusal


@pytest.mark.rfc("P-54", "P-76")
@pytest.mark.parametrize("kind", ["21", "22"])
@pytest.mark.parametrize("plaintext", PLAINTEXTS.values(), ids=PLAINTEXTS)
def test_unreadable_names_are_not_found(world, kind, plaintext):
    """Names that cannot be read are answered like names of nobody, so padding cannot be felt."""
    assert answer(world, kind, plaintext) == NOT_THERE[kind]
    assert answer(world, kind, plaintext, cek=b"wrong key octets") == NOT_THERE[kind]


@pytest.mark.rfc("P-54", "S-2.9-4")
@pytest.mark.parametrize("kind", ["21", "22"])
@pytest.mark.parametrize("plaintext", PLAINTEXTS.values(), ids=PLAINTEXTS)
def test_what_is_off_is_not_even_decrypted(world, kind, plaintext):
    """An endpoint that does not answer GetCert or GetCRL says so without opening the envelope."""
    world.use(get_cert=GetCertRule.OFF, get_crl=False)
    assert answer(world, kind, plaintext) == OFF[kind]


def test_the_operator_sees_the_difference(world):
    """The log says what could not be read."""
    content = forge.envelope(b"", encrypted=b"\xff" * BLOCK)
    message = forge.request(content=content, scep={"message_type": "21"})
    assert "could not be read" in world.reason(message)
    assert get_crl(world).rep.crls
