"""Names, extensions and certificates of any octets: read, shown and compared without a crash."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

import der
import forge
import keys
import mutation
from scepkit.ca.profiles.profile import SAN_TYPES
from scepkit.ca.subject_rules import allowed_names, certified_subject
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol import general_name
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name

NAMES = [
    keys.name("dev1").public_bytes(),
    der.seq(der.set_(der.seq(der.oid("2.5.4.3"), der.tlv(0x1E, b"\0a\xd8\x3d\xde\0")))),
    der.seq(
        der.set_(
            der.seq(der.oid("2.5.4.6"), der.printable("CH")),
            der.seq(der.oid("2.5.4.10"), der.tlv(0x14, b"M\xfcller")),
        )
    ),
]


@given(st.data())
def test_a_name_can_always_be_shown_and_compared(data):
    one, other = (Name(data.draw(mutation.anything(NAMES))) for _ in range(2))
    assert str(one).isprintable()
    assert one.matches(one)
    assert one.reads_like(one)
    assert one.matches(other) == other.matches(one)
    if one.reads_like(other):
        assert one.matches(other)
    with suppress(BadRequest):
        issued = certified_subject(one)
        assert issued.reads_like(one)
        assert certified_subject(issued) == issued


@given(st.text(max_size=20))
def test_a_text_is_shown_so_that_it_can_be_read_again(text):
    name = Name(der.seq(der.set_(der.seq(der.oid("2.5.4.11"), der.utf8(text)))))
    assert str(name).isprintable()
    if text.strip() and text.isprintable():
        assert Name.parse(str(name)).reads_like(name)


GENERAL_NAMES = [
    der.seq(
        der.tlv(0x82, b"a.example"),
        der.tlv(0xA0, der.oid("1.3.6.1.4.1.311.20.2.3"), der.tlv(0xA0, der.utf8("u@d"))),
        der.tlv(0xA4, NAMES[0]),
        der.tlv(0x87, b"\xc0\0\2\1"),
        der.tlv(0x88, b"\x2a\x03"),
    )
]


@given(st.data())
def test_alternative_names_can_always_be_shown(data):
    with suppress(Malformed):
        names = general_name.read(data.draw(mutation.anything(GENERAL_NAMES)))
        assert all(str(one).isprintable() for one in names)
        with suppress(BadRequest):
            kept = allowed_names(names, Name(NAMES[0]), SAN_TYPES)
            assert {one.kind for one in kept} <= SAN_TYPES


@given(st.data())
def test_a_certificate_that_is_read_shows_what_is_asked_for(data):
    seeds = [keys.device().der, keys.ra().der, forge.certificate(keys.rsa_key())]
    with suppress(Malformed):
        read = Certificate.read(data.draw(mutation.anything(seeds)))
        assert str(read.subject_name).isprintable()
        for name in ("serial", "validity", "alternative_names"):
            with suppress(Malformed):
                getattr(read, name)
        with suppress(Malformed):
            _ = read.extensions.basic_constraints
        with suppress(Malformed):
            read.extensions.check()
        assert read.key_hash
        assert read.subject_key_identifier != b""
        assert read.is_self_signed(NO_LEGACY) in (True, False)
