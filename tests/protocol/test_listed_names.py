"""The text that certificates are found by: one line for each alternative name."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

import keys
from scepkit.errors import UsageError
from scepkit.protocol import general_name
from scepkit.protocol.asn1 import strings
from scepkit.protocol.certificate import listed_names
from scepkit.protocol.general_name import GeneralName, parse_san

_USERS = st.text(st.characters(codec="utf-8", exclude_categories=["Zs"]), min_size=1).filter(
    str.isprintable
)


def test_a_upn_is_listed_as_people_write_it():
    names = [GeneralName.upn("alice@corp.example"), GeneralName.email("A@b.example")]
    assert general_name.listed(names) == "upn:alice@corp.example\nemail:a@b.example"


@given(_USERS, _USERS.filter(lambda text: "@" not in text))
def test_a_upn_reads_back_from_its_text(user, domain):
    written = GeneralName.upn(f"{user}@{domain}")
    text = str(written)
    assert str(GeneralName.of(parse_san(text))) == text
    assert text == f"upn:{strings.lower(f'{user}@{domain}')}"


@given(st.text(), st.text())
@example("a\u00a0b@c", "a\\C2\\A0b@c")
def test_two_upns_are_one_text_if_they_differ_in_case_at_most(one, other):
    same = str(GeneralName.upn(one)) == str(GeneralName.upn(other))
    assert same == (strings.lower(one) == strings.lower(other))


@pytest.mark.parametrize("text", ["upn:", "upn:alice", "upn:@x", "upn:a@", "upn:a\n@b"])
def test_what_is_no_upn_is_refused(text):
    with pytest.raises(UsageError, match="subject alternative name"):
        parse_san(text)


@given(st.lists(st.one_of(st.text().map(GeneralName.upn), st.binary().map(GeneralName))))
def test_each_name_is_one_line_that_any_database_holds(names):
    names = [one for one in names if one.der]
    text = general_name.listed(names)
    assert len(text.split("\n")) == max(1, len(names))
    assert text.isprintable() or "\n" in text
    assert "\0" not in text
    assert text.encode().decode() == text


def test_what_is_no_certificate_has_no_names():
    der = keys.device().x509.public_bytes(Encoding.DER)
    assert listed_names(der) == ""
    assert listed_names(b"\x06\x03\x55\x1d\x11") == ""
