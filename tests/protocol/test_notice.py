"""SCEP-Notice: written so that it is read back, and read so that nothing in it does harm."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scepkit.protocol.scep.notice import MOST, Notice, read, read_headers, written

# RFC 9651 section 3.3.4.
TOKENS = st.from_regex(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]{0,63}", fullmatch=True)
NOTICES = st.lists(st.builds(Notice, TOKENS, TOKENS), max_size=MOST)


@given(NOTICES)
def test_what_is_written_is_read(notices):
    assert read(written(notices)) == tuple(dict.fromkeys(notices))


@given(st.lists(st.builds(Notice, st.text(), st.text())))
@example([Notice("a\r\nSet-Cookie: x", '"')])
def test_only_tokens_are_written(notices):
    """Whatever a name is made of, it is one line, and a list of RFC 9651."""
    header = written(notices)
    assert header.isascii()
    assert header.isprintable()
    assert len(header) <= MOST * 150
    assert len(read(header)) == min(len({written([one]) for one in notices}), MOST) or any(
        written([one]).startswith("other") for one in notices
    )


@given(st.text())
@example("a" * 5000)
@example("a, " * 40 + "a")
@example("a;attribute=b\x1b[2J")
@example("a;attribute=b\u202e")
@example("a,,b")
def test_whatever_arrives_is_bounded_and_printable(header):
    for notice in read(header):
        for text in notice:
            assert len(text) <= 64
            assert re.fullmatch(r"[!-~]*", text)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", ()),
        ("names.kinds;attribute=uri", [("names.kinds", "uri")]),
        (" a;attribute=b ,\t c ", [("a", "b"), ("c", "")]),
        ("a; attribute=b; more=1.5;x;y=?0", [("a", "b")]),
        ("a;attribute=b;attribute=c", [("a", "c")]),
        ('a;x="; attribute=z;";attribute=b', [("a", "b")]),
        ('a;attribute="text"', [("a", "")]),
        ("a;attribute=7", [("a", "")]),
        ("a;attribute", [("a", "")]),
        ("*a/b:c", [("*a/b:c", "")]),
        ("a,", ()),
        (",a", ()),
        ("a b", ()),
        ("a;Attribute=b", ()),
        ("7", ()),
        ('"a"', ()),
        ("(a b)", ()),
        ("a;attribute=b\n", ()),
    ],
)
def test_as_rfc_9651_has_it(header, found):
    assert read(header) == tuple(found)


def test_an_oid_is_named_as_one():
    assert written([Notice("copied_extensions", "1.2.3")]) == (
        "copied_extensions;attribute=oid:1.2.3"
    )


def test_a_header_of_any_case():
    assert read_headers({"Date": "x", "scep-NOTICE": "a;attribute=b"}) == (Notice("a", "b"),)
    assert read_headers({}) == ()


def test_for_people():
    assert str(Notice("names.kinds", "uri")) == "uri (names.kinds)"
    assert str(Notice("ca", "")) == "ca"
