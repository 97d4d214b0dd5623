"""Tables: one line a row for programs, and as wide as the terminal for people."""

from __future__ import annotations

import os

import pytest

from scepkit.cli import table, terminal

COLUMNS = ("id", "subject", "ends")
ROWS = [
    {"id": "1", "subject": "CN=a", "ends": "2026"},
    {"id": "22", "subject": "CN=long\x1b,O=Example", "ends": "2027"},
]
WIDE = """\
ID  SUBJECT                ENDS
1   CN=a                   2026
22  CN=long\\x1b,O=Example  2027
"""


@pytest.fixture
def written(monkeypatch, capsys):
    """Write the rows on a terminal that is so wide; to a file without a width."""

    def written(width=None, below=()):
        monkeypatch.setattr(terminal, "shows_data", lambda: width is not None)
        size = os.terminal_size((width or 1, 24))
        monkeypatch.setattr("shutil.get_terminal_size", lambda **_: size)
        assert table.write(iter(ROWS), COLUMNS, below) == 2
        return capsys.readouterr().out

    return written


def test_a_file_has_a_row_a_line(written):
    assert written(below=("subject",)) == WIDE


@pytest.mark.parametrize("width", [31, 80])
def test_a_table_that_fits_is_one_line_a_row(written, width):
    assert written(width, below=("subject",)) == written()


def test_one_that_does_not_fit_has_a_second_line(written):
    assert written(30, below=("subject",)) == (
        "ID  ENDS\n    SUBJECT\n1   2026\n    CN=a\n22  2027\n    CN=long\\x1b,O=Example\n"
    )


def test_columns_go_below_until_the_rest_fits(written):
    assert written(3, below=("subject", "ends")).splitlines()[:2] == [
        "ID",
        "    SUBJECT                ENDS",
    ]


def test_what_has_nothing_below_has_no_second_line(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "shows_data", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda **_: os.terminal_size((3, 24)))
    table.write([{"id": "1", "subject": "", "ends": ""}], COLUMNS, ("subject", "ends"))
    assert capsys.readouterr().out == "ID\n    SUBJECT  ENDS\n1\n"


def test_nothing_is_written_of_no_rows(capsys):
    assert table.write([], COLUMNS) == 0
    assert capsys.readouterr().out == ""


def test_columns_grow_where_a_later_page_needs_it(monkeypatch, capsys):
    monkeypatch.setattr(table, "_PAGE", 1)
    table.write(ROWS, ("id", "ends"))
    assert capsys.readouterr().out == "ID  ENDS\n1   2026\n22  2027\n"
