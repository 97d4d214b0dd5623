"""The text that certificates are found by: one line for each alternative name."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

import keys
from scepkit.protocol import general_name
from scepkit.protocol.certificate import listed_names
from scepkit.protocol.general_name import GeneralName


def test_a_upn_is_listed_as_people_write_it():
    names = [GeneralName.upn("alice@corp.example"), GeneralName.email("A@b.example")]
    assert general_name.listed(names) == "upn:alice@corp.example\nemail:a@b.example"


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
