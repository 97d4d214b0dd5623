"""A grammar's function cuts as its pattern says: held to a reader that takes it word by word."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import der
from scepkit.errors import Malformed
from scepkit.protocol.asn1 import ber, rewriting
from scepkit.protocol.asn1.cutting import _places_function
from scepkit.protocol.asn1.grammar import (
    ANY,
    CONTENT,
    END,
    ENTER,
    FIRST,
    OPTIONAL,
    REST,
    SKIP,
    WHOLE,
    Grammar,
    Row,
)

TAGS = [0x02, 0x04, 0x06, 0x30, 0x31, 0x80, 0xA0]
# First octets of tags of several octets, and a string in pieces, which no grammar's function cuts.
ODD = [b"\x1f\x21", b"\xbf\x81\x01", b"\x24", b"\x33"]


# --- one word of a pattern after the other --------------------------------------------------------


class Misfit(Exception):
    """The octets do not fit the pattern."""


def length_of(octets):
    """Return where the content of the first element begins and ends, strictly DER."""
    if octets[:1] in {bytes([tag]) for tag in rewriting.PIECES}:
        raise Misfit
    after = 1
    if octets[0] & 0x1F == 0x1F:
        while octets[after] & 0x80:
            after += 1
        after += 1
    size, begin = octets[after], after + 1
    if size >= 0x80:
        begin += size & 0x7F
        size = int.from_bytes(octets[after + 1 : begin], "big")
        if size < 0x80 or octets[after + 1] == 0:
            raise Misfit
    if begin + size > len(octets):
        raise Misfit
    return begin, begin + size


def enters(word):
    """Say whether the parts of an element follow in the pattern."""
    return isinstance(word, int) and word != REST and bool(word & ENTER)


def uncut(octets):
    return "not cut", octets


def cut_row(octets, row):
    """Return the elements of a row, or what stands for one that does not fit."""
    found, left = [], octets
    try:
        while left:
            one, left = cut(left, row.pattern)
            found.append(one[0] if row.of_ones else tuple(one))
    except (Misfit, IndexError):
        return row.otherwise(octets)
    return found


def parts_of(pattern):
    """Take what stands between an ENTER, which was just taken, and its END."""
    inside, depth = [], 1
    while depth:
        inside.append(pattern.pop(0))
        depth += -1 if inside[-1] == END else enters(inside[-1])
    return inside[:-1]


def cut(octets, pattern, *, missing=False):
    """Return the fields, and the octets that are left."""
    found, pattern = [], list(pattern)
    while pattern:
        word = pattern.pop(0)
        parts = parts_of(pattern) if enters(word) else []
        if word == REST or isinstance(word, Row):
            found.append(cut_row(octets, word) if word != REST and not missing else octets)
            octets = b""
            continue
        absent = missing or (word & OPTIONAL and not (octets and word & 0xFF in (ANY, octets[0])))
        if not absent and not (octets and word & 0xFF in (ANY, octets[0])):
            raise Misfit
        begin, end = (0, 0) if absent else length_of(octets)
        if word & WHOLE or not word & (FIRST | CONTENT | ENTER | SKIP):
            found.append(octets[:end])
        if word & FIRST:
            found.append(octets[: min(end, 1)])
        if word & CONTENT:
            found.append(octets[begin:end])
        if word & ENTER:
            inside, left = cut(octets[begin:end], parts, missing=absent)
            if left:
                raise Misfit
            found += inside
        octets = octets[end:]
    return found, octets


def expected(element, pattern):
    """Return what a grammar has to make of an element; None if it is malformed."""
    for form in (lambda: element, lambda: rewriting.to_der(element)):
        try:
            found, left = cut(form(), pattern)
            if not left:
                return found
        except (Misfit, IndexError):
            continue
        except Malformed:
            return None
    return None


# --- patterns, and octets that fit them, or nearly do ---------------------------------------------

FLAGS = st.sampled_from([0, CONTENT, WHOLE, WHOLE | CONTENT, FIRST, FIRST | CONTENT, SKIP])


@st.composite
def words(draw, depth=0):
    tag = draw(st.sampled_from([ANY, *TAGS]))
    optional = draw(st.sampled_from([0, 0, OPTIONAL]))
    if depth == 3 or draw(st.integers(0, 2)):
        return [tag | optional | draw(FLAGS)]
    flags = draw(st.sampled_from([0, WHOLE, FIRST, CONTENT]))
    inside = [word for some in draw(st.lists(words(depth + 1), max_size=3)) for word in some]
    rest = draw(st.sampled_from([[]] * 4 + [[REST], [draw(rows(depth + 1))]]))
    return [tag | optional | flags | ENTER, *inside, *rest, END]


@st.composite
def rows(draw, depth):
    pattern = draw(words(depth))
    flags = pattern[0] & (WHOLE | FIRST | CONTENT | SKIP)
    of_ones = not enters(pattern[0]) and flags in (0, WHOLE, FIRST, CONTENT)
    return Row([pattern[0] & ~OPTIONAL, *pattern[1:]], uncut, of_ones and draw(st.booleans()))


PATTERNS = st.lists(words(), min_size=1, max_size=3).map(
    lambda many: [w for one in many for w in one]
)


def fitting(draw, pattern):
    out, pattern = b"", list(pattern)
    while pattern:
        word = pattern.pop(0)
        parts = parts_of(pattern) if enters(word) else []
        if isinstance(word, Row):
            out += b"".join(fitting(draw, word.pattern) for _ in range(draw(st.integers(0, 3))))
            continue
        if word == REST:
            out += draw(st.sampled_from([b"", der.octets(b"rest"), der.NULL]))
            continue
        tag = bytes([word & 0xFF]) if word & 0xFF else draw(st.sampled_from([b"\x13", *ODD]))
        inside = fitting(draw, parts) if parts else draw(st.sampled_from(CONTENTS))
        if word & OPTIONAL and draw(st.booleans()):
            continue
        out += tag + der.tlv(0, inside)[1:]
    return out


CONTENTS = [b"", b"x", b"\x02\x01\x05", bytes(0x7F), bytes(0x80), bytes(0xFF), bytes(0x100)]
CONTENTS += [bytes(0xFFFF), bytes(0x10000)]


@st.composite
def cases(draw):
    pattern = draw(PATTERNS)
    octets = bytearray(fitting(draw, pattern))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, min(40, len(octets))))
        match draw(st.sampled_from(["set", "cut", "drop", "insert"])):
            case "set" if at < len(octets):
                octets[at] = draw(st.sampled_from([0, 1, 0x1F, 0x24, 0x7F, 0x80, 0x81, 0x82, 0xFF]))
            case "cut":
                del octets[at:]
            case "drop":
                del octets[at : at + draw(st.integers(1, 3))]
            case "insert":
                octets[at:at] = draw(st.binary(max_size=3))
    return pattern, bytes(octets)


@given(cases())
def test_an_element_is_cut_as_the_pattern_says(case):
    pattern, octets = case
    wanted = expected(octets, pattern)
    grammar = Grammar("thing", *pattern)
    assert grammar.strictly(octets) in (None, wanted)
    # The second time its layout is remembered, and the third time it is known.
    for _ in range(3):
        if wanted is None:
            with pytest.raises(Malformed):
                grammar.fields(octets)
        else:
            assert grammar.fields(octets) == wanted


class Watched(bytes):
    """Octets that know which of them were looked at."""

    def __new__(cls, octets):
        self = super().__new__(cls, octets)
        self.seen = set()
        return self

    def __getitem__(self, key):
        if isinstance(key, int):
            self.seen.add(key)
        return super().__getitem__(key)


@given(PATTERNS, st.data())
def test_nothing_depends_on_octets_that_are_said_to_be_free(pattern, data):
    """What a layout leaves out of its comparison is not looked at when it is learned."""
    assume(free_and_not_looked_at(pattern, fitting(data.draw, pattern)))


def free_and_not_looked_at(pattern, octets):
    """Return whether it fits, and then hold what was looked at to what is free."""
    watched = Watched(octets)
    places = _places_function((*pattern, END), "[{}]", "thing")(watched)
    for start, end in places[1] if places else ():
        assert watched.seen.isdisjoint(range(start, end))
    return places is not None


def outcome(grammar, octets):
    try:
        return grammar.fields(octets)
    except Malformed:
        return None


@given(PATTERNS, st.data())
def test_whatever_came_before_changes_nothing(pattern, data):
    """Octets that differ in one place from those whose layout a grammar knows."""
    octets, grammar = fitting(data.draw, pattern), Grammar("thing", *pattern)
    assume(len(octets) < 500)
    for _ in range(3):
        assert outcome(grammar, octets) == expected(octets, pattern)
    for at in range(min(60, len(octets))):
        for value in (octets[at] ^ 1, *data.draw(st.lists(st.sampled_from(TAGS), max_size=2))):
            changed = octets[:at] + bytes([value]) + octets[at + 1 :]
            assert outcome(grammar, changed) == expected(changed, pattern)


@given(words(), st.lists(st.randoms(use_true_random=False), max_size=4), st.data())
def test_a_row_is_cut_as_its_elements_are(pattern, many, data):
    assume(not pattern[0] & OPTIONAL)
    row = [fitting(data.draw, pattern) for _ in many]
    wanted = [expected(one, pattern) for one in row]
    assume(None not in wanted)
    joined = b"".join(row)
    try:
        assert Grammar("thing", *pattern).rows(joined) == list(map(tuple, wanted))
    except Malformed:
        # Where one is BER all are rewritten, and another one may hold what is no element.
        with pytest.raises(Malformed):
            rewriting.row_to_der(joined)


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
@pytest.mark.parametrize("tag", [b"\x04", b"\x1f\x21", b"\x9f\x81\x01"])
def test_a_length_in_too_many_octets_is_rewritten(tag, size):
    """What leaves a reader is DER, whichever of its branches has read the length."""
    shortest = tag + der.octets(bytes(size))[1:]
    for octets in range(1, 5):
        if size < 1 << 8 * octets:
            loose = tag + bytes([0x80 | octets]) + size.to_bytes(octets, "big") + bytes(size)
            for pattern in ((ANY | WHOLE,), (0x30 | ENTER, ANY, END)):
                inside = [loose, shortest] if len(pattern) == 1 else [der.seq(loose)]
                for one in inside:
                    assert Grammar("thing", *pattern).fields(one) == [shortest]
            assert Grammar("thing", ANY).rows(loose + loose) == [(shortest,)] * 2


@pytest.mark.parametrize(
    ("pattern", "octets"),
    [
        # Octets that follow; a part too few, or too many; a part that is longer than the whole.
        ((0x02,), "020105 00"),
        ((0x30 | ENTER, 0x02, END), "3003020105 0500"),
        ((0x30 | ENTER, 0x02, 0x02, END, 0x02), "3003020105 020106"),
        ((0x30 | ENTER, 0x02, END), "3006020105 020106"),
        ((0x30 | ENTER, 0x02, END, 0x02), "3002020105 020106"),
        ((0x30 | ENTER, 0x02 | OPTIONAL, END, 0x02), "3002020105 020106"),
        ((0x30 | ENTER, 0x31 | ENTER, 0x02, END, END), "30053106020105"),
        ((0x30 | ENTER, 0x02 | SKIP, REST, END, 0x04 | OPTIONAL), "3002020405 0400"),
        ((0x30 | ENTER, ANY | OPTIONAL, ANY | OPTIONAL, END), "3004020105 02"),
    ],
)
def test_what_does_not_fit_is_malformed(pattern, octets):
    with pytest.raises(Malformed):
        Grammar("thing", *pattern).fields(bytes.fromhex(octets))


@pytest.mark.parametrize("tag", [0x24, 0x33])
def test_a_string_in_pieces_is_put_together_before_its_tag_is_looked_at(tag):
    pieces = (
        bytes([tag]) + b"\x06" + bytes([tag & ~0x20]) + b"\x01a" + bytes([tag & ~0x20]) + b"\x01b"
    )
    with pytest.raises(Malformed):
        Grammar("thing", tag | CONTENT).fields(pieces)
    assert Grammar("thing", tag & ~0x20 | CONTENT).fields(pieces) == [b"ab"]
    assert ber.content(pieces, tag & ~0x20, "thing") == b"ab"


def test_two_threads_make_the_function_of_one_grammar():
    """Each gets the fields, whoever made the function that both use from then on."""
    grammar, both = Grammar("thing", 0x30 | ENTER, 0x02, END), Barrier(2)

    def read():
        both.wait(10)
        return grammar.fields(der.seq(der.integer(5)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as threads:
            first, second = threads.submit(read), threads.submit(read)
            assert first.result() == second.result() == [der.integer(5)]
    finally:
        sys.setswitchinterval(before)


ONES, PAIRS = Row([0x02 | CONTENT], uncut, of_ones=True), Row([0x02, 0x04 | CONTENT], uncut)


@pytest.mark.parametrize(
    ("row", "inside", "wanted"),
    [
        (ONES, "", []),
        (ONES, "020105 020106", [b"\x05", b"\x06"]),
        (PAIRS, "020105 040178", [(b"\x02\x01\x05", b"x")]),
        # Another tag; an element too few; one that is longer than the row, or has no end.
        (ONES, "020105 040106", None),
        (PAIRS, "020105", None),
        (ONES, "020105 02050607", None),
        (ONES, "02", None),
        # Not DER: a length in too many octets; a tag that does not end.
        (ONES, "02810105", None),
        (Row([ANY], uncut), "1fffffffffff00", None),
    ],
)
@pytest.mark.parametrize("after", ["", "0403010203"])
def test_a_row_ends_where_its_element_ends_whatever_is_in_it(row, inside, wanted, after):
    """What does not fit is given to somebody else, as it came; what follows is cut all the same."""
    octets, more = bytes.fromhex(inside), bytes.fromhex(after)
    grammar = Grammar("thing", 0x30 | ENTER, 0x30 | ENTER, row, END, 0x04 | OPTIONAL, END)
    found = grammar.fields(der.seq(der.seq(octets), more))
    assert found == [uncut(octets) if wanted is None else wanted, more]


def test_a_row_in_what_is_missing_is_empty():
    grammar = Grammar("thing", 0x30 | ENTER, 0xA0 | ENTER | OPTIONAL, ONES, END, 0x02, END)
    assert grammar.fields(der.seq(der.integer(5))) == [b"", der.integer(5)]


def test_a_row_of_too_many_elements_is_not_cut():
    grammar = Grammar("thing", 0x30 | ENTER, ONES, END)
    most = der.integer(5) * rewriting.MAX_ELEMENTS
    assert grammar.fields(der.seq(most)) == [[b"\x05"] * rewriting.MAX_ELEMENTS]
    assert grammar.fields(der.seq(most, der.integer(5))) == [uncut(most + der.integer(5))]


PATTERNS_OF_MANY = [
    # The last part each time; then others behind, which may be missing.
    (0x30 | ENTER, 0x06, 0xA0 | ENTER, 0x04 | CONTENT, END, END),
    (
        *(0x30 | ENTER, 0x31 | WHOLE | ENTER, 0x02 | SKIP),
        *(0x04 | FIRST | CONTENT, END, 0x05 | OPTIONAL, 0x02 | OPTIONAL, END),
    ),
    (0x30 | ENTER, 0x31 | ENTER | OPTIONAL, 0x04, END, 0x04, ANY, END),
    (
        *(0x30 | ENTER, 0x30 | ENTER, 0x04 | SKIP, 0xA0 | OPTIONAL | ENTER, 0x02 | CONTENT, END),
        *(END, ANY | OPTIONAL, END),
    ),
    (0x30 | ENTER, 0x31 | ENTER, 0x31 | ENTER, 0x04, END, END, 0x04, 0x05 | OPTIONAL, END),
    # What is left begins with the tag that tells what is missing.
    (0x30 | ENTER, 0x30 | ENTER, 0x02 | OPTIONAL, REST, END, 0x04, END),
]


def written(pattern, size, *, is_shortest):
    """Return an element that fits, with so many octets in what is not entered.

    Where it is not shortest, all lengths have two octets.
    """
    out, pattern = b"", list(pattern)
    while pattern:
        word = pattern.pop(0)
        if enters(word):
            inside = written(parts_of(pattern), size, is_shortest=is_shortest)
        else:
            inside = {0x02: b"\x01", 0x05: b""}.get(word & 0xFF, bytes(size))
        shortest = der.tlv(word & 0xFF or 0x06, inside)
        out += shortest if is_shortest else shortest[:1] + two_octets(inside)
    return out


def two_octets(inside):
    return b"\x82" + len(inside).to_bytes(2, "big") + inside


@pytest.mark.parametrize("pattern", PATTERNS_OF_MANY)
@pytest.mark.parametrize("size", [0, 100, 128, 238, 247, 251, 255, 256, 300])
@pytest.mark.parametrize("is_shortest", [True, False])
def test_one_octet_that_is_otherwise_changes_what_it_says(pattern, size, is_shortest):
    """Whatever came before, and whichever octet is another one."""
    octets = written(pattern, size, is_shortest=is_shortest)
    grammar = Grammar("thing", *pattern)
    for at in range(min(36, len(octets))):
        before = octets[at]
        for value in {before, *range(before - 2, before + 3), 0x02, 0x7F, 0x80, 0x81, 0x82, 0xFF}:
            changed = octets[:at] + bytes([value & 0xFF]) + octets[at + 1 :]
            for one in (changed, changed + b"\0", changed[:-1]):
                wanted = expected(one, pattern)
                assert grammar.strictly(one) in (None, wanted)
                if wanted is None:
                    with pytest.raises(Malformed):
                        grammar.fields(one)
                else:
                    assert grammar.fields(one) == wanted


@pytest.mark.parametrize("pattern", PATTERNS_OF_MANY)
@pytest.mark.parametrize("size", [0, 1, 128, 256, 0x10000])
def test_nothing_depends_on_what_is_free_in_these(pattern, size):
    assert free_and_not_looked_at(pattern, written(pattern, size, is_shortest=True))


def test_the_first_tag_of_what_is_left_tells_what_is_missing():
    pattern = (0x30 | ENTER, 0x02 | OPTIONAL, REST, END)
    assert free_and_not_looked_at(pattern, der.seq(der.octets(b"left")))
