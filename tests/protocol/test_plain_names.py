"""Names of plain characters, which take fewer steps: they are read and written as all others."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from unittest import mock

import pytest
from cryptography.x509 import ObjectIdentifier
from hypothesis import example, given
from hypothesis import strategies as st

from scepkit.ca import subject_rules
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import BadRequest
from scepkit.protocol.asn1 import der, strings
from scepkit.protocol.distinguished_name import Name

_TEXTS = st.one_of(
    st.text("abzABZ09 -./:=?'()", max_size=12),
    st.text('aB ,+_@#\\"<>;*\x00\x7f\xe9\u200e\u212a', max_size=6),
    st.text(max_size=4),
)
_TYPES = [der.oid(ObjectIdentifier(one)) for one in ("2.5.4.3", "2.5.4.6", "1.3.9999")]
_USUAL = (strings.UTF8_STRING, strings.PRINTABLE_STRING, strings.IA5_STRING)
_TAGS = st.one_of(st.sampled_from(_USUAL), st.sampled_from([*strings.NAMES, 0x03, 0x04]))
_OCTETS = st.one_of(
    st.from_regex(strings.PLAIN, fullmatch=True),
    _TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(),
)
_ATTRIBUTES = st.builds(
    lambda kind, tag, octets: der.sequence(kind, der.element(tag, octets)),
    *(st.sampled_from(_TYPES), _TAGS, _OCTETS),
)
_RDNS = st.lists(st.lists(_ATTRIBUTES, min_size=1, max_size=3), max_size=3)


def name(rdns):
    """Return a Name of attributes in DER."""
    return Name(der.sequence(*(der.element(der.SET, *rdn) for rdn in rdns)))


def longer(element):
    """Return a short element with its length in two octets."""
    return element[:1] + b"\x81" + element[1:]


def certified(subject):
    """Return all of what a subject becomes, or of why it is refused."""
    try:
        name = certified_subject(subject)
    except BadRequest as error:
        return error.message, error.text, error.rule, error.attribute, error.length
    return name.der, name.emails, str(name), name.digest


def of_one(tag, octets):
    """Return the attribute of a name that has no other."""
    kind = der.sequence(_TYPES[0], der.element(tag, octets))
    return name([[kind]]).rdns[0][0]


@given(_RDNS)
@example([[der.sequence(_TYPES[0], der.element(0x1E, b"ab"))]])
@example([[der.sequence(_TYPES[0], der.element(0x0C, b"a  b"))]])
@example([[der.sequence(_TYPES[0], der.element(0x13, b"Device 1"))]])
@example([[der.sequence(_TYPES[0], der.element(0x13, b"Device 1 "))]])
def test_a_name_is_written_and_compared_as_if_nothing_were_plain(rdns):
    one, other = name(rdns), name(rdns)
    other.rdns = tuple(tuple(replace(a, is_plain=False) for a in rdn) for rdn in other.rdns)
    assert one.rdns == other.rdns
    assert str(one) == str(other)
    assert one.digest == other.digest
    assert all(
        attribute.string == strings.text(attribute.tag, attribute.octets)
        for rdn in one.rdns
        for attribute in rdn
    )


def plain(text, kind=_TYPES[0], tag=0x0C):
    return der.sequence(kind, der.element(tag, text))


@given(_RDNS)
@example([])
@example([[plain(b"dev1")], [plain(b"DE", _TYPES[1], 0x13)]])
@example([[plain(b"DE", _TYPES[1], 0x0C)]])
@example([[plain(b"Germany", _TYPES[1], 0x13)]])
@example([[plain(b"a" * 65)]])
@example([[plain(b"a@b.example", der.oid(ObjectIdentifier("1.2.840.113549.1.9.1")), 0x16)]])
@example([[plain(b"a\0b")]])
@example([[plain(b"a_b", tag=0x13)]])
@example([[plain(b"b"), plain(b"a", _TYPES[1])]])
@example([[plain(b"a"), plain(b"b")]])
def test_a_subject_is_certified_as_attribute_by_attribute(rdns):
    with mock.patch.object(subject_rules, "_stands", return_value=False):
        one_by_one = certified(name(rdns))
    assert certified(name(rdns)) == one_by_one


@pytest.mark.parametrize("size", [1, 44, 45, 46, 47, 60, 64])
def test_a_subject_is_certified_in_der(size):
    rdns = [[plain(b"a" * size)], [plain(b"b" * 60)]]
    right = name(rdns).der
    assert certified_subject(Name(right)).der == right
    parts = [der.element(der.SET, *rdn) for rdn in rdns]
    inside = [der.element(der.SET, b"\x30\x81" + one[1:]) for (one,) in rdns]
    others = [b"\x30\x80" + b"".join(parts) + b"\0\0", der.sequence(*map(longer, parts))]
    others += [der.sequence(*inside)]
    others += [longer(right)] if len(right) < 130 else []
    for other in others:
        assert other != right
        assert certified_subject(Name(other)).der == right


@given(_RDNS.filter(len))
def test_the_digest_counts_parts_and_octets(rdns):
    """It is stored: what it is made of stays as it is."""
    parts = sorted(sorted(a.comparable for a in rdn) for rdn in name(rdns).rdns)
    counted = (b"%d." % len(p) + b"".join(b"%d:%b" % (len(a), a) for a in p) for p in parts)
    assert name(rdns).digest == hashlib.sha256(b"parts" + b"".join(counted)).digest()


def test_a_text_of_plain_words_is_plain():
    assert all(of_one(tag, b"Device 1 (x)").is_plain for tag in (0x0C, 0x13, 0x16))


def test_what_needs_a_second_look_is_not_plain():
    for text in (
        b"",
        b" ",
        b"a ",
        b" a",
        b"a  b",
        b"a,b",
        b"a+b",
        b"#a",
        b"a_b",
        b"a\n",
        b"\xc3\xa9",
    ):
        assert not of_one(0x0C, text).is_plain
    assert not any(of_one(tag, b"ab").is_plain for tag in (0x1C, 0x1E, 0x03))
