"""The checklist is data: its ids are what `@pytest.mark.rfc` may name."""

from __future__ import annotations

import pytest

from rfc8894.checklist import Row, parse, rows

TABLE = """
| id | section | who | level | requirement |
|---|---|---|---|---|
| S-3.2.1.5-3 | 3.2.1.5 | client | MUST | Compare \\| reject. |

text

| id | situation | answer |
|---|---|---|
| P-70 | not CMS | HTTP 400 |
"""


def test_rows_are_read_by_the_header_of_their_table():
    assert parse(TABLE) == {
        "S-3.2.1.5-3": Row("S-3.2.1.5-3", "3.2.1.5", "client", "MUST", r"Compare \| reject."),
        "P-70": Row("P-70", "", "", "", "HTTP 400"),
    }


def test_an_id_may_occur_only_once():
    with pytest.raises(ValueError, match="P-70 occurs twice"):
        parse(TABLE + "| P-70 | again | HTTP 400 |\n")


def test_the_whole_checklist_is_read():
    kinds = {kind: sum(one.startswith(kind) for one in rows()) for kind in "SPLEAN"}
    assert kinds == {"S": 177, "P": 73, "L": 26, "E": 5, "A": 16, "N": 12}


def test_an_unknown_id_fails_the_collection(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.rfc("S-1.2.3-4")
        def test_it():
            "What it says."
        """
    )
    result = pytester.runpytest_inprocess("-p", "conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it names S-1.2.3-4, which is not in the checklist*"])


def test_a_clause_without_its_statement_fails_the_collection(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.rfc("S-2.2-1")
        def test_it():
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it proves S-2.2-1 but has no docstring*"])
