"""Serial numbers as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import keys
from scepkit.protocol.certificate import read_serial, show_serial


@pytest.mark.parametrize(
    ("serial", "text"),
    [
        (0, "00"),
        (10, "0a"),
        (0xAB, "ab"),
        (0x1AB, "01ab"),
        (-10, "-0a"),
        (2**127, "80" + 15 * "00"),
    ],
)
def test_a_serial_number_has_two_digits_an_octet(serial, text):
    assert show_serial(serial) == text


@given(st.integers())
@example(-1)
def test_what_is_shown_is_read_again(serial):
    assert read_serial(show_serial(serial)) == serial


def test_colons_are_read():
    assert read_serial(" 01:AB ") == 0x1AB


def test_a_certificate_is_one_line_for_a_debugger():
    """A name that cannot be read is hex."""
    certificate = keys.ca().certificate
    shown = show_serial(certificate.serial)
    assert repr(certificate) == f"<Certificate CN=Test CA serial={shown}>"
    odd = replace(certificate, subject=b"\x30\x03\x31\x01\x00")
    assert repr(odd) == f"<Certificate #3003310100 serial={shown}>"
