"""BER becomes the DER that it stands for, at linear cost; and DER is cut into fields."""

from __future__ import annotations

import contextlib
import itertools
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import captured
import der
import forge
import keys
from der import Node
from scepkit.errors import Malformed
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.asn1 import ber, grammar, rewriting
from scepkit.protocol.asn1.grammar import Grammar
from scepkit.protocol.scep import pkimessage

PRIMITIVE = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x16, 0x17, 0x1E, 0x80, 0x9E, 0x44]
CONSTRUCTED = [0x30, 0x31, 0xA0, 0xA3, 0xBE, 0x64]

TREES = st.recursive(
    st.builds(Node, st.sampled_from(PRIMITIVE), st.binary(max_size=300)),
    lambda children: st.builds(
        lambda tag, inside: Node(tag, children=inside),
        st.sampled_from(CONSTRUCTED),
        st.lists(children, max_size=5),
    ),
    max_leaves=20,
)


@given(TREES)
def test_der_stays_what_it_is(tree):
    assert rewriting.to_der(tree.der()) == tree.der()


@given(TREES, st.integers(0, 2**32))
def test_ber_becomes_the_der_that_it_stands_for(tree, seed):
    assert rewriting.to_der(der.ber(tree, random.Random(seed))) == tree.der()


@given(st.lists(TREES, max_size=5), st.integers(0, 2**32))
def test_a_row_of_elements_is_cut_apart(row, seed):
    strict = b"".join(one.der() for one in row)
    assert ber.split(strict) == [one.der() for one in row]
    loose = b"".join(der.ber(one, random.Random(seed)) for one in row)
    cut = ber.split(loose)
    assert [rewriting.to_der(one) for one in cut] == [one.der() for one in row]
    # Their own tags and lengths are DER, whatever is inside.
    assert [one[0] for one in cut] == [one.tag for one in row]
    assert all(ber.anything(one) for one in cut)


@pytest.mark.parametrize(
    "name", [*(f"{n}.csr" for n in captured.PROGRAMS), "ndes-failure", *captured.REQUESTS]
)
def test_captured_der_stays_what_it_is(name):
    once = rewriting.to_der(captured.der(name))
    assert rewriting.to_der(once) == once
    if "jscep-3.0.0-pkcsreq" not in name:
        assert once == captured.der(name)


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        ("3080 0000", "3000"),
        ("308100", "3000"),
        ("30820000", "3000"),
        ("30850000000000", "3000"),
        ("048103616263", "0403616263"),
        ("2400", "0400"),
        ("2480 0000", "0400"),
        ("2480 0401 61 0402 6263 0000", "0403616263"),
        ("2407 0401 61 0402 6263", "0403616263"),
        ("2480 2480 0401 61 0000 2405 0403 626364 0000", "0404 61626364"),
        ("a080 0401 61 0000", "a003040161"),
        ("3080 3080 3080 0000 0000 0000", "3004 3002 3000"),
        ("2c80 0c02 c3a9 0000", "0c02c3a9"),
        ("bf1f80 0500 0000", "bf1f02 0500"),
        ("9f8301 01 61", "9f83010161"),
        # Values are not looked at.
        ("310602010202 0101", "310602010202 0101"),
        ("0203000001", "0203000001"),
    ],
)
def test_examples(loose, strict):
    assert rewriting.to_der(bytes.fromhex(loose)) == bytes.fromhex(strict)


@pytest.mark.parametrize(
    "broken",
    [
        *("", "30", "3080", "30800000 00", "308000", "3001", "300100", "3003020101 00"),
        *(
            "0480 0000",
            "0280",
            "30ff",
            "3084ffffffff",
            "30890000000000000000ff",
            "1f",
            "1f80",
            "9f",
        ),
        *("1f8080808001 00", "1fffffffffff7f00", "2480 0201 01 0000", "2403 0c0161", "2402 0401"),
        *("3080 0000 0000", "0500 0500", "3002 0500 00", "3080 0401"),
    ],
)
def test_broken_encodings_are_malformed(broken):
    with pytest.raises(Malformed):
        rewriting.to_der(bytes.fromhex(broken))


@pytest.mark.parametrize("name", ["jscep-3.0.0-pkcsreq", "micromdm-2.1.0-pkcsreq"])
def test_every_truncation_is_malformed(name):
    whole = captured.der(name)
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            rewriting.to_der(whole[:length])


# --- bombs: bounded, whatever their depth or number -----------------------------------------------

DEPTH = 100_000


def definite(tag, depth):
    """Return elements of definite length inside one another, innermost first."""
    lengths = [0]
    for _ in range(depth):
        lengths.append(lengths[-1] + 1 + len(der._length(lengths[-1])))
    return b"".join(bytes([tag]) + der._length(length) for length in reversed(lengths))


BOMBS = {
    "indefinite": b"\x30\x80" * DEPTH,
    "indefinite, closed": b"\x30\x80" * DEPTH + b"\x00\x00" * DEPTH,
    "definite": definite(0x30, DEPTH),
    "strings in strings": b"\x24\x80" * DEPTH + b"\x00\x00" * DEPTH,
    "strings in strings, definite": definite(0x24, DEPTH),
    "a string of empty pieces": b"\x24\x80" + b"\x04\x00" * DEPTH + b"\x00\x00",
    "a string of single octets": b"\x24\x80" + b"\x04\x01x" * DEPTH + b"\x00\x00",
    "a SET of many": der.set_(b"\x05\x00" * DEPTH),
    "31 levels of many": b"\x30\x80" * 31 + b"\x05\x00" * DEPTH + b"\x00\x00" * 31,
    "ends of contents": b"\x00\x00" * DEPTH,
    "a tag of many octets": b"\x3f" + b"\xff" * DEPTH,
    "a length of many octets": b"\x30\xfe" + b"\xff" * DEPTH,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb, pair):
    """Of 400 kB of the worst nothing but Malformed comes."""
    with contextlib.suppress(Malformed):
        rewriting.to_der(BOMBS[bomb])
    assert pair.ask(BOMBS[bomb]).status in (400, 413)
    with pytest.raises(Malformed):
        pkimessage.parse(BOMBS[bomb])


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_inside_an_envelope(bomb, pair):
    """What comes out of an envelope is read with the same care."""
    message = forge.request(BOMBS[bomb][: 64 * 1024])
    refused = pair.answer_to(message)
    assert (refused.fail_info, refused.text) == (2, "the encrypted part could not be read")
    content = forge.envelope(b"", recipients=[b"\x30\x80" * 20_000])
    verified = pkimessage.verify(pkimessage.parse(forge.request(content=content)), NO_LEGACY)
    with pytest.raises(pkimessage.BadRequest):
        pkimessage.open_request(verified, [keys.ra().credential], NO_LEGACY, bytes)


@pytest.mark.parametrize("element", [b"\x05\x00", b"\x05\x81\x00"], ids=["DER", "BER"])
def test_a_row_of_too_many_elements(element):
    """As many elements as a whole message may have can be cut apart, and not one more."""
    assert len(ber.split(element * rewriting.MAX_ELEMENTS)) == rewriting.MAX_ELEMENTS
    with pytest.raises(Malformed, match="more than 10000 elements"):
        ber.split(element * (rewriting.MAX_ELEMENTS + 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"\x24\x80" + b"\x04\x01x" * n + b"\x00\x00",
        lambda n: der.set_(b"\x05\x00" * n),
        lambda n: b"\x30\x80" * 31 + b"\x05\x00" * n + b"\x00\x00" * 31,
    ],
)
def test_cost_is_linear(make):
    """Ten times the input takes ten times the steps, not a hundred times."""

    def steps(size):
        data, counted = make(size), itertools.count()
        sys.setprofile(lambda *_event: next(counted))
        try:
            rewriting.to_der(data)
        finally:
            sys.setprofile(None)
        return next(counted)

    assert steps(9_000) < 11 * steps(900)


@pytest.mark.parametrize("data", [b"\x00", b"\xff", b"\x30", b"\x30\x80", b"\x24\x80", b"A"])
def test_ten_mebibytes_of_garbage(data):
    """10 MiB of garbage is refused in no time."""
    garbage = data * (10 * 1024 * 1024 // len(data))
    with pytest.raises(Malformed):
        pkimessage.parse(garbage)


def test_a_message_of_nothing_but_elements_is_refused():
    """What costs this reader most is many tiny elements; real messages have a few hundred."""
    inside = b"\x05\x00" * 60_000
    with pytest.raises(Malformed, match="10000 elements"):
        rewriting.to_der(b"\x30\x80" + inside + b"\x00\x00")


def pieces_of(loose):
    return [bytes(child) for child in rewriting.cut(loose)]


@given(st.lists(TREES, max_size=5), st.integers(0, 2**32))
def test_children_are_cut_out_as_they_came(children, seed):
    loose = [der.ber(child, random.Random(seed)) for child in children]
    row = b"".join(loose)
    assert pieces_of(der.tlv(0x30, row)) == loose
    assert pieces_of(der.tlv(0x30, row) + b"what follows") == loose
    assert pieces_of(b"\xa0\x80" + row + b"\x00\x00") == loose


@pytest.mark.parametrize(
    "broken",
    [
        *(
            b"",
            b"\x30",
            b"\x30\x01",
            b"\x04\x00",
            b"\x30\x80",
            b"\x30\x80\x00",
            b"\x30\x02\x04\x01",
        ),
        *(b"\x30\x02\x30\x80", b"\x30\x80" * 100, b"\x30\x80" * 100 + b"\x00\x00" * 100),
    ],
)
def test_what_has_no_whole_children_is_malformed(broken):
    with pytest.raises(Malformed):
        rewriting.cut(broken)


# --- fields by a grammar --------------------------------------------------------------------------


def fields(element, what, pattern):
    return Grammar(what, *pattern).fields(element)


INNER = (0x30 | grammar.WHOLE | grammar.ENTER, 0x06, 0x04 | grammar.CONTENT, grammar.END)
PATTERN = (
    *(0x30 | grammar.ENTER, 0x02, 0xA0 | grammar.OPTIONAL, *INNER),
    *(
        grammar.ANY | grammar.WHOLE | grammar.CONTENT,
        0x81 | grammar.CONTENT | grammar.OPTIONAL,
        grammar.END,
    ),
)
NUMBER, OID_, STRING, ANY = b"\x02\x01\x05", b"\x06\x01\x2a", b"\x04\x02hi", b"\x13\x01x"
SEQUENCE = der.seq(OID_, STRING)


def cut(*inside):
    return fields(der.seq(*inside), "thing", PATTERN)


def test_fields_are_cut_by_their_tags():
    assert cut(NUMBER, SEQUENCE, ANY) == [NUMBER, b"", SEQUENCE, OID_, b"hi", ANY, b"x", b""]
    assert cut(NUMBER, b"\xa0\x00", SEQUENCE, ANY, b"\x81\x01y") == [
        *(NUMBER, b"\xa0\x00", SEQUENCE, OID_, b"hi", ANY, b"x", b"y")
    ]


@pytest.mark.parametrize("tag", [b"\x1f\x05", b"\xbf\x21", b"\x9f\x81\x01"])
def test_a_tag_of_several_octets_is_any(tag):
    short, long = tag + b"\x01x", tag + b"\x81\x80" + bytes(0x80)
    assert cut(NUMBER, SEQUENCE, short)[5:7] == [short, b"x"]
    assert cut(NUMBER, SEQUENCE, long)[5:7] == [long, bytes(0x80)]


def test_a_missing_element_has_no_parts_either():
    inside = (
        0x30 | grammar.ENTER | grammar.OPTIONAL,
        0x02 | grammar.WHOLE | grammar.CONTENT,
        grammar.END,
    )
    pattern = (
        0x31 | grammar.ENTER,
        0xA0 | grammar.ENTER | grammar.OPTIONAL,
        *inside,
        grammar.END,
        0x04,
        grammar.END,
    )
    assert fields(der.set_(STRING), "thing", pattern) == [b"", b"", STRING]
    assert fields(der.set_(b"\xa0\x00", STRING), "thing", pattern) == [b"", b"", STRING]
    held = der.tlv(0xA0, der.seq(NUMBER))
    assert fields(der.set_(held, STRING), "thing", pattern) == [NUMBER, b"\x05", STRING]
    with pytest.raises(Malformed):
        fields(der.set_(der.tlv(0xA0, der.seq()), STRING), "thing", pattern)


def test_what_is_left_of_an_element_is_a_row():
    pattern = (0x30 | grammar.ENTER, 0x02, grammar.REST, grammar.END)
    assert fields(der.seq(NUMBER), "thing", pattern) == [NUMBER, b""]
    assert fields(der.seq(NUMBER, ANY, STRING), "thing", pattern) == [NUMBER, ANY + STRING]
    indefinite = b"\x30\x80" + NUMBER + ANY + b"\x24\x80" + STRING + b"\0\0\0\0"
    assert fields(indefinite, "thing", pattern) == [NUMBER, ANY + STRING]


@pytest.mark.parametrize(
    "inside",
    [
        *((), (NUMBER,), (SEQUENCE, ANY), (NUMBER, SEQUENCE), (NUMBER, ANY, SEQUENCE)),
        *((NUMBER, SEQUENCE, ANY, ANY), (NUMBER, SEQUENCE, ANY, b"\x81\x00", b"\x81\x00")),
        *((NUMBER, der.seq(OID_), ANY), (NUMBER, der.seq(OID_, STRING, STRING), ANY)),
        # The inner element is longer than what is around it.
        *((NUMBER, b"\x30\x7f" + OID_ + STRING, ANY), (NUMBER, b"\x30\x07\x06\x01\x2a\x04\x03h")),
        *((NUMBER, SEQUENCE, b"\x13"), (NUMBER, SEQUENCE, b"\x13\x85\xff\xff\xff\xff\xff")),
        (NUMBER, SEQUENCE, b"\x13\xff" + b"\xff" * 127),
        # Tags that are cut off, and of a number beyond every type in use.
        *((NUMBER, SEQUENCE, b"\x1f"), (NUMBER, SEQUENCE, b"\x1f" + b"\xff" * 5 + b"\x01\x00")),
    ],
)
def test_what_does_not_fit_the_pattern_is_malformed(inside):
    with pytest.raises(Malformed):
        cut(*inside)
    with pytest.raises(Malformed):
        fields(b"\x31" + der.seq(*inside)[1:], "thing", PATTERN)


@given(st.integers(0, 2**32))
def test_fields_of_ber_are_those_of_the_der_that_it_stands_for(seed):
    strict = der.seq(NUMBER, SEQUENCE, der.octets(b"x" * 300))
    loose = der.ber(der.parse(strict), random.Random(seed))
    assert fields(loose, "thing", PATTERN) == fields(strict, "thing", PATTERN)


@given(st.binary(max_size=60), st.sampled_from([PATTERN, INNER, (grammar.ANY,)]))
def test_no_field_is_beyond_what_came(octets, pattern):
    with contextlib.suppress(Malformed):
        assert all(len(field) <= len(octets) for field in fields(octets, "thing", pattern))
    with contextlib.suppress(Malformed):
        assert len(b"".join(one[0] for one in ber.attributes(octets))) <= len(octets)
