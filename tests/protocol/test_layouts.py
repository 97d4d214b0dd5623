"""Layouts: what is known again is cut as if it had come for the first time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import der
from scepkit.errors import Malformed
from scepkit.protocol.asn1 import layouts
from scepkit.protocol.asn1.grammar import ANY, CONTENT, END, ENTER, OPTIONAL, REST, Grammar, Row

_PAIRS = Row([0x30 | ENTER, 0x06, ANY | CONTENT, END], bytes)
_PATTERN = (
    *(0x30 | ENTER, 0x02 | CONTENT, 0x31 | ENTER, _PAIRS, END),
    *(0xA0 | ENTER | OPTIONAL, 0x05 | OPTIONAL, REST, END, 0x04, END),
)


def element(number=b"\x05", pairs=(b"x", b"yy"), rest=b"", last=b"last"):
    """Return an element of the pattern."""
    row = b"".join(der.seq(der.tlv(6, b"\x2a"), der.octets(one)) for one in pairs)
    inside = [der.tlv(2, number), der.tlv(0x31, row)]
    inside += [der.tlv(0xA0, rest)] if rest else []
    return der.seq(*inside, der.octets(last))


def first_time(octets):
    """Return what a grammar makes of octets that knows no others; None if they do not fit."""
    try:
        return Grammar("thing", *_PATTERN).fields(octets)
    except Malformed:
        return None


def again(grammar, octets):
    try:
        return grammar.fields(octets)
    except Malformed:
        return None


@pytest.fixture
def cut_anew(monkeypatch):
    """The elements whose layout a grammar did not know, in their order."""
    seen, compiled = [], layouts.remembering

    def remembering(cut, places):
        return compiled(
            lambda octets, *others: (seen.append(octets), cut(octets, *others))[1], places
        )

    monkeypatch.setattr("scepkit.protocol.asn1.cutting.remembering", remembering)
    return seen


def test_a_layout_is_known_from_the_third_time_on(cut_anew):
    grammar = Grammar("thing", *_PATTERN)
    elements = [
        element(bytes([n]), (b"%d" % n, b"yy"), last=bytes(3) + bytes([n])) for n in range(6)
    ]
    found = [grammar.fields(one) for one in elements]
    assert cut_anew == elements[:2]
    assert found == [first_time(one) for one in elements]


def test_who_gets_fields_may_change_them():
    grammar = Grammar("thing", *_PATTERN)
    for _ in range(4):
        found = grammar.fields(element())
        found[1].clear()
    assert grammar.fields(element()) == first_time(element())


def test_elements_of_one_length_have_several_layouts(cut_anew):
    """The same number of octets, and of parts, but not in the same places."""
    both = element(pairs=(b"x", b"yy")), element(pairs=(b"xx", b"y"))
    assert len(both[0]) == len(both[1])
    wanted = [first_time(one) for one in both]
    cut_anew.clear()
    grammar = Grammar("thing", *_PATTERN)
    for _ in range(4):
        assert [grammar.fields(one) for one in both] == wanted
    assert cut_anew == [*both, both[0]]


def test_every_octet_of_the_structure_counts():
    """Whichever octet is another one, and whatever is known of the others."""
    octets = element(rest=der.octets(b"r"))
    grammar = Grammar("thing", *_PATTERN)
    for _ in range(3):
        grammar.fields(octets)
    for at in range(len(octets)):
        for value in (0, 1, 2, 4, 5, 6, 0x30, 0x31, 0x7F, 0x80, 0x82, 0xA0, octets[at] ^ 1):
            changed = octets[:at] + bytes([value]) + octets[at + 1 :]
            assert again(grammar, changed) == first_time(changed)


_PIECES = st.sampled_from([b"", b"x", b"yy", bytes(0x7E), bytes(0x80), bytes(0x100)])
_ELEMENTS = st.builds(
    element, _PIECES, st.lists(_PIECES, max_size=3), st.sampled_from([b"", der.NULL]), _PIECES
)


@given(st.lists(_ELEMENTS, min_size=1, max_size=4), st.data())
def test_whatever_came_before_changes_nothing(kinds, data):
    grammar = Grammar("thing", *_PATTERN)
    for _ in range(12):
        octets = bytearray(data.draw(st.sampled_from(kinds)))
        if data.draw(st.booleans()):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        assert again(grammar, bytes(octets)) == first_time(bytes(octets))


def test_what_does_not_fit_is_looked_at_again_each_time(cut_anew):
    """It is not DER, so that it has no layout; what it becomes has one."""
    loose, wanted = b"\x30\x80" + element()[2:] + b"\0\0", first_time(element())
    cut_anew.clear()
    grammar = Grammar("thing", *_PATTERN)
    for _ in range(8):
        assert grammar.fields(loose) == wanted
    assert cut_anew.count(loose) == 8
    assert cut_anew.count(element()) == 2


def test_a_flood_of_layouts_holds_a_bounded_number_of_them():
    known = {}
    remember = layouts.remembering(
        lambda octets: [octets], lambda: lambda octets: ([slice(0, len(octets))], [])
    )
    known = remember.__closure__[[*remember.__code__.co_freevars].index("known")].cell_contents
    for size in range(1000):
        for octets in (bytes([n]) * size for n in range(8)):
            assert remember(octets) == [octets]
        assert len(known) <= 64
        assert max(map(len, known.values())) <= 4


def test_a_row_of_many_is_cut_each_time(cut_anew):
    grammar = Grammar("thing", *_PATTERN)
    octets = element(pairs=[b"x"] * 100)
    for _ in range(4):
        assert len(grammar.fields(octets)[1]) == 100
    assert cut_anew == [octets] * 4
