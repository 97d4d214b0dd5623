"""The renewal chain of `scep admin show`, for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from scepkit.cli.admin import show
from scepkit.operations.renewal_chain import Link


def test_serial_numbers_have_an_even_number_of_digits():
    now = datetime(2026, 11, 28, tzinfo=UTC)
    row = SimpleNamespace(serial=0xABC, renews=0x123, subject="", not_before=now, not_after=now)
    shown = show.link_fields(Link(row, "valid", is_current=True))
    assert (shown["serial"], shown["renews"]) == ("0abc", "0123")
